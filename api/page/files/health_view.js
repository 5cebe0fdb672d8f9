// The second tab: how whole the data are, what the last runs of the ETL did, what was rejected.

import { describeCondition } from "./condition.js";
import { find, make, makeTable } from "./elements.js";
import { drawMissing } from "./missing.js";
import { writeCode } from "./panels.js";
import { ask, askHealth, buildUrl } from "./service.js";
import { changeState } from "./state.js";
import { writeCount, writeInstant, writeNumber, writePercent, writePlural, writeSpan } from "./texts.js";

const ROWS = 100;
const RUNS = 20;
const RUNS_OF_REASONS = 10;

/** Asks for everything anew and shows it; each part that cannot be had says why. */
export async function showHealth(state) {
  const view = find("view-health");
  if (!view.firstChild) view.append(...buildParts());
  view.setAttribute("aria-busy", "true");
  const runs = loadRuns();
  await Promise.all([
    fill("runs-part", async () => drawRuns(await retake(runs), state)),
    fill("store-part", loadStore),
    fill("missing-part", async () => ({ content: await drawMissing((await retake(runs)).filter(hasDetails)) })),
    fill("coverage-part", loadCoverage),
    fill("reasons-part", async () => ({ content: drawReasons(sumReasons(await retake(runs))) })),
    fill("run-part", () => loadRun(state.run)),
  ]);
  view.setAttribute("aria-busy", "false");
}

function buildParts() {
  const part = (id, title, wide) =>
    make("div", { class: wide ? "panel wide" : "panel" }, make("h2", { id: `${id}-title` }, title), make("div", { id, class: "scroll", tabindex: "0", role: "region", "aria-labelledby": `${id}-title` }, make("p", { class: "quiet" }, "Loading …")));
  return [
    part("store-part", "Store", true),
    part("missing-part", `What did not come, last ${RUNS_OF_REASONS} runs`, true),
    part("coverage-part", "Coverage by symbol", true),
    part("runs-part", "Last runs of the ETL"),
    part("reasons-part", `Rejected rows by reason, last ${RUNS_OF_REASONS} runs`),
    part("run-part", "One run", true),
  ];
}

async function fill(id, load) {
  const part = find(id);
  try {
    const { content } = await load();
    part.replaceChildren(...[content].flat());
  } catch (fault) {
    const retry = make("button", { type: "button", onclick: () => fill(id, load) }, "Retry");
    part.replaceChildren(make("div", { class: "part-fault", role: "alert" }, make("p", {}, writeCode(fault.detail ?? fault.message)), retry));
  }
}

async function loadStore() {
  const health = await askHealth();
  const card = (name, value, kind = "") => make("div", { class: `card ${kind}` }, make("dt", {}, name), make("dd", {}, value));
  const { level, words } = describeCondition(health);
  const age = health.newest_bar_age_days;
  const run = health.last_run;
  const cards = make(
    "dl",
    { class: "cards" },
    card("State", words[0], level),
    card("Instruments", writeCount(health.symbols)),
    card("Bars", writeCount(health.bars)),
    card("Days", `${health.first ?? "–"} – ${health.last ?? "–"}`),
    card("Newest bar", age === null ? "–" : `${writePlural(age, "day")} old`),
    card("Published", writeInstant(health.published_at)),
    card("Generation", health.generation),
    card("Last run", run ? [run.status, run.finished_at && writeInstant(run.finished_at)].filter(Boolean).join(", ") : "–", run?.status),
  );
  const fault = health.fault && make("p", { class: "notice", role: "alert" }, writeCode(health.fault));
  return { content: fault ? [fault, cards] : cards };
}

async function loadCoverage() {
  const page = await ask(buildUrl("coverage", { limit: ROWS }));
  const body = page.data.map(describeCoverage);
  const head = ["Symbol", "Calendar", "First", "Last", "Bars", "Sessions", "Present", "Gaps", "Notes", "Provisional", "Revisions"];
  const table = makeTable("Coverage by symbol", head, body, "list coverage");
  if (!page.next) return { content: table };
  let next = page.next;
  const more = make("button", { type: "button" }, "Show more");
  more.addEventListener("click", async () => {
    const url = buildUrl("coverage");
    url.search = next.slice(next.indexOf("?"));
    const following = await ask(url).catch(() => null);
    more.textContent = following ? "Show more" : "Retry";
    if (!following) return;
    const rows = makeTable("", head, following.data.map(describeCoverage)).tBodies[0].rows;
    table.tBodies[0].append(...rows);
    next = following.next;
    more.hidden = !next;
  });
  return { content: [table, more] };
}

function describeCoverage(row) {
  const { calendar = row.exchange } = row;
  const part = row.sessions_expected ? row.sessions_present / row.sessions_expected : 1;
  const meter = make("meter", { min: 0, max: 1, low: 0.95, high: 0.999, optimum: 1, value: part, title: `${row.sessions_present} of ${row.sessions_expected} sessions` });
  const show = () => changeState({ tab: "chart", symbol: row.symbol, range: "All", start: "", end: "" });
  const counts = ["gaps", "notes", "provisional", "revisions"].map((name) => make("span", { class: row[name] ? "some" : "none" }, writeCount(row[name])));
  return [
    make("button", { type: "button", class: "link", onclick: show, title: `Show ${row.symbol}` }, row.symbol),
    calendar ? tellEnd(calendar, row.sessions_known_to) : "not known",
    row.first,
    row.last,
    writeCount(row.bars),
    calendar ? writeCount(row.sessions_expected) : "–",
    calendar ? make("span", { class: "meter" }, meter, writePart(part) + tellOutside(row.bars_outside_sessions)) : "–",
    ...counts,
  ];
}

const tellEnd = (calendar, end) => (end ? `${calendar}, known to ${end}` : calendar);

/** Bars on days that are no session are none of the sessions that have a bar. */
const tellOutside = (count) => (count ? ` + ${writeCount(count)} outside` : "");

/** 100 % only where nothing is missing. */
function writePart(part) {
  return writePercent(Math.floor(part * 1000) / 1000, part === 1 ? 0 : 1);
}

/** The newest runs; the first of them with their failures and stages. */
async function loadRuns() {
  const { data: runs } = await ask(buildUrl("etl/runs", { limit: RUNS }));
  const details = runs.slice(0, RUNS_OF_REASONS).map(({ run_id }) => ask(buildUrl(`etl/runs/${run_id}`, { limit: 1 })));
  return [...(await Promise.all(details)), ...runs.slice(RUNS_OF_REASONS)];
}

/** What was asked for already; where that failed, a retry asks anew. */
function retake(runs) {
  return runs.catch(loadRuns);
}

function hasDetails({ stages }) {
  return stages !== undefined;
}

function drawRuns(runs, state) {
  if (!state.run && runs.length) state = { ...state, run: runs[0].run_id };
  const rows = runs.map((run) => {
    const show = () => {
      changeState({ run: run.run_id });
      find("run-part-title").scrollIntoView({ block: "nearest" });
    };
    return [
      make("button", { type: "button", class: "link", onclick: show, "aria-current": run.run_id === state.run ? "true" : null }, writeInstant(run.started_at)),
      drawState(run),
      run.source ?? "–",
      writeSpan(run.started_at, run.finished_at),
      ...["calls", "received", "inserted", "revised", "rejected"].map((name) => writeCount(run[name])),
    ];
  });
  const head = ["Started", "State", "Source", "Took", "Calls", "Received", "Inserted", "Revised", "Rejected"];
  const content = rows.length ? makeTable("Last runs of the ETL", head, rows, "list runs") : make("p", { class: "quiet" }, writeCode("No run yet: `make etl` makes one."));
  return { content };
}

/** The state of a run; one that ended well may still have failed for some symbols. */
function drawState({ status, failures = {} }) {
  const count = Object.keys(failures).length;
  const isPartly = status === "ok" && count > 0;
  return make("span", { class: `badge ${isPartly ? "partly" : status}` }, isPartly ? `ok, ${writeCount(count)} failed` : status);
}

/** Rejected rows of the newest runs, added up by reason. */
function sumReasons(runs) {
  const sums = new Map();
  for (const { stages } of runs.filter(hasDetails)) {
    for (const [reason, count] of Object.entries(stages.transform?.reasons ?? {})) {
      sums.set(reason, (sums.get(reason) ?? 0) + count);
    }
  }
  return sums;
}

/** The longest bar is the most frequent. */
function drawReasons(sums) {
  if (!sums.size) return make("p", { class: "quiet" }, "No row was rejected.");
  const most = Math.max(...sums.values());
  const rows = [...sums].sort((one, other) => other[1] - one[1]).map(([reason, count]) => {
    const bar = make("i", { "aria-hidden": "true" });
    bar.style.width = `${Math.max(1, (count / most) * 100)}%`;
    return make("li", {}, make("span", {}, reason), make("span", { class: "number" }, writeCount(count)), bar);
  });
  return make("ul", { class: "reasons" }, rows);
}

async function loadRun(runId) {
  const newest = runId || (await ask(buildUrl("etl/runs", { limit: 1 }))).data[0]?.run_id;
  if (!newest) return { content: make("p", { class: "quiet" }, "No run yet.") };
  const run = await ask(buildUrl(`etl/runs/${encodeURIComponent(newest)}`, { limit: ROWS }));
  const stages = Object.entries(run.stages).map(([name, stage]) => [
    name,
    make("span", { class: `badge ${stage.status}` }, stage.status),
    writeSpan(stage.started_at, stage.finished_at),
    writeCount(stage.rows ?? stage.inserted),
  ]);
  const errors = Object.entries(run.stages).flatMap(([name, { error }]) => (error ? [[name, error]] : []));
  const failures = [...errors, ...Object.entries(run.failures)].map(([symbol, why]) => make("li", {}, make("b", {}, symbol), ` ${why}`));
  const reasons = new Map(Object.entries(run.stages.transform?.reasons ?? {}));
  const names = ["received", "inserted", "revised", "unchanged", "stale", "superseded", "rejected", "duplicates", "out_of_range"];
  const symbols = run.symbols.map((row) => [row.symbol, ...names.map((name) => writeCount(row[name]))]);
  const head = ["Symbol", ...names.map((name) => name.replaceAll("_", " "))];
  return {
    content: [
      make("p", {}, make("code", {}, run.run_id), " ", drawState(run), ` ${writeInstant(run.started_at)}, ${writeSpan(run.started_at, run.finished_at)}`),
      makeTable("Stages", ["Stage", "State", "Took", "Rows"], stages, "list stages"),
      ...(failures.length ? [make("h3", {}, "Failures"), make("ul", { class: "failures" }, failures)] : []),
      ...(reasons.size ? [make("h3", {}, "Rejected by reason"), drawReasons(reasons)] : []),
      make("h3", {}, "What became of each symbol's rows"),
      makeTable("Fate of the rows", head, symbols, "list fates"),
      ...(run.next ? [make("p", { class: "quiet" }, `The first ${writeNumber(ROWS, 0)} symbols.`)] : []),
    ],
  };
}
