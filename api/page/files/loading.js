// What the chart shows, asked of the API: bars, indicators, statistics, and what is marked.

import { Fault, ask, askAll, buildPath, buildUrl } from "./service.js";

const FIELDS = "open,high,low,close,volume";

/** The whole series of the view: { symbol, interval, adjustment, count, data: { timestamp, … } }. */
export function loadBars({ symbol, interval, adjustment }, signal) {
  const parameters = { interval, adjustment, fields: FIELDS, format: "columns" };
  return askAll(buildUrl(buildPath(symbol, "ohlcv"), parameters), signal);
}

/**
 * Closes of the symbols compared with: symbol → { timestamp, close }; and why others have none:
 * symbol → fault. One that cannot be had takes nothing from the rest.
 */
export async function loadCloses({ against, interval, adjustment }, signal) {
  const parameters = { interval, adjustment, fields: "close", format: "columns" };
  const found = await Promise.all(
    against.map((symbol) => settle(askAll(buildUrl(buildPath(symbol, "ohlcv"), parameters), signal))),
  );
  const closes = new Map();
  const faults = new Map();
  against.forEach((symbol, place) => {
    const { value, fault } = found[place];
    if (value?.count) closes.set(symbol, value.data);
    else faults.set(symbol, fault ?? new Fault(200, "No bars", `${symbol} has no bars.`));
  });
  return { closes, faults };
}

/** Rows of indicators over the whole series: { timestamp, sma_20, … }. */
export async function loadIndicators({ symbol, interval, adjustment, indicators }, signal) {
  const parameters = { names: indicators.join(","), interval, adjustment };
  return (await ask(buildUrl(buildPath(symbol, "indicators"), parameters), signal)).data;
}

/**
 * Statistics of each symbol over the days shown, in the order of `names`; of the first they must be
 * had, for another that has none in these days: { symbol, why }.
 */
export function loadStatistics([first, ...others], { interval, adjustment }, shown, signal) {
  const load = (name, benchmark) => {
    const parameters = { ...shown, interval, adjustment, benchmark };
    return ask(buildUrl(buildPath(name, "statistics"), parameters), signal);
  };
  const loadOther = async (name) => {
    const { value, fault } = await settle(load(name, first));
    return value ?? { symbol: name, why: fault.detail };
  };
  return Promise.all([load(first, null), ...others.map(loadOther)]);
}

export function loadInstrument(symbol, signal) {
  return ask(buildUrl(buildPath(symbol)), signal);
}

export async function findInstruments(text, limit, signal) {
  return (await ask(buildUrl("instruments", { q: text.trim(), limit }), signal)).data;
}

/**
 * The instrument of exactly this symbol, or undefined: a list with none in it, not a 404. Nothing that
 * contains the symbol comes between it and the text it is asked for after.
 */
export async function findInstrument(symbol) {
  const name = symbol.trim().toUpperCase();
  if (!name || name.length > 31) return undefined;
  const before = String.fromCodePoint(name.codePointAt(name.length - 1) - 1);
  const after = `${name.slice(0, -1)}${before}~`;
  const [found] = (await ask(buildUrl("instruments", { q: name, after, limit: 1 }))).data;
  return found?.symbol === name ? found : undefined;
}

/** What the store says of a symbol's days, whole: notes, gaps, splits and dividends, revisions. */
export async function loadRecord(symbol, signal) {
  const list = (resource) => askAll(buildUrl(buildPath(symbol, resource)), signal);
  const [notes, coverage, actions, revisions] = await Promise.all([
    list("notes"),
    ask(buildUrl(buildPath(symbol, "coverage")), signal),
    list("corporate-actions"),
    list("revisions"),
  ]);
  return { notes: notes.data, gaps: coverage.gaps, actions: actions.data, revisions: revisions.data };
}

/** { value } or { fault }: for what may fail without the rest. */
export function settle(promise) {
  return promise.then((value) => ({ value }), (fault) => ({ fault }));
}
