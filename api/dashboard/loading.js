// What the chart shows, asked of the API: bars, indicators, statistics, and what is marked.

import { ask, askAll, buildPath, buildUrl } from "./service.js";

const FIELDS = "open,high,low,close,volume";

/** The whole series of the view: { symbol, interval, adjustment, count, data: { timestamp, … } }. */
export function loadBars({ symbol, interval, adjustment }, signal) {
  const parameters = { interval, adjustment, fields: FIELDS, format: "columns" };
  return askAll(buildUrl(buildPath(symbol, "ohlcv"), parameters), signal);
}

/** Closes of the symbols compared with: symbol → { timestamp, close }, and the unknown names. */
export async function loadCloses({ against, interval, adjustment }, signal) {
  const parameters = { symbols: against.join(","), interval, adjustment, fields: "close", format: "columns" };
  const { data, unknown } = await askAll(buildUrl("ohlcv", parameters), signal);
  const closes = new Map();
  data.symbol.forEach((symbol, row) => {
    if (!closes.has(symbol)) closes.set(symbol, { timestamp: [], close: [] });
    closes.get(symbol).timestamp.push(data.timestamp[row]);
    closes.get(symbol).close.push(data.close[row]);
  });
  return { closes, unknown };
}

/** Rows of indicators over the whole series: { timestamp, sma_20, … }. */
export async function loadIndicators({ symbol, interval, adjustment, indicators }, signal) {
  const parameters = { names: indicators.join(","), interval, adjustment };
  return (await ask(buildUrl(buildPath(symbol, "indicators"), parameters), signal)).data;
}

/** Statistics of each symbol over the days shown, in the order of the symbols. */
export function loadStatistics({ symbol, against, interval, adjustment }, shown, signal) {
  const names = [symbol, ...against];
  return Promise.all(
    names.map((name, place) => {
      const benchmark = place ? symbol : null;
      const parameters = { ...shown, interval, adjustment, benchmark };
      return ask(buildUrl(buildPath(name, "statistics"), parameters), signal);
    }),
  );
}

export function loadInstrument(symbol, signal) {
  return ask(buildUrl(buildPath(symbol)), signal);
}

export async function findInstruments(text, limit, signal) {
  return (await ask(buildUrl("instruments", { q: text.trim(), limit }), signal)).data;
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
