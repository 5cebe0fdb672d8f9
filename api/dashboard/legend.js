// What stands above the chart (the symbol and its last price) and in its corner (the bar pointed at).

import { find, make } from "./elements.js";
import { findFirst } from "./figures.js";
import { listColumns, pickColor } from "./lines.js";
import { writeNumber, writePercent, writePrice, writeShort } from "./texts.js";

const ADJUSTED = { raw: "as traded", split: "split-adjusted", all: "split- and dividend-adjusted" };

/** The symbol, the close of the last bar shown, and its change over the range. */
export function drawQuote(state, held, [first, last]) {
  const { close } = held.bars.data;
  const change = close[last] / close[first] - 1;
  const told = held.instrument && `${held.instrument.exchange} · ${held.instrument.source} · ${ADJUSTED[state.adjustment]}`;
  find("quote").replaceChildren(
    make("strong", {}, state.symbol),
    make("span", { class: "price" }, writePrice(close[last])),
    make("span", { class: change < 0 ? "down" : "up", title: "over the days shown" }, writePercent(change, 2, true), make("small", {}, ` ${state.range || "range"}`)),
    make("small", {}, told || ""),
  );
  document.title = `${state.symbol} ${writePrice(close[last])} · Market Data Service`;
}

/** The bar at a place: its prices, or where several symbols are compared, each as part of 100. */
export function drawLegend(state, held, rebased, place, colors) {
  const day = held.bars.data.timestamp[place];
  const parts = rebased ? listRebased(rebased, day, held, colors) : listPrices(held.bars.data, place);
  find("legend").replaceChildren(
    make("time", { datetime: day }, day),
    ...parts,
    ...(rebased ? [] : listIndicators(held, place, colors)),
    ...(held.indicatorFault ? [make("span", { class: "fault" }, held.indicatorFault.detail ?? "")] : []),
  );
}

/** A session that lacks its bar, or where only another symbol has one. */
export function sayNoBar(day) {
  find("legend").replaceChildren(make("time", { datetime: day }, day), make("span", {}, "no bar"));
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

function listRebased({ day: base, isCommon, series }, day, held, colors) {
  const parts = series.map(({ symbol, days, values }, at) => {
    const place = findFirst(days, day);
    const value = days[place] === day ? writeNumber(values[place]) : "–";
    return colored(symbol, value, colors.series[at]);
  });
  const told = isCommon ? `100 on ${base}` : "no day in common: each 100 at its own first bar";
  const unknown = held.unknown.map((name) => make("span", { class: "fault" }, `${name} is not in the store`));
  return [...parts, make("small", {}, told), ...unknown];
}

function colored(name, text, color) {
  const dot = make("i", { class: "dot", "aria-hidden": "true" });
  dot.style.background = color;
  return make("span", { class: "pair" }, dot, `${name} `, make("b", {}, text));
}
