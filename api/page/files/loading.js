// What the chart shows, asked of the API: bars, indicators, statistics, and what is marked.

import { Fault, ask, askAll, buildPath, buildUrl } from "./service.js";
import { isIntraday, readClock } from "./times.js";

const FIELDS = "open,high,low,close,volume";

const MOST_MINUTES = 10_000; // bars shorter than a day that are loaded: the newest, or those up to a day

/**
 * The whole series of the view: { symbol, interval, adjustment, count, data: { timestamp, … } }. Of bars
 * shorter than a day the newest ones, with `zone`, whose clock their timestamps are of, and `since` (UTC).
 */
export function loadBars(state, signal) {
  const { symbol, interval, adjustment } = state;
  const parameters = { interval, adjustment, fields: FIELDS, format: "columns" };
  if (isIntraday(interval)) return loadMinutes(symbol, { ...parameters, end: state.end }, signal);
  return askAll(buildUrl(buildPath(symbol, "ohlcv"), parameters), signal);
}

async function loadMinutes(symbol, parameters, signal) {
  const page = await ask(buildUrl(buildPath(symbol, "ohlcv"), { ...parameters, order: "desc", limit: MOST_MINUTES }), signal);
  const data = Object.fromEntries(Object.entries(page.data).map(([name, column]) => [name, column.reverse()]));
  const { texts, zone } = readClock(data.timestamp, page.timezone);
  const since = data.timestamp[0];
  return { ...page, data: { ...data, timestamp: texts }, zone, since, isCut: Boolean(page.next), perAnswer: page.count };
}

/**
 * Closes of the symbols compared with: symbol → { timestamp, close }; and why others have none:
 * symbol → fault. One that cannot be had takes nothing from the rest.
 */
export async function loadCloses({ against, interval, adjustment, end }, signal) {
  const parameters = { interval, adjustment, fields: "close", format: "columns" };
  const load = (symbol) =>
    isIntraday(interval) ? loadMinutes(symbol, { ...parameters, end }, signal) : askAll(buildUrl(buildPath(symbol, "ohlcv"), parameters), signal);
  const found = await Promise.all(against.map((symbol) => settle(load(symbol))));
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
export async function loadIndicators({ symbol, interval, adjustment, indicators, end }, signal, bars) {
  const parameters = { names: indicators.join(","), interval, adjustment };
  if (!isIntraday(interval)) return (await ask(buildUrl(buildPath(symbol, "indicators"), parameters), signal)).data;
  const { since } = await bars;
  const { data, timezone } = await ask(buildUrl(buildPath(symbol, "indicators"), { ...parameters, start: since, end }), signal);
  const { texts } = readClock(data.map(({ timestamp }) => timestamp), timezone);
  return data.map((row, place) => ({ ...row, timestamp: texts[place] }));
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
