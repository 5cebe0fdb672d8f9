// What is marked on the chart, and why: splits, dividends, notes, gaps and revisions.

import { findFirst, findPeriod } from "./figures.js";
import { writeInstant, writeNumber, writePrice, writeVolume } from "./texts.js";

export const TITLES = {
  split: "Splits",
  dividend: "Dividends",
  note: "Notes",
  gap: "Gaps",
  revision: "Revisions",
};

/** { day, kind, title, why } of everything in a record, in the order of time. */
export function listMarks({ notes, gaps, actions, revisions }) {
  const marks = [
    ...actions.map(describeAction),
    ...notes.map(({ timestamp, reason, detail }) => ({ day: timestamp, kind: "note", title: reason, why: detail })),
    ...gaps.map(describeGap),
    ...revisions.map(describeRevision),
  ];
  return marks.sort((one, other) => (one.day < other.day ? -1 : one.day > other.day ? 1 : 0));
}

function describeAction({ ex_date: day, kind, ratio, amount, source }) {
  const title = kind === "split" ? `split ${writeRatio(ratio)}` : `dividend ${writeNumber(amount, 4)}`;
  const what = kind === "split" ? "new shares for old" : "cash a share";
  return { day, kind, title, why: `${what}; from ${source}` };
}

/** 2 as 2:1, 0.1 as 1:10, 1.5 as 3:2. */
export function writeRatio(ratio) {
  for (let old = 1; old <= 20; old += 1) {
    const now = ratio * old;
    if (now >= 1 && Math.abs(now - Math.round(now)) < 1e-6) return `${Math.round(now)}:${old}`;
  }
  return ratio < 1 ? `1:${writeNumber(1 / ratio, 4)}` : `${writeNumber(ratio, 4)}:1`;
}

const CAUSES = {
  rejected: "a row came, but could not be a bar",
  "not delivered": "the exchange had a session, the source gave no row",
  "not yet published": "the session is over, the source had no row yet",
};

function describeGap({ session, cause }) {
  return { day: session, kind: "gap", title: `no bar: ${cause}`, why: CAUSES[cause] ?? cause };
}

function describeRevision(old) {
  const prices = ["open", "high", "low", "close"].map((name) => `${name} ${writePrice(old[name])}`);
  const volume = old.volume === null ? "" : `, volume ${writeVolume(old.volume)}`;
  const why = `from ${writeInstant(old.known_from)} to then: ${prices.join(", ")}${volume} (as traded)`;
  return { day: old.timestamp, kind: "revision", title: `changed ${writeInstant(old.known_to)}`, why };
}

/** The marks of the kinds that are not hidden, each with the day of the bar that it stands at. */
export function placeMarks(marks, days, interval, hidden) {
  return marks
    .filter(({ kind }) => !hidden.includes(kind))
    .map((mark) => ({ ...mark, bar: findBar(mark, days, interval) }))
    .filter(({ bar }) => bar !== undefined);
}

/**
 * The bar whose period has the day: a longer bar bears the day of its first stored session, which may
 * come after the mark. A gap has no bar, but a place of its own among days. What lies in a period
 * without a bar stands at the next bar; after the last one it has no place.
 */
function findBar({ day, kind }, days, interval) {
  if (interval === "1d" && kind === "gap") return day;
  const place = findFirst(days, day);
  const period = findPeriod(day, interval);
  const isIn = (at) => days[at] !== undefined && findPeriod(days[at], interval) === period;
  return !isIn(place) && isIn(place - 1) ? days[place - 1] : days[place];
}
