// The chart itself: Lightweight Charts with candles, volume, lines, drawdown and the lane of marks.

import {
  AreaSeries,
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  LineSeries,
  LineStyle,
  PriceScaleMode,
  createChart,
} from "./vendor/lightweight-charts.standalone.production.mjs";
import { Lane } from "./lane.js";
import { fromSeconds, toSeconds } from "./times.js";
import { writeNumber, writePercent, writePrice, writeTick } from "./texts.js";

const QUIET = { priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false };

/** One chart on an element. Places of bars are indices on its time scale, gaps included. */
export class Board {
  constructor(element, colors) {
    this.colors = colors;
    this.chart = createChart(element, { ...CHART, ...paint(colors) });
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false, priceFormat: PRICES });
    this.candles.priceScale().applyOptions({ scaleMargins: MARGINS });
    this.volume = null; // in a pane of its own, where bars are shown
    this.lane = new Lane();
    this.candles.attachPrimitive(this.lane);
    this.lines = [];
    this.falls = [];
    this.setColors(colors);
  }

  setColors(colors) {
    this.colors = colors;
    this.chart.applyOptions(paint(colors));
    this.candles.applyOptions({
      upColor: colors.up,
      downColor: colors.down,
      wickUpColor: colors.up,
      wickDownColor: colors.down,
      borderVisible: false,
    });
    this.lane.setColors(colors);
  }

  /**
   * Bars as columns, and the sessions that lack one: they keep their room on the time scale.
   * `areHidden`: only that room is kept, for lines of several symbols.
   */
  setBars(data, gaps, areHidden) {
    this.areHidden = areHidden;
    this.showVolume(!areHidden);
    this.setClock(data.timestamp[0]?.length > DAY);
    const candles = data.timestamp.map((time, row) => (areHidden ? { time: this.toTime(time) } : this.pickCandle(data, row)));
    const holes = gaps.map((time) => ({ time }));
    const byTime = (one, other) => (one.time < other.time ? -1 : 1);
    this.candles.setData(holes.length ? [...candles, ...holes].sort(byTime) : candles);
    this.volume?.setData(data.timestamp.map((_, row) => this.pickVolume(data, row)));
  }

  /** Times of day on the axis, where bars are shorter than a day: the chart counts them in seconds. */
  setClock(hasTimes) {
    if (hasTimes === Boolean(this.hasTimes)) return;
    for (const api of [this.candles, this.volume, ...this.lines.map((one) => one.api)]) api?.setData([]);
    this.setFalls([]);
    this.hasTimes = hasTimes;
    this.chart.applyOptions({ timeScale: { timeVisible: hasTimes, secondsVisible: false } });
  }

  toTime(text) {
    return this.hasTimes ? toSeconds(text) : text;
  }

  toText(time) {
    return typeof time === "number" ? fromSeconds(time) : time;
  }

  /** One more bar, or another value of one that is there; `isLast`: it is the newest. */
  updateBar(data, row, isLast) {
    if (this.areHidden) return;
    this.candles.update(this.pickCandle(data, row), !isLast);
    this.volume?.update(this.pickVolume(data, row), !isLast);
  }

  pickCandle({ timestamp, open, high, low, close }, row) {
    return { time: this.toTime(timestamp[row]), open: open[row], high: high[row], low: low[row], close: close[row] };
  }

  /** The pane below the prices; an empty pane goes away with its last series. */
  showVolume(isShown) {
    if (isShown === Boolean(this.volume)) return;
    this.setFalls([]); // they come back, below the volume
    if (isShown) {
      this.volume = this.chart.addSeries(HistogramSeries, { ...QUIET, priceFormat: { type: "volume" } }, 1);
      this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0 } });
    } else {
      this.chart.removeSeries(this.volume);
      this.volume = null;
    }
    this.sharePanes();
  }

  pickVolume({ timestamp, open, close, volume }, row) {
    const color = close[row] >= open[row] ? this.colors.volumeUp : this.colors.volumeDown;
    return { time: this.toTime(timestamp[row]), value: volume[row] ?? 0, color };
  }

  /**
   * `lines`: { name, color, points: [{ time, value }], dashed }, drawn over the prices. Beside candles
   * they do not stretch the price axis.
   */
  setLines(lines) {
    this.lines = this.replace(this.lines, lines, LineSeries, 0);
    const autoscaleInfoProvider = this.areHidden ? undefined : () => null;
    for (const { api } of this.lines) api.applyOptions({ autoscaleInfoProvider });
  }

  /** Drawdowns in a pane of their own; none: no pane. */
  setFalls(falls) {
    this.falls = this.replace(this.falls, falls, falls.length > 1 ? LineSeries : AreaSeries, this.volume ? 2 : 1);
    this.sharePanes();
  }

  /** How much of the height each pane takes, in parts. */
  sharePanes() {
    const parts = [6, ...(this.volume ? [1.3] : []), 2];
    this.chart.panes().forEach((pane, place) => pane.setStretchFactor(parts[place]));
  }

  replace(series, lines, kind, pane) {
    const isSame = series.length === lines.length && series.every((one) => one.kind === kind);
    const kept = isSame ? series : this.rebuild(series, lines, kind, pane);
    kept.forEach((one, place) => {
      const { name, color, points, dashed, fill } = lines[place];
      one.name = name;
      one.color = color;
      one.api.applyOptions({
        ...(kind === AreaSeries ? { lineColor: color, topColor: "transparent", bottomColor: fill } : { color }),
        lineStyle: dashed ? LineStyle.Dashed : LineStyle.Solid,
        invertFilledArea: true,
      });
      one.api.setData(this.hasTimes ? points.map((point) => ({ ...point, time: toSeconds(point.time) })) : points);
    });
    return kept;
  }

  rebuild(series, lines, kind, pane) {
    for (const { api } of series) this.chart.removeSeries(api);
    return lines.map(({ percent }) => {
      const options = { ...QUIET, lineWidth: pane ? 1 : 1.5, priceFormat: percent ? PERCENTS : PRICES };
      return { kind, api: this.chart.addSeries(kind, options, pane) };
    });
  }

  setLog(isLog) {
    const mode = isLog ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal;
    this.chart.priceScale("right", 0).applyOptions({ mode });
  }

  /** Marks by the day of their bar, in the order of time. */
  setMarks(marks) {
    const groups = [];
    for (const mark of marks) {
      const index = this.findIndex(mark.bar);
      if (index === null) continue;
      if (groups.at(-1)?.index === index) groups.at(-1).marks.push(mark);
      else groups.push({ index, marks: [mark] });
    }
    this.lane.setMarks(groups);
  }

  /** The place of a day on the time scale, or of the bar next to it. */
  findIndex(day) {
    return this.chart.timeScale().timeToIndex(this.toTime(day), true);
  }

  /** From the bar of one day to that of another, both whole; behind the newest some room is left. */
  showDays(first, last) {
    const scale = this.chart.timeScale();
    const [from, to] = [this.findIndex(first), this.findIndex(last)];
    if (from === null || to === null) return;
    const isNewest = this.findIndex("9999-12-31") === to;
    const pixels = (to - from + 1) / Math.max(1, scale.width() - EDGE - ROOM); // bars a pixel
    scale.setVisibleLogicalRange({ from: from - EDGE * pixels, to: to + (isNewest ? ROOM : EDGE) * pixels });
  }

  /** Whether more is seen than there is: a hand moved past the first or the last bar. */
  isPastEnds() {
    const { from, to } = this.chart.timeScale().getVisibleLogicalRange() ?? { from: 0, to: 0 };
    const room = (to - from) * 0.05 + 1;
    return from < -room || to > this.findIndex("9999-12-31") + room;
  }

  /** The days of what is seen, clipped to what there is: [first, last]; null before anything is. */
  readDays() {
    const range = this.chart.timeScale().getVisibleRange();
    return range && [this.toText(range.from), this.toText(range.to)];
  }

  /** Puts the crosshair on the bar of a day; without one, takes it away. */
  pointAt(day, price) {
    if (day === null) this.chart.clearCrosshairPosition();
    else this.chart.setCrosshairPosition(price, this.toTime(day), this.areHidden ? this.lines[0].api : this.candles);
  }
}

const DAY = "2012-01-31".length;
const EDGE = 1; // pixels beside the first and the last bar shown: each is drawn one to the left
const ROOM = 14; // pixels behind the newest bar
const MARGINS = { top: 0.08, bottom: 0.08 }; // of the price pane: the legend, and the lane of marks

/** Labels of a price axis, with the decimals that tell them apart. No price is below 0, though the axis may reach there. */
function writeTicks(values) {
  const step = Math.abs(values[1] - values[0]) || 1;
  const places = Math.min(4, Math.max(2, Math.ceil(-Math.log10(step) - 1e-9)));
  return values.map((value) => (value < 0 ? "" : writeNumber(value, places)));
}

const PRICES = {
  type: "custom",
  minMove: 0.0001,
  formatter: (value) => (value < 0 ? "" : writePrice(value)),
  tickmarksFormatter: writeTicks,
};
const PERCENTS = { type: "custom", minMove: 0.0001, formatter: (value) => writePercent(value, 1) };

const CHART = {
  autoSize: true,
  crosshair: { mode: CrosshairMode.Normal },
  rightPriceScale: { borderVisible: false, minimumWidth: 56 },
  timeScale: {
    borderVisible: false,
    tickMarkMaxCharacterLength: 6,
    tickMarkFormatter: writeTick,
    minBarSpacing: 0.02,
    rightOffset: 0,
    lockVisibleTimeRangeOnResize: true,
    shiftVisibleRangeOnNewBar: false,
  },
  // a drag selects days (pointer.js); the wheel zooms, fingers move and pinch
  handleScroll: { pressedMouseMove: false, mouseWheel: true, horzTouchDrag: true, vertTouchDrag: false },
  handleScale: { axisPressedMouseMove: true, mouseWheel: true, pinch: true },
  localization: { locale: "en-US", dateFormat: "yyyy-MM-dd" },
};

function paint(colors) {
  const crosshair = { color: colors.text, labelBackgroundColor: colors.accent, width: 1, style: LineStyle.Dotted };
  return {
    layout: {
      background: { type: ColorType.Solid, color: colors.ground },
      textColor: colors.text,
      fontFamily: colors.font,
      fontSize: 11,
      // the credit stands at the foot of the page: the logo brings a style of its own along
      attributionLogo: false,
      panes: { separatorColor: colors.line, separatorHoverColor: colors.grid },
    },
    grid: { vertLines: { color: colors.grid }, horzLines: { color: colors.grid } },
    crosshair: { mode: CrosshairMode.Normal, vertLine: crosshair, horzLine: crosshair },
  };
}
