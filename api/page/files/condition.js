// How the store is: a level for the dot in the top line, and words that say why.

const STALE_DAYS = 5; // a long weekend, and the day till its first bar is published

/** { level, words } of an answer of /health; level: ok, running, warning or error. */
export function describeCondition({ status, last, newest_bar_age_days: age, last_run: run }) {
  const isStale = age !== null && age > STALE_DAYS;
  const judge = (level, words) => ({ level, words: [words, `bars to ${last ?? "–"}`] });
  if (run?.status === "failed") return judge("error", "last run failed");
  if (status !== "ok") return judge("warning", status);
  if (run?.failed) return judge("warning", `${run.failed} failed in the last run`);
  if (isStale) return judge("warning", run?.source === "sample" ? "sample" : "stale");
  if (run?.status === "running") return judge("running", "a run is under way");
  return judge("ok", "ok");
}
