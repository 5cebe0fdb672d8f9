// A page that is left open asks now and then whether anything is new: a 304 of a few bytes, mostly.

import { buildUrl } from "./service.js";

const EVERY = 60_000; // milliseconds

/**
 * Calls `act()` when the store or the runs of the ETL have changed, or cannot be asked. It asks only
 * while the page is seen, and at once when it is seen again.
 */
export function watchService(act) {
  let known = "";
  let isFirst = true;
  const ask = async () => {
    if (document.visibilityState !== "visible") return;
    const headers = known ? { "If-None-Match": known } : {};
    const answer = await fetch(buildUrl("etl/runs", { limit: 1 }), { headers, cache: "no-store" }).catch(() => null);
    if (answer?.status === 304) return;
    known = answer?.headers.get("ETag") ?? "";
    if (!isFirst) act();
    isFirst = false;
  };
  setInterval(ask, EVERY);
  document.addEventListener("visibilitychange", ask);
  ask();
}
