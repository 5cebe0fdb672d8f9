// Numbers, days and instants as text; what is absent is a dash.

const ABSENT = "–";
const plain = new Map();

/** `places` decimals, thousands parted. */
export function writeNumber(value, places = 2) {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT;
  if (!plain.has(places)) {
    const digits = { minimumFractionDigits: places, maximumFractionDigits: places };
    plain.set(places, new Intl.NumberFormat("en-US", digits));
  }
  return plain.get(places).format(value).replace("-", "−");
}

export function writeCount(value) {
  return writeNumber(value, 0);
}

/** Two decimals from one up, four below. */
export function writePrice(value) {
  return writeNumber(value, Math.abs(value ?? 0) < 1 ? 4 : 2);
}

export function writePercent(value, places = 2, sign = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT;
  return (sign && value > 0 ? "+" : "") + writeNumber(value * 100, places) + " %";
}

const SIZES = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];

/** 21,504,572 as 21.5 M. */
export function writeShort(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT;
  const [size, letter] = SIZES.find(([least]) => Math.abs(value) >= least) ?? [1, ""];
  return letter ? `${writeNumber(value / size, value / size < 100 ? 2 : 1)} ${letter}` : writeVolume(value);
}

/** What may have decimals, but mostly has none. */
export function writeVolume(value) {
  const isWhole = !Number.isFinite(value) || Number.isInteger(value) || Math.abs(value) >= 1000;
  return isWhole ? writeCount(value) : String(Number(value.toPrecision(3)));
}

/** A day on the time axis: its year, its month, day and month, or the time, as `kind` (TickMarkType) has it. */
export function writeTick(day, kind) {
  const date = new Date(typeof day === "number" ? day * 1000 : `${day}T00:00:00Z`);
  if (kind > 2) return date.toISOString().slice(11, 16);
  if (kind === 0) return String(date.getUTCFullYear());
  const month = date.toLocaleString("en-US", { month: "short", timeZone: "UTC" });
  return kind === 1 ? month : `${date.getUTCDate()} ${month}`;
}

/** 2026-11-23T11:29:49.453Z as 2026-11-23 11:29 UTC. */
export function writeInstant(text) {
  return text ? `${text.slice(0, 10)} ${text.slice(11, 16)} UTC` : ABSENT;
}

/** Seconds between two instants. */
export function writeSpan(start, end) {
  const seconds = (Date.parse(end) - Date.parse(start)) / 1000;
  if (!Number.isFinite(seconds)) return ABSENT;
  if (seconds < 0.05) return "< 1 s"; // of instants that were kept to the second
  return seconds < 120 ? `${writeNumber(seconds, seconds < 10 ? 1 : 0)} s` : `${writeNumber(seconds / 60, 0)} min`;
}

export function writePlural(count, one, many = `${one}s`) {
  return `${writeCount(count)} ${count === 1 ? one : many}`;
}
