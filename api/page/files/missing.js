// Symbols that did not come: without a bar in the store, or failed in the newest run.

import { make, makeTable } from "./elements.js";
import { findInstrument, settle } from "./loading.js";
import { writeInstant, writePlural } from "./texts.js";

const MOST = 50;
const OF_ACTIONS = / (SPLITS|DIVIDENDS)$/;

/** What failed in `runs` (with failures and stages, newest first), each with its newest reason. */
export function listFailures(runs) {
  const newest = runs.find(({ stages }) => stages.extract);
  const found = new Map();
  for (const run of runs) {
    const { not_asked: waiting = [], not_asked_why: why } = run.stages.extract ?? {};
    const failures = [...Object.entries(run.failures), ...waiting.map((label) => [label, `not asked: ${why}`])];
    for (const [label, reason] of failures) {
      if (!found.has(label)) found.set(label, { label, reason, at: run.started_at, isNewest: run === newest });
    }
  }
  return [...found.values()];
}

/** The table, or a sentence where nothing is missing. */
export async function drawMissing(runs) {
  const failures = listFailures(runs);
  const stored = await Promise.all(failures.slice(0, MOST).map(findStored));
  const rows = failures.slice(0, MOST).flatMap(({ label, reason, at, isNewest }, place) => {
    const { value } = stored[place];
    if (value && !isNewest) return []; // it came since
    return [[label, value ? `bars to ${value.last}` : "no bar", writeInstant(at), reason]];
  });
  if (!rows.length) return make("p", { class: "quiet" }, "Everything that was asked for came.");
  const table = makeTable("What did not come", ["Asked for", "In the store", "Run", "Why"], rows, "list missing");
  const more = failures.length - MOST;
  return more > 0 ? [table, make("p", { class: "quiet" }, `and ${writePlural(more, "other")}: data/etl.log has all`)] : table;
}

function findStored({ label }) {
  return settle(findInstrument(label.replace(OF_ACTIONS, "")));
}
