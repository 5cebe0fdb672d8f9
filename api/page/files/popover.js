// The box above a badge that says why it is there.

import { find, make } from "./elements.js";
import { describeMark } from "./panels.js";

const MOST = 8;

/** At a place of the chart, `x` pixels from its left; kept within the stage. */
export function showPopover(marks, x, stage) {
  const box = find("popover");
  const items = marks.slice(0, MOST).map((mark) => make("li", {}, ...describeMark(mark)));
  if (marks.length > MOST) items.push(make("li", { class: "quiet" }, `and ${marks.length - MOST} more: zoom in, or see the list`));
  box.replaceChildren(make("ul", { class: "events" }, items));
  box.hidden = false;
  const most = stage.clientWidth - box.offsetWidth - 8;
  box.style.left = `${Math.max(8, Math.min(x - box.offsetWidth / 2, most))}px`;
}

export function hidePopover() {
  find("popover").hidden = true;
}
