// Hands on the chart: a drag selects days to zoom to, keys do all that a mouse can.

const LEAST = 6; // pixels that make a drag

/**
 * `hooks`: select(left, right) with pixels of a drag; touched() before the chart moves by hand;
 * step(bars), move(part), zoom(factor), reset(), release() for keys.
 */
export function holdChart(element, band, chart, hooks) {
  dragBand(element, band, chart, hooks);
  element.addEventListener("wheel", hooks.touched, { capture: true, passive: true });
  element.addEventListener("touchmove", hooks.touched, { capture: true, passive: true });
  element.addEventListener("dblclick", hooks.reset);
  element.addEventListener("keydown", (event) => {
    const act = findKey(event, hooks);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function findKey(event, hooks) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (way) return event.shiftKey ? () => hooks.move(way * 0.1) : () => hooks.step(way);
  return {
    "+": () => hooks.zoom(0.8),
    "=": () => hooks.zoom(0.8),
    "-": () => hooks.zoom(1.25),
    PageUp: () => hooks.move(-0.9),
    PageDown: () => hooks.move(0.9),
    0: hooks.reset,
    Escape: hooks.release,
  }[event.key];
}

function dragBand(element, band, chart, hooks) {
  let begun = null;
  const locate = (event) => event.clientX - element.getBoundingClientRect().left;
  element.addEventListener(
    "mousedown",
    (event) => {
      const width = chart.timeScale().width();
      const isMove = event.shiftKey;
      // before the chart's own listener sees it: with Shift the drag is the chart's
      chart.applyOptions({ handleScroll: { pressedMouseMove: isMove } });
      if (isMove) hooks.touched();
      begun = isMove || event.button !== 0 || locate(event) > width ? null : locate(event);
    },
    { capture: true },
  );
  window.addEventListener("mousemove", (event) => {
    if (begun === null) return;
    const x = Math.min(Math.max(0, locate(event)), chart.timeScale().width());
    band.hidden = Math.abs(x - begun) < LEAST;
    band.style.left = `${element.offsetLeft + Math.min(x, begun)}px`;
    band.style.width = `${Math.abs(x - begun)}px`;
  });
  window.addEventListener("mouseup", (event) => {
    if (begun === null) return;
    const x = Math.min(Math.max(0, locate(event)), chart.timeScale().width());
    if (!band.hidden) hooks.select(Math.min(x, begun), Math.max(x, begun));
    begun = null;
    band.hidden = true;
  });
  window.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    begun = null;
    band.hidden = true;
  });
}
