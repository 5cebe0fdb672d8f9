// Bars shorter than a day: their stamps as an exchange's clock shows them, and as the chart wants them.

export const INTRADAY = ["1m", "5m", "15m", "30m", "1h"];

const HOUR = "2013-02-28T14".length;
const DAY = "2013-02-28".length;

export function isIntraday(interval) {
  return INTRADAY.includes(interval);
}

/** Sorted stamps in UTC as texts of a zone's clock, 2013-02-28T09:30; of UTC itself where that clock shows a time twice. */
export function readClock(stamps, zone) {
  const shifts = new Map(); // hour in UTC → milliseconds
  const texts = stamps.map((stamp) => {
    const hour = stamp.slice(0, HOUR);
    if (!shifts.has(hour)) shifts.set(hour, findShift(`${hour}:00:00Z`, zone));
    return new Date(Date.parse(stamp) + shifts.get(hour)).toISOString().slice(0, 16);
  });
  const isClear = texts.every((text, place) => !place || texts[place - 1] < text);
  return isClear ? { texts, zone } : { texts: stamps.map((stamp) => stamp.slice(0, 16)), zone: "UTC" };
}

/** How far a zone's clock is ahead of UTC, in milliseconds. */
function findShift(instant, timeZone) {
  const parts = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
  const clock = new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", ...parts });
  const shown = Object.fromEntries(clock.formatToParts(new Date(instant)).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(shown.year, shown.month - 1, shown.day, shown.hour, shown.minute) - Date.parse(instant);
}

/** A text as the chart's time: seconds of the clock that it shows. */
export function toSeconds(text) {
  return Date.parse(text.length > DAY ? `${text}Z` : text) / 1000;
}

export function fromSeconds(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 16);
}

export function pickDay(text) {
  return text.slice(0, DAY);
}

/** 2013-02-28T09:30 as 2013-02-28 09:30. */
export function writeTime(text) {
  return text.replace("T", " ");
}
