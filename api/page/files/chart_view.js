// The first tab: asks for what the state names, draws it, and keeps the panels in step.

import { Board } from "./board.js";
import { readColors } from "./colors.js";
import { showCompared, showControls, showIntervals } from "./controls.js";
import { debounce, find } from "./elements.js";
import { findShown } from "./figures.js";
import { Hands } from "./hands.js";
import { drawLegend, drawQuote, emptyQuote } from "./legend.js";
import { buildFalls, buildLines, rebaseAll } from "./lines.js";
import { Live, MOST_LIVE, takeBar } from "./live.js";
import { findInstruments, loadBars, loadCloses, loadIndicators, loadInstrument, loadRecord, loadStatistics, settle } from "./loading.js";
import { listMarks, placeMarks } from "./marks.js";
import { hideOverlay, showActionsKnown, showFault, showLoading, showMarks, showPartFault, showStatistics } from "./panels.js";
import { changeState, getState, isSame } from "./state.js";
import { showTakeaway } from "./takeaway.js";

const NOTHING = { bars: null, instrument: null, closes: new Map(), faults: new Map(), marks: [], gaps: [], indicators: null };

export class ChartView {
  constructor() {
    this.stage = find("stage");
    this.colors = readColors();
    this.board = null;
    this.hands = null;
    this.asked = new AbortController();
    this.held = { ...NOTHING };
    this.shown = null; // { start, end }: days of the first and last bar shown
    this.places = null; // places of those bars among all
    this.work = 0; // questions under way
    this.isMeasured = true; // the panels are of the days shown
    this.measureSoon = debounce(60, () => this.measure());
    this.live = new Live((bar) => this.takeLive(bar));
  }

  /** Called at each change of state; `isStale`: the data changed under the page. */
  render(state, before, isStale = false) {
    showControls(state, this.shown);
    showCompared(state, this.colors);
    if (isStale || !before || before.tab !== "chart" || !isSame(state, before, "symbol", "interval", "adjustment", "against")) {
      return this.load(state);
    }
    if (!this.held.bars) return undefined;
    if (!isSame(state, before, "indicators")) this.takeIndicators(state);
    this.draw(state, !isSame(state, before, "range", "start", "end") && !this.hands?.isFollowing);
    return undefined;
  }

  async load(state) {
    this.asked.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    this.count(1);
    this.set("loading");
    const patience = setTimeout(() => showLoading(`Loading ${state.symbol} …`), 200);
    try {
      if (!state.symbol) return await this.chooseFirst(signal);
      const record = settle(loadRecord(state.symbol, signal));
      const instrument = settle(loadInstrument(state.symbol, signal));
      const asked = loadBars(state, signal);
      const indicators = state.indicators.length ? settle(loadIndicators(state, signal, asked)) : null;
      const [bars, others] = await Promise.all([asked, state.against.length ? loadCloses(state, signal) : null]);
      if (signal.aborted) return undefined;
      this.held = { ...NOTHING, bars, ...others };
      this.redraw();
      await this.addRest(signal, record, instrument, indicators);
    } catch (fault) {
      if (!signal.aborted) this.fail(fault);
    } finally {
      clearTimeout(patience);
      this.count(-1);
    }
    return undefined;
  }

  /** The tab is busy while anything is asked, or its figures are not yet those of the days shown. */
  count(change) {
    this.work += change;
    find("view-chart").setAttribute("aria-busy", String(this.work > 0 || !this.isMeasured));
  }

  async chooseFirst(signal) {
    const [first] = await findInstruments("", 1, signal);
    if (first) return changeState({ symbol: first.symbol }, true);
    throw Object.assign(new Error(), { title: "Nothing stored yet", detail: "The store has no instruments: run `make etl`, then retry." });
  }

  async addRest(signal, record, instrument, indicators) {
    const [recorded, described, rows] = await Promise.all([record, instrument, indicators]);
    if (signal.aborted) return;
    this.held.instrument = described.value ?? null;
    this.held.marks = recorded.value ? listMarks(recorded.value) : [];
    this.held.gaps = recorded.value?.gaps.map(({ session }) => session) ?? [];
    this.held.recordFault = recorded.fault;
    this.takeRows(rows);
    this.redraw();
    showIntervals(this.held.instrument);
    this.followLive();
  }

  /** Bars as they come, where there are minutes that they are made of, and one symbol is seen. */
  followLive() {
    const { symbol, interval, tab, against, end } = getState();
    const stored = this.held.instrument?.intervals ?? [];
    const hasMinutes = stored.some(({ interval: base }) => base !== "1d");
    this.live.follow(tab === "chart" && hasMinutes && !against.length && !end ? { symbol, interval } : null);
  }

  /** A bar that came: the newest, one more, or another value of one that is shown. */
  takeLive(bar) {
    const { bars } = this.held;
    const { symbol, interval } = getState();
    if (!bars || !this.board || bar.symbol !== symbol || bar.interval !== interval) return;
    const place = takeBar(bars, bar);
    if (place === null) return;
    const isLast = place === bars.data.timestamp.length - 1;
    this.board.updateBar(bars.data, place, isLast);
    if (place > MOST_LIVE) this.load(getState()); // a page that is left open does not grow
    else if (isLast) this.moveOn(place);
  }

  /** The view goes on with the newest bar where it was at the end. */
  moveOn(place) {
    const state = getState();
    if (!this.places || !state.range) return;
    this.places = [this.places[0], place];
    this.shown = { ...this.shown, end: this.held.bars.data.timestamp[place] };
    drawQuote(state, this.held, this.places);
    this.drawLegend(place);
  }

  async takeIndicators(state) {
    const { signal } = this.asked;
    this.count(1);
    const rows = state.indicators.length ? await settle(loadIndicators(state, signal, this.held.bars)) : null;
    this.count(-1);
    if (signal.aborted || !isSame(state, getState(), "indicators")) return;
    this.takeRows(rows);
    this.draw(getState(), false);
  }

  takeRows(rows) {
    this.held.indicators = rows?.value ?? null;
    this.held.indicatorFault = rows?.fault ?? null;
  }

  redraw() {
    if (getState().tab === "chart") this.draw(getState(), true, true);
  }

  /** `isMoved`: put the days of the state in view; `isNew`: the bars are other ones. */
  draw(state, isMoved, isNew = false) {
    const { bars, gaps, marks } = this.held;
    const days = bars.data.timestamp;
    const places = findShown(days, state);
    if (!places) return this.showNothing(state, days);
    this.prepareBoard();
    hideOverlay();
    const [first, last] = places;
    this.places = places;
    this.shown = { start: days[first], end: days[last] };
    const isCompared = this.held.closes.size > 0;
    const looks = `${isCompared} ${this.colors.ground}`;
    if (isNew || looks !== this.looks) {
      this.looks = looks;
      this.board.setBars(bars.data, state.interval === "1d" ? gaps : [], isCompared);
      isMoved ||= isNew;
    }
    this.rebased = isCompared ? rebaseAll(state, this.held, this.shown) : null;
    this.board.setLines(buildLines(state, this.held, this.rebased, this.colors));
    this.board.setFalls(buildFalls(state, this.held, this.shown, places, this.colors));
    this.board.setLog(state.log);
    this.board.setMarks(placeMarks(marks, days, state.interval, state.hidden));
    if (isMoved) {
      this.hands.letGo();
      this.board.showDays(days[first], last === days.length - 1 ? this.findLastDay(state) : days[last]);
    }
    this.set("ready");
    this.showAround(state);
    return undefined;
  }

  /** The last day on the time scale: of a bar, or of a session after it that is not published yet. */
  findLastDay(state) {
    const last = this.held.bars.data.timestamp.at(-1);
    const gap = state.interval === "1d" ? this.held.gaps.at(-1) : undefined;
    return gap > last ? gap : last;
  }

  showAround(state) {
    const { bars, marks, recordFault } = this.held;
    const pages = bars.perAnswer < bars.count ? bars.perAnswer : null;
    showControls(state, this.shown);
    drawQuote(state, this.held, this.places);
    this.drawLegend(this.places[1]);
    showActionsKnown(this.held.instrument);
    showTakeaway({ ...state, against: [...this.held.closes.keys()] }, this.shown, pages);
    if (recordFault) showPartFault("events", recordFault, () => this.load(getState()));
    else showMarks(marks, this.shown, state.hidden, (mark) => this.hands.point(mark));
    this.isMeasured = false;
    this.count(0);
    this.measureSoon();
  }

  /** Statistics of the days shown, once the view has come to rest. */
  async measure() {
    const { signal } = this.asked;
    const [state, shown] = [getState(), this.shown];
    if (!shown) return;
    const found = await settle(loadStatistics([state.symbol, ...this.held.closes.keys()], state, shown, signal));
    if (signal.aborted || shown !== this.shown) return;
    if (found.fault) showPartFault("statistics", found.fault, () => this.measure());
    else showStatistics(found.value, shown);
    this.isMeasured = true;
    this.count(0);
  }

  showNothing(state, days) {
    this.shown = this.places = null;
    this.isMeasured = true;
    this.count(0);
    this.set("empty");
    const has = days.length ? `it has bars from ${days[0]} to ${days.at(-1)}.` : "it has none at all.";
    showFault("empty", "No bars in these days", `${state.symbol} has no bar from ${state.start} to ${state.end}: ${has}`, [
      { label: "Show all bars", act: () => changeState({ range: "All", start: "", end: "" }) },
    ]);
  }

  fail(fault) {
    this.asked.abort(); // what else was asked for would fail the same way
    this.isMeasured = true;
    this.set("error");
    this.held = { ...NOTHING };
    this.shown = this.places = null;
    emptyQuote(getState());
    for (const id of ["legend", "statistics", "statistics-of", "events", "events-of", "actions-of", "take"]) find(id).replaceChildren();
    const ways = (fault.nearest ?? []).map((name) => ({ label: name, act: () => changeState({ symbol: name }) }));
    const retry = { label: "Retry", act: () => this.load(getState()) };
    showFault("error", fault.title ?? "Something went wrong", fault.detail ?? fault.message, [...ways, retry]);
  }

  get hasFailed() {
    return this.stage.dataset.state === "error";
  }

  set(name) {
    this.stage.dataset.state = name;
    this.stage.setAttribute("aria-busy", String(name === "loading"));
    if (name === "ready") requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("chart drawn")));
  }

  recolor() {
    this.colors = readColors();
    this.board?.setColors(this.colors);
    showCompared(getState(), this.colors);
    if (this.held.bars) this.draw(getState(), false);
  }

  prepareBoard() {
    if (this.board) return;
    this.board = new Board(find("chart"), this.colors);
    this.hands = new Hands(this);
  }

  drawLegend(place) {
    drawLegend(getState(), this.held, this.rebased, place, this.colors);
  }
}
