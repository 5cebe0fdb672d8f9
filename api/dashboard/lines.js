// Lines over the prices: indicators, or the closes of several symbols as parts of 100; and drawdowns.

import { computeDrawdown, findCommonDay, findFirst, rebase } from "./figures.js";

/** { day, isCommon, series: [{ symbol, days, values }] }: 100 on the first day shown that all have. */
export function rebaseAll(state, held, shown) {
  const all = [{ symbol: state.symbol, ...held.bars.data }];
  for (const symbol of state.against) {
    const found = held.closes.get(symbol);
    if (found) all.push({ symbol, ...found });
  }
  const common = findCommonDay(all, shown.start, shown.end);
  const day = common ?? shown.start;
  const series = all.map((one) => ({ symbol: one.symbol, days: one.timestamp, close: one.close, values: rebase(one, day) }));
  return { day, isCommon: common !== null, series };
}

export function buildLines(state, held, rebased, colors) {
  if (rebased) {
    return rebased.series.map(({ symbol, days, values }, place) => ({
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
  const all = [{ symbol: state.symbol, ...held.bars.data, first, last }];
  for (const symbol of state.against) {
    const found = held.closes.get(symbol);
    if (!found) continue;
    const [from, to] = [findFirst(found.timestamp, shown.start), findFirst(found.timestamp, `${shown.end}~`) - 1];
    if (to >= from) all.push({ symbol, ...found, first: from, last: to });
  }
  return all.map((one, place) => {
    const falls = computeDrawdown(one.close, one.first, one.last);
    return {
      name: `${one.symbol} drawdown`,
      color: all.length > 1 ? colors.series[place] : colors.down,
      fill: colors.fall,
      percent: true,
      points: falls.map((value, row) => ({ time: one.timestamp[one.first + row], value })),
    };
  });
}
