// Lines over the prices: indicators, or the closes of several symbols as parts of 100; and drawdowns.

import { computeDrawdown, findCommonDay, findFirst, rebase } from "./figures.js";

/** Every symbol that has bars: { symbol, place, timestamp, close }; its place says its colour. */
export function listSeries(state, held) {
  const others = state.against.map((symbol, place) => ({ symbol, place: place + 1, ...held.closes.get(symbol) }));
  return [{ symbol: state.symbol, place: 0, ...held.bars.data }, ...others.filter(({ close }) => close)];
}

/** { day, isCommon, series: [{ symbol, place, days, values }] }: 100 on the first day shown that all have. */
export function rebaseAll(state, held, shown) {
  const all = listSeries(state, held);
  const common = findCommonDay(all, shown.start, shown.end);
  const day = common ?? shown.start;
  const series = all.map((one) => ({ symbol: one.symbol, place: one.place, days: one.timestamp, close: one.close, values: rebase(one, day) }));
  return { day, isCommon: common !== null, series };
}

export function buildLines(state, held, rebased, colors) {
  if (rebased) {
    return rebased.series.map(({ symbol, place, days, values }) => ({
      name: symbol,
      color: colors.series[place],
      points: days.map((time, row) => ({ time, value: values[row] })),
    }));
  }
  return listColumns(held.indicators).map((name) => ({
    name,
    color: pickColor(name, colors),
    dashed: /_(upper|lower)_/.test(name),
    points: held.indicators.map((row) => (canDraw(row[name], state) ? { time: row.timestamp, value: row[name] } : { time: row.timestamp })),
  }));
}

/** A band may fall to 0 and below, where a log scale ends. */
function canDraw(value, state) {
  return value !== null && (value > 0 || !state.log);
}

/** Columns that are prices, as sma_20 and bbands_upper_20_2. */
export function listColumns(rows) {
  return Object.keys(rows?.[0] ?? {}).filter((name) => /^(sma|ema|bbands_(upper|middle|lower))_/.test(name));
}

export function pickColor(name, colors) {
  return colors.series[{ sma: 1, ema: 2, bbands: 3 }[name.split("_")[0]]];
}

export function buildFalls(state, held, shown, [first, last], colors) {
  if (!state.drawdown) return [];
  const all = listSeries(state, held)
    .map((one) => ({ ...one, ...(one.place ? findDays(one.timestamp, shown) : { first, last }) }))
    .filter((one) => one.last >= one.first);
  return all.map((one) => {
    const falls = computeDrawdown(one.close, one.first, one.last);
    return {
      name: `${one.symbol} drawdown`,
      color: all.length > 1 ? colors.series[one.place] : colors.down,
      fill: colors.fall,
      percent: true,
      points: falls.map((value, row) => ({ time: one.timestamp[one.first + row], value })),
    };
  });
}

function findDays(days, { start, end }) {
  return { first: findFirst(days, start), last: findFirst(days, `${end}~`) - 1 };
}
