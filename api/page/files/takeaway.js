// What is shown, to take along: files, and the same question as curl and as pandas.

import { find, make } from "./elements.js";
import { buildPath, buildUrl } from "./service.js";
import { fetchSigned, isSignedIn } from "./sign_in.js";
import { writeCount } from "./texts.js";

const FILES = [["csv", "CSV"], ["parquet", "Parquet"], ["arrow", "Arrow"], ["json", "JSON"]];

/** `perAnswer`: the most rows that one answer gave, where the view took more than one; else null. */
export function showTakeaway(state, shown, perAnswer) {
  const links = FILES.map(([format, label]) => {
    const url = buildBarsUrl(state, shown, format);
    return make("a", { href: url, download: "", class: "button", onclick: isSignedIn() ? saveSigned : null }, label);
  });
  const cut = perAnswer && make("p", { class: "quiet" }, `A file holds at most ${writeCount(perAnswer)} bars (MAX_ROWS): the first of these days.`);
  const snippets = [["curl", writeCurl(state, shown)], ["pandas", writePandas(state, shown)]];
  const texts = snippets.map(([name, text]) => make("pre", { tabindex: "0", "aria-label": `The view as ${name}`, id: `as-${name}` }, text));
  const wasOpen = find("take").querySelector("details")?.open;
  find("take").replaceChildren(
    make("p", { class: "files" }, links),
    cut ?? "",
    make("p", { class: "files" }, snippets.map(([name, text]) => makeCopy(name, text))),
    make("details", { class: "snippets", open: wasOpen }, make("summary", {}, "Show what is copied"), texts),
  );
}

/** A link sends no token: the file is fetched, and saved under the name that the service gives it. */
async function saveSigned(event) {
  event.preventDefault();
  const answer = await fetchSigned(event.currentTarget.href).catch(() => null);
  if (!answer?.ok) {
    find("told").textContent = "The file cannot be had now.";
    return;
  }
  const [, name] = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "") ?? [];
  const url = URL.createObjectURL(await answer.blob());
  make("a", { href: url, download: name ?? "bars.json" }).click();
  URL.revokeObjectURL(url);
}

function buildBarsUrl({ symbol, against, interval, adjustment }, shown, format) {
  const view = { ...shown, interval, adjustment, format };
  if (!against.length) return quote(buildUrl(buildPath(symbol, "ohlcv"), view));
  return quote(buildUrl("ohlcv", { symbols: [symbol, ...against].join(","), ...view }));
}

function buildIndicatorsUrl({ symbol, interval, adjustment, indicators }, shown) {
  const view = { names: indicators.join(","), ...shown, interval, adjustment };
  return quote(buildUrl(buildPath(symbol, "indicators"), view));
}

/** Safe between single quotes of a shell and double quotes of Python. */
function quote(url) {
  return url.href.replaceAll("'", "%27");
}

export function writeCurl(state, shown) {
  const curl = isSignedIn() ? `curl -H "X-API-Key: $MDS_KEY"` : "curl"; // make key makes one
  const lines = [`${curl} '${buildBarsUrl(state, shown, "csv")}'`];
  if (state.indicators.length) lines.push(`${curl} '${buildIndicatorsUrl(state, shown)}'`);
  return lines.join("\n");
}

export function writePandas(state, shown) {
  const isKeyed = isSignedIn();
  const hasIndicators = state.indicators.length > 0;
  const lines = [
    ...(hasIndicators ? ["import json"] : []),
    ...(isKeyed ? ["import os"] : []),
    ...(hasIndicators ? [`from urllib.request import ${isKeyed ? "Request, " : ""}urlopen`, ""] : isKeyed ? [""] : []),
    "import pandas as pd",
    "",
    ...(isKeyed ? ['key = {"X-API-Key": os.environ["MDS_KEY"]}', ""] : []),
    "bars = pd.read_parquet(",
    `    "${buildBarsUrl(state, shown, "parquet")}"${isKeyed ? ", storage_options=key" : ""}`,
    ").set_index(\"timestamp\")",
  ];
  if (state.against.length) {
    lines.push(
      'closes = bars.pivot(columns="symbol", values="close")',
      "rebased = closes / closes.dropna().iloc[0] * 100",
    );
  }
  if (hasIndicators) {
    const url = `"${buildIndicatorsUrl(state, shown)}"`;
    lines.push(
      "with urlopen(",
      `    ${isKeyed ? `Request(${url}, headers=key)` : url}`,
      ") as answer:",
      '    indicators = pd.DataFrame(json.load(answer)["data"])',
    );
  }
  return lines.join("\n");
}

function makeCopy(name, text) {
  const button = make("button", { type: "button", class: "button", id: `copy-${name}` }, `Copy as ${name}`);
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text, find(`as-${name}`))) ? "Copied" : "Marked: press Ctrl+C";
    find("told").textContent = button.textContent;
    setTimeout(() => (button.textContent = `Copy as ${name}`), 2000);
  });
  return button;
}

/** The clipboard is shut to pages that came over plain HTTP from another machine: mark the text. */
async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    element.closest("details").open = true;
    getSelection().selectAllChildren(element);
    return false;
  }
}
