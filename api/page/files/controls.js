// The row of controls: what it shows is the state, what it does is change the state.

import { find, make } from "./elements.js";
import { isIntraday, pickDay } from "./times.js";
import { ADJUSTMENTS, INTERVALS, MOST_COMPARED, RANGES, changeState, getState } from "./state.js";

const INTERVAL_NAMES = { "1m": "minute", "5m": "5 minutes", "15m": "15 minutes", "30m": "30 minutes", "1h": "hour", "1d": "day", "1wk": "week", "1mo": "month", "3mo": "quarter", "1y": "year" };
const ADJUSTMENT_NAMES = {
  raw: "prices as traded",
  split: "as if all splits had always been",
  all: "dividends put into the price too",
};
const INDICATORS = [
  { name: "sma", label: "SMA", title: "Simple moving average", window: 20, rest: "" },
  { name: "ema", label: "EMA", title: "Exponential moving average", window: 50, rest: "" },
  { name: "bbands", label: "BB", title: "Bollinger bands, 2 standard deviations", window: 20, rest: ":2" },
];
const SWITCHES = [
  { name: "log", label: "Log", title: "Logarithmic price scale" },
  { name: "drawdown", label: "Drawdown", title: "Fall from the highest close of the range" },
];

export function buildControls() {
  fillSegments("ranges", RANGES, (range) => ({ range, start: "", end: "" }));
  fillSegments("intervals", INTERVALS, changeInterval, INTERVAL_NAMES);
  fillSegments("adjustments", ADJUSTMENTS, (adjustment) => ({ adjustment }), ADJUSTMENT_NAMES);
  find("indicators").append(...INDICATORS.map(makeIndicator));
  find("switches").append(...SWITCHES.map(makeSwitch));
  for (const id of ["start", "end"]) find(id).addEventListener("change", takeDays);
}

export function showControls(state, shown) {
  check("ranges", state.range);
  check("intervals", state.interval);
  check("adjustments", state.adjustment);
  for (const { name } of SWITCHES) find(`switch-${name}`).checked = state[name];
  for (const each of INDICATORS) showIndicator(each, state);
  if (shown) [find("start").value, find("end").value] = [pickDay(shown.start), pickDay(shown.end)];
}

/** The intervals that a symbol has bars of; those of days are always there to be asked for. */
export function showIntervals(instrument) {
  const stored = (instrument?.intervals ?? []).map(({ interval }) => interval);
  const has = stored.some((interval) => interval !== "1d");
  for (const input of find("intervals").querySelectorAll("input")) input.disabled = isIntraday(input.value) && !has && !input.checked;
}

/** Minutes of years are more than a chart can show: a few days of them come into view first. */
function changeInterval(interval) {
  const { interval: before, range } = getState();
  if (isIntraday(interval) && !isIntraday(before)) return { interval, range: "5D", start: "", end: "" };
  if (!isIntraday(interval) && isIntraday(before) && ["1D", "5D", ""].includes(range)) return { interval, range: "1Y", start: "", end: "" };
  return { interval };
}

function fillSegments(id, values, change, names = {}) {
  find(id).append(
    ...values.map((value) =>
      make(
        "label",
        { title: names[value] },
        make("input", { type: "radio", name: id, value, onchange: () => changeState(change(value)) }),
        make("span", {}, value),
      ),
    ),
  );
}

function check(id, value) {
  for (const input of find(id).querySelectorAll("input")) input.checked = input.value === value;
}

function makeSwitch({ name, label, title }) {
  const onchange = (event) => changeState({ [name]: event.target.checked });
  return make(
    "label",
    { title },
    make("input", { type: "checkbox", id: `switch-${name}`, onchange }),
    make("span", {}, label),
  );
}

function makeIndicator({ name, label, title, window: bars }) {
  const change = () => changeState({ indicators: readIndicators() });
  return make(
    "span",
    { class: "indicator" },
    make(
      "label",
      { title },
      make("input", { type: "checkbox", id: `use-${name}`, onchange: change }),
      make("span", {}, label),
    ),
    make("input", { type: "number", id: `window-${name}`, min: 2, max: 1000, value: bars, "aria-label": `Bars of the ${title}`, onchange: change }),
  );
}

function readIndicators() {
  return INDICATORS.filter(({ name }) => find(`use-${name}`).checked).map(({ name, window: bars, rest }) => {
    const field = find(`window-${name}`);
    return `${name}:${field.checkValidity() && field.value ? Number(field.value) : bars}${rest}`;
  });
}

function showIndicator({ name, window: bars }, state) {
  const spec = state.indicators.find((each) => each.startsWith(`${name}:`));
  find(`use-${name}`).checked = Boolean(spec);
  if (spec) find(`window-${name}`).value = spec.split(":")[1];
  else if (!find(`window-${name}`).checkValidity()) find(`window-${name}`).value = bars;
}

function takeDays() {
  const [start, end] = [find("start").value, find("end").value];
  if (!start || !end || start < "1900" || end < "1900") return;
  const [first, last] = start <= end ? [start, end] : [end, start];
  changeState({ range: "", start: first, end: last });
}

/** The symbols that are compared with, each to be taken away. `colors` are those of their lines. */
export function showCompared(state, colors) {
  const chips = state.against.map((symbol, place) => {
    const without = () => {
      changeState({ against: getState().against.filter((name) => name !== symbol) });
      find("add-input").focus();
    };
    const dot = make("i", { "aria-hidden": "true" });
    dot.style.background = colors.series[place + 1];
    return make("li", {}, dot, symbol, make("button", { type: "button", "aria-label": `Take ${symbol} away`, onclick: without }, "×"));
  });
  find("against").replaceChildren(...chips);
  find("add").hidden = state.against.length >= MOST_COMPARED - 1;
}

export function addCompared(symbol) {
  const { symbol: main, against } = getState();
  if (symbol === main || against.includes(symbol) || against.length >= MOST_COMPARED - 1) return;
  changeState({ against: [...against, symbol] });
}
