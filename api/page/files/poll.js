// A page that is left open asks now and then whether anything is new: a 304 of a few bytes, mostly.

import { buildUrl } from "./service.js";
import { fetchSigned } from "./sign_in.js";

const EVERY = 60_000; // milliseconds

/**
 * Calls `act()` when the store or the runs of the ETL have changed, or cannot be asked. It asks only
 * while the page is seen, and at once when it is seen again.
 */
export function watchService(act) {
  let known = "";
  let isFirst = true;
  let isAsking = false; // it may wait for who has to sign in
  let path = "etl/runs";
  const ask = async () => {
    if (document.visibilityState !== "visible" || isAsking) return;
    isAsking = true;
    const headers = known ? { "If-None-Match": known } : {};
    const answer = await fetchSigned(buildUrl(path, { limit: 1 }), { headers, cache: "no-store" }).catch(() => null);
    isAsking = false;
    if (answer?.status === 403 && path === "etl/runs") {
      path = "instruments"; // who may not see the runs sees new bars
      return ask();
    }
    if (answer?.status === 304) return;
    known = answer?.headers.get("ETag") ?? "";
    if (!isFirst) act();
    isFirst = false;
  };
  setInterval(ask, EVERY);
  document.addEventListener("visibilitychange", ask);
  ask();
}
