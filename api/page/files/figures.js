// What the page reckons itself, out of closes and days. Days are text as 2012-01-31, sorted; of bars
// shorter than a day, with the time that the exchange's clock shows: 2012-01-31T09:30.

import { isIntraday, pickDay } from "./times.js";

/** The place of the first day that is `day` or later; the length, if there is none. */
export function findFirst(days, day) {
  let low = 0;
  let high = days.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (days[middle] < day) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first day of a range of days, months or years that ends with the last of the bars. */
function findRangeStart(range, days) {
  if (!range.endsWith("D") || range === "YTD") return findStart(range, days.at(-1));
  let day = pickDay(days.at(-1));
  for (let left = parseInt(range, 10) - 1; left > 0; left -= 1) {
    const before = findFirst(days, day) - 1;
    if (before >= 0) day = pickDay(days[before]);
  }
  return day;
}

/** The first day of a range that ends with `last`: 1M back, the turn of the year … */
export function findStart(range, last) {
  const [year, month, day] = pickDay(last).split("-").map(Number);
  if (range === "YTD") return `${last.slice(0, 4)}-01-01`;
  if (range === "All") return "1900-01-01";
  const months = { M: 1, Y: 12 }[range.at(-1)] * parseInt(range, 10);
  const first = new Date(Date.UTC(year, month - 1 - months, 1));
  const length = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  first.setUTCDate(Math.min(day, length));
  return first.toISOString().slice(0, 10);
}

/** What a bar is of: a day, a year, a quarter, a month, or the week of a Monday. */
export function findPeriod(day, interval) {
  if (interval === "1d" || isIntraday(interval)) return pickDay(day);
  if (interval === "1y") return day.slice(0, 4);
  if (interval === "1mo") return day.slice(0, 7);
  if (interval === "3mo") return `${day.slice(0, 4)} ${Math.ceil(Number(day.slice(5, 7)) / 3)}`;
  const date = new Date(`${day}T00:00:00Z`);
  return String(date.getTime() - ((date.getUTCDay() + 6) % 7) * 86_400_000);
}

/**
 * Places [first, last] of the bars of a range, null where it has none. A longer bar bears its first
 * day: a range that goes back some time has the bar that it begins in, too.
 */
export function findShown(days, { range, start, end, interval }) {
  if (!days.length) return null;
  const from = range ? findRangeStart(range, days) : isIntraday(interval) ? start : pickDay(start);
  let first = findFirst(days, from);
  if (range && interval !== "1d" && !isIntraday(interval) && first > 0) {
    const isBegun = first === days.length || findPeriod(days[first], interval) !== findPeriod(from, interval);
    if (isBegun) first -= 1;
  }
  const after = range ? days.length : findFirst(days, `${end}~`);
  return first < after ? [first, after - 1] : null;
}

/** Close over the highest close since the first bar of the range, less one: 0 or negative. */
export function computeDrawdown(closes, first, last) {
  let peak = -Infinity;
  return closes.slice(first, last + 1).map((close) => {
    peak = Math.max(peak, close);
    return close / peak - 1;
  });
}

/** The first day from `start` to `end` on which every symbol has a bar; null where there is none. */
export function findCommonDay(series, start, end) {
  const [one, ...others] = series.map(({ timestamp }) => timestamp);
  const sets = others.map((days) => new Set(days));
  for (let place = findFirst(one, start); place < one.length && one[place] <= end; place += 1) {
    if (sets.every((days) => days.has(one[place]))) return one[place];
  }
  return null;
}

/** Closes as parts of 100 at `day`, or at the first bar after it. */
export function rebase({ timestamp, close }, day) {
  const place = findFirst(timestamp, day);
  const base = close[Math.min(place, close.length - 1)];
  return close.map((value) => (value / base) * 100);
}
