// Questions to the public API. Addresses are relative to the page, so a path prefix does no harm.

import { fetchSigned, renew } from "./sign_in.js";

const BASE = new URL(".", document.baseURI);

/** What went wrong, in words for the reader: `detail` names the remedy, `nearest` similar symbols. */
export class Fault extends Error {
  constructor(status, title, detail, nearest = []) {
    super(detail);
    Object.assign(this, { status, title, detail, nearest });
  }
}

let generation = "";
let onGeneration = () => {};

/** `act` is called when an answer comes from another publication than the answers before it. */
export function watchGeneration(act) {
  onGeneration = act;
}

/** The address of a path and its parameters; those without a value are left out. */
export function buildUrl(path, parameters = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  // commas and colons are plain in a query, and kinder to read
  url.search = url.search.replaceAll("%2C", ",").replaceAll("%3A", ":");
  return url;
}

export function buildPath(symbol, resource) {
  return `instruments/${encodeURIComponent(symbol)}${resource ? `/${resource}` : ""}`;
}

/** The JSON answer. Throws a Fault; an AbortError where `signal` stopped it. */
export async function ask(url, signal) {
  let answer;
  try {
    answer = await fetchSigned(url, { signal, headers: { Accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const where = new URL(url, BASE).host;
    throw new Fault(0, "No answer", `The service at ${where} does not answer: start it with \`make serve\`, then retry.`);
  }
  if (!answer.ok) throw await readFault(answer);
  noteGeneration(answer.headers.get("X-Data-Generation"));
  return answer.json();
}

/** How the service is. To who has not signed in where that is wanted it tells less. */
export async function askHealth() {
  const url = buildUrl("health");
  const health = await ask(url);
  if (health.generation) return health;
  await renew();
  return ask(url);
}

/** All pages of an answer; `data` are rows, or columns of equal length. */
export async function askAll(url, signal) {
  const page = await ask(url, signal);
  const first = page.count;
  while (page.next) {
    const following = new URL(url);
    following.search = page.next.slice(page.next.indexOf("?"));
    const more = await ask(following, signal);
    page.data = join(page.data, more.data);
    page.count += more.count;
    page.next = more.next;
  }
  return { ...page, perAnswer: first };
}

function join(data, more) {
  if (Array.isArray(data)) return data.concat(more);
  return Object.fromEntries(Object.entries(data).map(([name, column]) => [name, column.concat(more[name])]));
}

async function readFault(answer) {
  const body = await answer.json().catch(() => ({}));
  const detail = body.detail ?? `The service answered ${answer.status}: its log says why.`;
  return new Fault(answer.status, body.title ?? "Error", detail, body.nearest ?? []);
}

/** Which publication an answer came from. */
export function noteGeneration(found) {
  if (!found || found === generation) return;
  const isNews = generation !== "";
  generation = found;
  if (isNews) onGeneration();
}
