// What hands do to the chart, by mouse, touch or key: the state follows, or is changed.

import { debounce, find } from "./elements.js";
import { findFirst } from "./figures.js";
import { sayNoBar } from "./legend.js";
import { placeMarks } from "./marks.js";
import { holdChart } from "./pointer.js";
import { hidePopover, showPopover } from "./popover.js";
import { changeState, getState } from "./state.js";

/** The hands on the board of a ChartView. */
export class Hands {
  constructor(view) {
    this.view = view;
    this.isTouched = false; // the chart moves under a hand, not by the state
    this.isFollowing = false; // the state is being changed to what is seen already
    this.cursor = null; // place of the bar that the crosshair was put on by key
    const { chart } = view.board;
    const followSoon = debounce(150, () => this.follow());
    chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.isTouched && followSoon());
    chart.subscribeCrosshairMove((moved) => this.onPoint(moved));
    chart.subscribeClick((moved) => this.onPoint(moved));
    find("chart").addEventListener("mouseleave", hidePopover);
    holdChart(find("chart"), find("band"), chart, {
      touched: () => (this.isTouched = true),
      select: (left, right) => this.select(left, right),
      step: (bars) => this.step(bars),
      move: (part) => this.shift(([from, to]) => [from + part * (to - from), to + part * (to - from)]),
      zoom: (factor) => this.shift(([from, to]) => [to - (to - from) * factor, to]),
      reset: () => changeState({ range: "All", start: "", end: "" }),
      release: () => this.release(),
    });
  }

  get days() {
    return this.view.held.bars?.data.timestamp ?? [];
  }

  letGo() {
    this.isTouched = false;
    this.cursor = null;
    hidePopover();
  }

  /** The address takes the days that a hand moved to. */
  follow() {
    const range = this.view.board.readDays();
    const { days } = this;
    if (!range || !days.length || !this.isTouched) return;
    const first = Math.min(findFirst(days, range[0]), days.length - 1);
    const last = Math.max(first, findFirst(days, `${range[1]}~`) - 1);
    this.isFollowing = !this.view.board.isPastEnds(); // else the days there are come back into view
    changeState({ range: "", start: days[first], end: days[last] }, true);
    this.isFollowing = false;
  }

  select(left, right) {
    const scale = this.view.board.chart.timeScale();
    const [start, end] = [scale.coordinateToTime(left), scale.coordinateToTime(right)];
    if (!this.view.places || (start === null && end === null)) return;
    changeState({ range: "", start: start ?? this.days[0], end: end ?? this.days.at(-1) });
  }

  /** `change` takes places [from, to] of the bars shown to others, which are kept within the bars. */
  shift(change) {
    if (!this.view.places) return;
    const last = this.days.length - 1;
    const [from, to] = change(this.view.places).map(Math.round);
    const width = Math.max(1, Math.min(last, to - from));
    const first = Math.max(0, Math.min(from, last - width));
    changeState({ range: "", start: this.days[first], end: this.days[Math.min(last, first + width)] }, true);
  }

  onPoint({ time: at, point, paneIndex }) {
    const { view, days } = this;
    const time = at && view.board.toText(at);
    if (!view.places) return;
    const place = time ? findFirst(days, time) : -1;
    if (time && days[place] !== time) sayNoBar(time);
    else view.drawLegend(time ? place : view.places[1]);
    const badge = point && !paneIndex ? view.board.lane.findBadge(point.x, point.y) : null;
    if (badge) showPopover(badge.marks, badge.x, view.stage);
    else if (point) hidePopover();
  }

  step(bars) {
    if (!this.view.places) return;
    const [first, last] = this.view.places;
    const next = this.cursor === null ? last : this.cursor + bars;
    this.cursor = Math.min(last, Math.max(first, next));
    this.pointAt(this.days[this.cursor]);
    find("told").textContent = find("legend").textContent;
  }

  /** Shows a mark of the list where it is on the chart. */
  point(mark) {
    const [placed] = placeMarks([mark], this.days, getState().interval, []);
    if (!placed) return;
    this.pointAt(placed.bar);
    const { board, stage } = this.view;
    const x = board.chart.timeScale().logicalToCoordinate(board.findIndex(placed.bar));
    showPopover([mark], x ?? 0, stage);
  }

  pointAt(day) {
    const { held, rebased, board } = this.view;
    const place = Math.min(findFirst(this.days, day), this.days.length - 1);
    board.pointAt(day, rebased ? rebased.series[0].values[place] : held.bars.data.close[place]);
    this.view.drawLegend(place);
  }

  release() {
    this.letGo();
    this.view.board.pointAt(null);
    if (this.view.places) this.view.drawLegend(this.view.places[1]);
  }
}
