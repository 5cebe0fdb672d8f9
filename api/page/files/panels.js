// Beside the chart: the figures of the days shown, the marks among them, and what goes wrong.

import { pickDay, writeTime } from "./times.js";
import { find, make, makeTable } from "./elements.js";
import { TITLES } from "./marks.js";
import { KINDS, changeState } from "./state.js";
import { writeCount, writeInstant, writeNumber, writePercent, writePlural, writePrice, writeShort } from "./texts.js";

const MOST_LISTED = 200;

const ROWS = [
  ["Total return", (s) => writePercent(s.total_return, 2, true), "total_return"],
  ["CAGR", (s) => writePercent(s.cagr, 2, true), "cagr"],
  ["Volatility, annual", (s) => writePercent(s.annual_volatility)],
  ["Max. drawdown", (s) => writePercent(s.max_drawdown), "max_drawdown"],
  ["Sharpe", (s) => writeNumber(s.sharpe_ratio)],
  ["Sortino", (s) => writeNumber(s.sortino_ratio)],
  ["Calmar", (s) => writeNumber(s.calmar_ratio)],
  ["Value at risk, 95 %", (s) => writePercent(s.value_at_risk)],
  ["Expected shortfall", (s) => writePercent(s.expected_shortfall)],
  ["Best bar", (s) => writePercent(s.best_day_return, 2, true), "best_day_return", "best_day"],
  ["Worst bar", (s) => writePercent(s.worst_day_return, 2, true), "worst_day_return", "worst_day"],
  ["Up / down bars", (s) => `${writeCount(s.up_days)} / ${writeCount(s.down_days)}`],
  ["Skew", (s) => writeNumber(s.skew)],
  ["Kurtosis, excess", (s) => writeNumber(s.kurtosis)],
  ["High", (s) => writePrice(s.high), null, "high_date"],
  ["Low", (s) => writePrice(s.low), null, "low_date"],
  ["ATR, 14", (s) => writePrice(s.average_true_range)],
  ["Mean volume", (s) => writeShort(s.mean_volume)],
  ["Mean dollar volume", (s) => writeShort(s.average_dollar_volume)],
  ["Bars", (s) => writeCount(s.count)],
];
const AGAINST = [
  ["Beta", (s) => writeNumber(s.beta)],
  ["Correlation", (s) => writeNumber(s.correlation)],
  ["Tracking error", (s) => writePercent(s.tracking_error)],
];

/** A column a symbol; where there are several, what each is against the first. */
export function showStatistics(all, shown) {
  find("statistics-of").textContent = `${writeTime(shown.start)} – ${writeTime(shown.end)}`;
  const against = AGAINST.map(([label, write]) => [`${label} to ${all[0].symbol}`, write]);
  const rows = all.length > 1 ? [...ROWS, ...against] : ROWS;
  const cells = rows.map(([label, write, sign, day]) => [
    label,
    ...all.map((statistics) => writeFigure(write(statistics), sign && statistics[sign], day && statistics[day])),
  ]);
  const caption = `Statistics of ${all.map(({ symbol }) => symbol).join(", ")}`;
  const head = ["Figure", ...all.map(({ symbol, why }) => make("span", { title: why }, symbol))];
  const table = makeTable(caption, head, cells, all.length > 1 ? "figures many" : "figures one");
  find("statistics").replaceChildren(table);
}

function writeFigure(text, sign, day) {
  const kind = sign > 0 ? "up" : sign < 0 ? "down" : null;
  return make("span", { class: kind, title: day }, text);
}

/** The marks of the days shown, newest first; `point(mark)` shows one on the chart. */
export function showMarks(marks, shown, hidden, point) {
  const inside = marks.filter(({ day }) => day >= pickDay(shown.start) && day <= shown.end);
  showKinds(inside, hidden);
  const listed = inside.filter(({ kind }) => !hidden.includes(kind)).reverse();
  find("events-of").textContent = writePlural(listed.length, "mark");
  const items = listed.slice(0, MOST_LISTED).map((mark) =>
    make("li", {}, make("button", { type: "button", onclick: () => point(mark) }, ...describeMark(mark))),
  );
  if (listed.length > MOST_LISTED) items.push(make("li", { class: "quiet" }, `and ${writeCount(listed.length - MOST_LISTED)} older: show fewer days`));
  const nothing = make("p", { class: "quiet" }, marks.length ? "None in the days shown." : "None: no split, dividend, note, gap or revision.");
  find("events").replaceChildren(items.length ? make("ul", { class: "events" }, items) : nothing);
}

/** Since when splits and dividends of an instrument are known; null: they were never asked for. */
export function showActionsKnown(instrument) {
  const tell = (name, known) => `${name} ${known ? `as of ${writeInstant(known)}` : "never asked for"}`;
  const { splits_known_at: splits, dividends_known_at: dividends } = instrument ?? {};
  const isTold = splits !== undefined && dividends !== undefined;
  const parts = splits === dividends ? [tell("Splits and dividends", splits)] : [tell("Splits", splits), tell("dividends", dividends)];
  find("actions-of").textContent = isTold ? `${parts.join("; ")}.` : "";
}

export function describeMark({ day, kind, title, why }) {
  return [
    make("i", { class: `kind ${kind}`, "aria-hidden": "true" }, kind[0].toUpperCase()),
    make("time", { datetime: day }, day),
    make("b", {}, title),
    make("span", {}, why),
  ];
}

function showKinds(marks, hidden) {
  const fieldset = find("kinds");
  if (fieldset.children.length === 1) fieldset.append(...KINDS.map(makeKind));
  for (const kind of KINDS) {
    const input = find(`kind-${kind}`);
    input.checked = !hidden.includes(kind);
    const count = marks.filter((mark) => mark.kind === kind).length;
    input.nextElementSibling.lastChild.textContent = writeCount(count);
  }
}

function makeKind(kind) {
  const onchange = () => changeState({ hidden: KINDS.filter((each) => !find(`kind-${each}`).checked) });
  return make(
    "label",
    { title: TITLES[kind] },
    make("input", { type: "checkbox", id: `kind-${kind}`, onchange }),
    make("span", {}, make("i", { class: `kind ${kind}`, "aria-hidden": "true" }, kind[0].toUpperCase()), make("span", { class: "unseen" }, `${TITLES[kind]} `), make("small", {}, "0")),
  );
}

export function showLoading(text) {
  showOverlay("loading", make("p", {}, text));
}

export function hideOverlay() {
  find("overlay").hidden = true;
}

/** What went wrong and the remedy; a button a way out: { label, act }. */
export function showFault(kind, title, detail, ways) {
  const buttons = ways.map(({ label, act }) => make("button", { type: "button", onclick: act }, label));
  const box = make("div", { role: kind === "error" ? "alert" : "status" }, make("h3", {}, title), make("p", {}, writeCode(detail)), make("p", { class: "ways" }, buttons));
  showOverlay(kind, box);
}

function showOverlay(kind, content) {
  const overlay = find("overlay");
  overlay.className = `overlay ${kind}`;
  overlay.replaceChildren(content);
  overlay.hidden = false;
}

/** Text in which what stands between backquotes is code. */
export function writeCode(text) {
  return text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
}

/** A part of the page could not be had; the rest stands. */
export function showPartFault(id, fault, retry) {
  const detail = fault.detail ?? String(fault.message);
  find(id).replaceChildren(
    make("div", { class: "part-fault", role: "status" }, make("p", {}, writeCode(detail)), make("button", { type: "button", onclick: retry }, "Retry")),
  );
}
