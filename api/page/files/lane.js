// The lane of marks at the foot of the prices: a badge a bar, near ones put together with their count.

const SIZE = 15; // pixels, a badge and what is kept free beside it
const LETTERS = { split: "S", dividend: "D", note: "N", gap: "G", revision: "R" };

/** A primitive of a series: draws badges, and says which is under the pointer. */
export class Lane {
  constructor() {
    this.groups = []; // { index, marks }: the marks of one bar, in the order of time
    this.badges = []; // { x, marks }: as drawn last
    this.chosen = null;
    this.colors = {};
    this.views = [{ zOrder: () => "top", renderer: () => ({ draw: (target) => this.draw(target) }) }];
  }

  attached({ chart, requestUpdate }) {
    this.chart = chart;
    this.requestUpdate = requestUpdate;
  }

  detached() {
    this.chart = null;
  }

  paneViews() {
    return this.views;
  }

  setMarks(groups) {
    this.groups = groups;
    this.requestUpdate();
  }

  setColors(colors) {
    this.colors = colors;
    this.requestUpdate();
  }

  /** The badge at a place in the pane, if one is there. */
  findBadge(x, y) {
    if (this.top === undefined || y < this.top - 4) return null;
    return this.badges.find((badge) => Math.abs(badge.x - x) <= SIZE / 2 + 1) ?? null;
  }

  hitTest(x, y) {
    const badge = this.findBadge(x, y);
    return badge && { externalId: "badge", cursorStyle: "pointer", zOrder: "top" };
  }

  /** Badges in view, from left to right; one that would touch the one before joins it. */
  place() {
    const scale = this.chart.timeScale();
    const width = scale.width();
    const badges = [];
    for (const { index, marks } of this.groups) {
      const x = scale.logicalToCoordinate(index);
      if (x === null || x < 0 || x > width) continue;
      const before = badges.at(-1);
      if (before && x - before.x < SIZE) before.marks = before.marks.concat(marks);
      else badges.push({ x, marks });
    }
    return badges;
  }

  draw(target) {
    this.badges = this.place();
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      this.top = mediaSize.height - SIZE - 3;
      context.font = `600 9px ${this.colors.font}`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      for (const badge of this.badges) this.drawBadge(context, badge);
    });
  }

  drawBadge(context, { x, marks }) {
    const kinds = [...new Set(marks.map(({ kind }) => kind))];
    const color = this.colors.kinds[kinds[0]];
    const left = Math.round(x - SIZE / 2) + 1;
    context.beginPath();
    context.roundRect(left, this.top, SIZE - 2, SIZE - 2, 3);
    context.fillStyle = this.colors.ground;
    context.fill();
    context.lineWidth = 1.25;
    context.strokeStyle = color;
    context.stroke();
    context.fillStyle = color;
    const text = marks.length === 1 ? LETTERS[kinds[0]] : marks.length < 100 ? String(marks.length) : "99";
    context.fillText(text, left + SIZE / 2 - 1, this.top + SIZE / 2 - 0.5);
    kinds.slice(1, 4).forEach((kind, place) => {
      context.fillStyle = this.colors.kinds[kind];
      context.fillRect(left + 2 + place * 4, this.top - 3, 3, 2);
    });
  }
}
