// What is looked at, as the page's address says it: reload, back and a sent link give the same view.

import { INTRADAY } from "./times.js";

export const RANGES = ["1D", "5D", "1M", "3M", "6M", "YTD", "1Y", "5Y", "All"];
export const INTERVALS = [...INTRADAY, "1d", "1wk", "1mo", "3mo", "1y"];
export const ADJUSTMENTS = ["raw", "split", "all"];
export const KINDS = ["split", "dividend", "note", "gap", "revision"];
export const MOST_COMPARED = 5;

const DAY = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2})?$/;
const SPEC = /^(sma|ema):\d{1,4}$|^bbands:\d{1,4}:\d{1,2}(\.\d{1,2})?$/;

const DEFAULTS = {
  tab: "chart",
  symbol: "",
  against: [],
  range: "1Y",
  start: "",
  end: "",
  interval: "1d",
  adjustment: "split",
  indicators: [],
  log: false,
  drawdown: false,
  hidden: [],
  run: "",
};

/** Names in the address → how each is read; what cannot be read is as if it were not there. */
const PARTS = {
  tab: (text) => (text === "health" ? text : null),
  symbol: (text) => text.trim().toUpperCase().slice(0, 32),
  against: (text) => split(text).map((name) => name.toUpperCase()).slice(0, MOST_COMPARED - 1),
  range: (text) => (RANGES.includes(text) ? text : null),
  start: (text) => (DAY.test(text) ? text : null),
  end: (text) => (DAY.test(text) ? text : null),
  interval: (text) => (INTERVALS.includes(text) ? text : null),
  adjustment: (text) => (ADJUSTMENTS.includes(text) ? text : null),
  indicators: (text) => split(text).filter((spec) => SPEC.test(spec)),
  log: (text) => text === "1",
  drawdown: (text) => text === "1",
  hidden: (text) => split(text).filter((kind) => KINDS.includes(kind)),
  run: (text) => text.slice(0, 64),
};

let current = read();
let onChange = () => {};

export function getState() {
  return current;
}

/** `act(state, before)` is called at each change, by the page or by the browser's back and forward. */
export function watchState(act) {
  onChange = act;
  window.addEventListener("popstate", () => {
    const before = current;
    current = read();
    onChange(current, before);
  });
}

/** `quietly`: the address changes without a step in the browser's history. */
export function changeState(changes, quietly = false) {
  const before = current;
  current = { ...before, ...changes };
  const address = write(current);
  if (address !== write(before)) {
    if (quietly) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
  }
  onChange(current, before);
}

export function isSame(state, before, ...names) {
  return names.every((name) => String(state[name]) === String(before[name]));
}

function read() {
  const given = new URLSearchParams(location.search);
  const state = { ...DEFAULTS };
  for (const [name, parse] of Object.entries(PARTS)) {
    const value = given.has(name) ? parse(given.get(name)) : null;
    if (value !== null) state[name] = value;
  }
  if (state.start && state.end && state.start <= state.end) state.range = "";
  else Object.assign(state, { start: "", end: "" });
  return state;
}

function write(state) {
  const parts = Object.keys(PARTS)
    .filter((name) => state[name] && String(state[name]) !== String(DEFAULTS[name]))
    .map((name) => `${name}=${writeValue(state[name])}`);
  return parts.length ? `?${parts.join("&")}` : location.pathname;
}

function writeValue(value) {
  if (value === true) return "1";
  return encodeURIComponent(String(value)).replaceAll("%2C", ",").replaceAll("%3A", ":");
}

function split(text) {
  return [...new Set(text.split(",").map((part) => part.trim()).filter(Boolean))];
}
