// What stands above the chart (the symbol and its last price) and in its corner (the bar pointed at).

import { find, make } from "./elements.js";
import { findFirst } from "./figures.js";
import { listColumns, pickColor } from "./lines.js";
import { writeTime } from "./times.js";
import { writeNumber, writePercent, writePrice, writeShort } from "./texts.js";

const PERIODS = { "1m": "minute", "5m": "5 minutes", "15m": "15 minutes", "30m": "30 minutes", "1h": "hour", "1d": "day", "1wk": "week", "1mo": "month", "3mo": "quarter", "1y": "year" };
const ADJUSTED = { raw: "as traded", split: "split-adjusted", all: "split- and dividend-adjusted" };

/** The symbol, the close of the last bar shown, its change from the bar before and over the days shown. */
export function drawQuote(state, held, [first, last]) {
  const { close, timestamp } = held.bars.data;
  const before = last ? `${PERIODS[state.interval]}, since the close of ${timestamp[last - 1]}` : "no bar before it";
  find("quote").replaceChildren(
    make("h2", {}, state.symbol),
    make("span", { class: "price" }, writePrice(close[last])),
    tellChange(close[last] / close[last - 1] - 1, PERIODS[state.interval], before),
    tellChange(close[last] / close[first] - 1, `over ${state.range || "the days shown"}`, `from ${timestamp[first]} to ${timestamp[last]}`),
    held.bars.synthetic ? make("small", { class: "badge", title: "made out of the daily sample: nobody traded them" }, "synthetic") : null,
    make("small", {}, describeMinutes(held.bars)),
    make("small", {}, held.instrument ? describeInstrument(held.instrument, state.adjustment) : ""),
  );
  document.title = `${state.symbol} ${writePrice(close[last])} · Market Data Service`;
}

/** Whose clock the times are of, and that there are more bars than are shown. */
function describeMinutes({ zone, isCut, count }) {
  if (!zone) return "";
  return isCut ? `times of ${zone}, the newest ${writeNumber(count, 0)} bars` : `times of ${zone}`;
}

/** A change as −2.48 % with what it is of; `title` says between which days. */
function tellChange(change, label, title) {
  const kind = change > 0 ? "up" : change < 0 ? "down" : null;
  return make("span", { class: "change", title }, make("b", { class: kind }, writePercent(change, 2, true)), make("small", {}, ` ${label}`));
}

export function describeInstrument(instrument, adjustment) {
  const { exchange, calendar = exchange, source } = instrument;
  const missing = listNeverAsked(instrument, adjustment);
  const adjusted = missing.length ? `${ADJUSTED[adjustment]}, but ${missing.join(" and ")} were never asked for` : ADJUSTED[adjustment];
  return [calendar ? `${calendar} calendar` : "calendar not known", source, adjusted].join(" · ");
}

/** What the adjustment needs and nobody asked for; prices that came split-adjusted need no splits. */
function listNeverAsked({ basis, splits_known_at: splits, dividends_known_at: dividends }, adjustment) {
  const missing = [];
  if (adjustment !== "raw" && splits === null && basis === "raw") missing.push("splits");
  if (adjustment === "all" && dividends === null) missing.push("dividends");
  return missing;
}

/** Where there are no bars to tell of: the symbol that was asked for. */
export function emptyQuote(state) {
  find("quote").replaceChildren(make("h2", {}, state.symbol || "No instrument"));
}

/** The bar at a place: its prices, or where several symbols are compared, each as part of 100. */
export function drawLegend(state, held, rebased, place, colors) {
  const day = held.bars.data.timestamp[place];
  const parts = rebased ? listRebased(rebased, day, held, colors) : listPrices(held.bars.data, place);
  find("legend").replaceChildren(
    make("time", { datetime: day }, writeTime(day)),
    ...parts,
    ...(rebased ? [] : listIndicators(held, place, colors)),
    ...listFaults(held).map(({ detail }) => make("span", { class: "fault" }, detail)),
  );
}

/** A session that lacks its bar, or where only another symbol has one. */
export function sayNoBar(day) {
  find("legend").replaceChildren(make("time", { datetime: day }, writeTime(day)), make("span", {}, "no bar"));
}

function listPrices(data, place) {
  const change = place ? data.close[place] / data.close[place - 1] - 1 : null;
  const kind = data.close[place] >= data.open[place] ? "up" : "down";
  const price = (letter, name) => pair(letter, writePrice(data[name][place]), kind);
  return [
    price("O", "open"),
    price("H", "high"),
    price("L", "low"),
    price("C", "close"),
    make("span", { class: change < 0 ? "down" : "up" }, writePercent(change, 2, true)),
    pair("V", writeShort(data.volume[place])),
  ];
}

function pair(letter, text, kind = null) {
  return make("span", { class: "pair" }, make("i", {}, `${letter} `), make("b", { class: kind }, text));
}

/** One entry an indicator; of Bollinger bands the three values in one. */
function listIndicators(held, place, colors) {
  const groups = new Map();
  for (const name of listColumns(held.indicators)) {
    const title = nameColumn(name);
    if (!groups.has(title)) groups.set(title, { color: pickColor(name, colors), values: [] });
    groups.get(title).values.push(writePrice(held.indicators[place]?.[name]));
  }
  return [...groups].map(([title, { color, values }]) => colored(title, values.join(" / "), color));
}

/** sma_20 as SMA 20; bbands_upper_20_2 as BB 20 2, and so are the other two bands. */
function nameColumn(name) {
  const [kind, ...rest] = name.split("_");
  return kind === "bbands" ? ["BB", ...rest.slice(1)].join(" ") : [kind.toUpperCase(), ...rest].join(" ");
}

/** Why a compared symbol, or the indicators, are not drawn. */
function listFaults({ faults, indicatorFault }) {
  return indicatorFault ? [...faults.values(), indicatorFault] : [...faults.values()];
}

function listRebased({ day: base, isCommon, series }, day, held, colors) {
  const parts = series.map(({ symbol, place: at, days, values }) => {
    const place = findFirst(days, day);
    const value = days[place] === day ? writeNumber(values[place]) : "–";
    return colored(symbol, value, colors.series[at]);
  });
  const told = isCommon ? `100 on ${base}` : "no day in common: each 100 at its own first bar";
  return [...parts, make("small", {}, told)];
}

function colored(name, text, color) {
  const dot = make("i", { class: "dot", "aria-hidden": "true" });
  dot.style.background = color;
  return make("span", { class: "pair" }, dot, `${name} `, make("b", {}, text));
}
