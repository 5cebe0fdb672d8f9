// Bars as they come: the stream of the symbol that is seen, and a dot that says how it stands.

import { find, make } from "./elements.js";
import { findFirst } from "./figures.js";
import { buildUrl } from "./service.js";
import { fetchSigned } from "./sign_in.js";
import { readClock } from "./times.js";

const STREAMED = ["1m", "5m", "15m", "30m", "1h", "1d"];
const PAUSES = [1_000, 2_000, 5_000, 15_000]; // milliseconds before it is opened again
const LATE = 150_000; // milliseconds without a bar
const WORDS = { live: "live", late: "no bar for some minutes", off: "not live" };

export const MOST_LIVE = 20_000; // bars that a page holds before it loads anew

/**
 * Puts a bar that came among those that are shown, in its place; returns the place. One between others,
 * where there was none, has none: null.
 */
export function takeBar({ data, zone }, bar) {
  const text = zone ? readClock([bar.timestamp], zone).texts[0] : bar.timestamp;
  const place = findFirst(data.timestamp, text);
  if (place < data.timestamp.length && data.timestamp[place] !== text) return null;
  for (const name of ["open", "high", "low", "close", "volume"]) data[name][place] = bar[name];
  data.timestamp[place] = text;
  return place;
}

/** One stream at a time, only while the page is seen; `onBar(event)` gets each bar of it. */
export class Live {
  constructor(onBar) {
    this.onBar = onBar;
    this.wanted = null; // { symbol, interval }
    this.asked = null;
    this.tries = 0;
    this.seenAt = 0;
    document.addEventListener("visibilitychange", () => this.restart());
    setInterval(() => this.show(), 30_000);
  }

  /** Follow a symbol; null: none. What is followed already goes on. */
  follow(wanted) {
    const next = wanted && STREAMED.includes(wanted.interval) ? wanted : null;
    if (String(Object.values(next ?? {})) === String(Object.values(this.wanted ?? {}))) return;
    this.wanted = next;
    this.tries = this.seenAt = 0;
    this.position = "";
    this.restart();
  }

  restart() {
    this.asked?.abort();
    this.asked = null;
    if (this.wanted && document.visibilityState === "visible") this.open();
    else this.show();
  }

  async open() {
    const asked = (this.asked = new AbortController());
    const { symbol, interval } = this.wanted;
    const url = buildUrl("stream", { symbols: symbol, interval, last_event_id: this.position });
    try {
      const answer = await fetchSigned(url, { signal: asked.signal, headers: { Accept: "text/event-stream" } });
      if (answer.ok) await this.read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch {
      // it broke off, or was given up: the dot says so
    }
    if (asked.signal.aborted) return;
    this.asked = null;
    this.show();
    const pause = PAUSES[Math.min(this.tries, PAUSES.length - 1)];
    this.tries += 1;
    setTimeout(() => this.wanted && !this.asked && this.restart(), pause);
  }

  async read(reader) {
    let rest = "";
    this.isOpen = true;
    this.seenAt ||= Date.now();
    this.show();
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const events = (rest + part.value).split("\n\n");
        rest = events.pop();
        events.forEach((event) => this.take(event));
      }
    } finally {
      this.isOpen = false;
    }
  }

  take(text) {
    const fields = Object.fromEntries(text.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
    if (fields.id) this.position = fields.id;
    if (!["bar", "revised", "provisional"].includes(fields.event)) return;
    this.tries = 0;
    this.seenAt = Date.now();
    this.onBar(JSON.parse(fields.data));
    this.show();
  }

  get condition() {
    if (!this.asked || !this.isOpen) return "off";
    return Date.now() - this.seenAt > LATE ? "late" : "live";
  }

  show() {
    const level = { live: "ok", late: "warning", off: "none" }[this.condition];
    const dot = make("i", { class: `dot ${level}`, "aria-hidden": "true" });
    find("live").replaceChildren(...(this.wanted ? [dot, make("span", {}, WORDS[this.condition])] : []));
    find("live").dataset.condition = this.condition;
  }
}
