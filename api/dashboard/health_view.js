// The second tab: how whole the data are, what the last runs of the ETL did, what was rejected.

import { find, make, makeTable } from "./elements.js";
import { writeCode } from "./panels.js";
import { ask, buildUrl } from "./service.js";
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
  const [runs] = await Promise.all([
    fill("runs-part", () => loadRuns(state)),
    fill("store-part", loadStore),
    fill("coverage-part", loadCoverage),
  ]);
  await Promise.all([
    fill("reasons-part", () => loadReasons(runs)),
    fill("run-part", () => loadRun(state.run)),
  ]);
  view.setAttribute("aria-busy", "false");
}

function buildParts() {
  const part = (id, title, wide) =>
    make("div", { class: wide ? "panel wide" : "panel" }, make("h2", { id: `${id}-title` }, title), make("div", { id, class: "scroll", tabindex: "0", role: "region", "aria-labelledby": `${id}-title` }, make("p", { class: "quiet" }, "Loading …")));
  return [
    part("store-part", "Store", true),
    part("coverage-part", "Coverage by symbol", true),
    part("runs-part", "Last runs of the ETL"),
    part("reasons-part", `Rejected rows by reason, last ${RUNS_OF_REASONS} runs`),
    part("run-part", "One run", true),
  ];
}

async function fill(id, load) {
  const part = find(id);
  try {
    const { content, value } = await load();
    part.replaceChildren(...[content].flat());
    return value;
  } catch (fault) {
    const retry = make("button", { type: "button", onclick: () => fill(id, load) }, "Retry");
    part.replaceChildren(make("div", { class: "part-fault", role: "alert" }, make("p", {}, writeCode(fault.detail ?? fault.message)), retry));
    return undefined;
  }
}

async function loadStore() {
  const health = await ask(buildUrl("health"));
  const card = (name, value, kind = "") => make("div", { class: `card ${kind}` }, make("dt", {}, name), make("dd", {}, value));
  const age = health.newest_bar_age_days;
  const cards = make(
    "dl",
    { class: "cards" },
    card("State", health.status, health.status),
    card("Instruments", writeCount(health.symbols)),
    card("Bars", writeCount(health.bars)),
    card("Days", `${health.first ?? "–"} – ${health.last ?? "–"}`),
    card("Newest bar", age === null ? "–" : `${writePlural(age, "day")} old`),
    card("Published", writeInstant(health.published_at)),
    card("Generation", health.generation),
    card("Last run", health.last_run ? `${health.last_run.status}, ${writeInstant(health.last_run.finished_at)}` : "–"),
  );
  const fault = health.fault && make("p", { class: "notice", role: "alert" }, writeCode(health.fault));
  return { content: fault ? [fault, cards] : cards };
}

async function loadCoverage() {
  const page = await ask(buildUrl("coverage", { limit: ROWS }));
  const body = page.data.map(describeCoverage);
  const head = ["Symbol", "Exchange", "First", "Last", "Bars", "Sessions", "Present", "Gaps", "Notes", "Provisional", "Revisions"];
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
  const part = row.sessions_expected ? row.sessions_present / row.sessions_expected : 1;
  const meter = make("meter", { min: 0, max: 1, low: 0.95, high: 0.999, optimum: 1, value: part, title: `${row.sessions_present} of ${row.sessions_expected} sessions` });
  const show = () => changeState({ tab: "chart", symbol: row.symbol, range: "All", start: "", end: "" });
  const counts = ["gaps", "notes", "provisional", "revisions"].map((name) => make("span", { class: row[name] ? "some" : "none" }, writeCount(row[name])));
  return [
    make("button", { type: "button", class: "link", onclick: show, title: `Show ${row.symbol}` }, row.symbol),
    row.exchange,
    row.first,
    row.last,
    writeCount(row.bars),
    writeCount(row.sessions_expected),
    make("span", { class: "meter" }, meter, writePercent(part, part > 0.9995 || part < 0.1 ? 0 : 1)),
    ...counts,
  ];
}

async function loadRuns(state) {
  const { data: runs } = await ask(buildUrl("etl/runs", { limit: RUNS }));
  if (!state.run && runs.length) state = { ...state, run: runs[0].run_id };
  const rows = runs.map((run) => {
    const show = () => {
      changeState({ run: run.run_id });
      find("run-part-title").scrollIntoView({ block: "nearest" });
    };
    return [
      make("button", { type: "button", class: "link", onclick: show, "aria-current": run.run_id === state.run ? "true" : null }, writeInstant(run.started_at)),
      make("span", { class: `badge ${run.status}` }, run.status),
      run.source ?? "–",
      writeSpan(run.started_at, run.finished_at),
      ...["calls", "received", "inserted", "revised", "rejected"].map((name) => writeCount(run[name])),
    ];
  });
  const head = ["Started", "State", "Source", "Took", "Calls", "Received", "Inserted", "Revised", "Rejected"];
  const content = rows.length ? makeTable("Last runs of the ETL", head, rows, "list runs") : make("p", { class: "quiet" }, writeCode("No run yet: `make etl` makes one."));
  return { content, value: runs };
}

/** Rejected rows of the newest runs, added up by reason; the longest bar is the most frequent. */
async function loadReasons(known) {
  const runs = known ?? (await ask(buildUrl("etl/runs", { limit: RUNS }))).data;
  const rejecting = runs.slice(0, RUNS_OF_REASONS).filter(({ rejected }) => rejected);
  const details = await Promise.all(rejecting.map(({ run_id }) => ask(buildUrl(`etl/runs/${run_id}`, { limit: 1 }))));
  const sums = new Map();
  for (const { stages } of details) {
    for (const [reason, count] of Object.entries(stages.transform?.reasons ?? {})) {
      sums.set(reason, (sums.get(reason) ?? 0) + count);
    }
  }
  return { content: drawReasons(sums) };
}

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
  const failures = Object.entries(run.failures).map(([symbol, why]) => make("li", {}, make("b", {}, symbol), ` ${why}`));
  const reasons = new Map(Object.entries(run.stages.transform?.reasons ?? {}));
  const names = ["received", "inserted", "revised", "unchanged", "stale", "rejected", "duplicates", "out_of_range"];
  const symbols = run.symbols.map((row) => [row.symbol, ...names.map((name) => writeCount(row[name]))]);
  const head = ["Symbol", ...names.map((name) => name.replaceAll("_", " "))];
  return {
    content: [
      make("p", {}, make("code", {}, run.run_id), " ", make("span", { class: `badge ${run.status}` }, run.status), ` ${writeInstant(run.started_at)}, ${writeSpan(run.started_at, run.finished_at)}`),
      makeTable("Stages", ["Stage", "State", "Took", "Rows"], stages, "list stages"),
      ...(failures.length ? [make("h3", {}, "Failures"), make("ul", { class: "failures" }, failures)] : []),
      ...(reasons.size ? [make("h3", {}, "Rejected by reason"), drawReasons(reasons)] : []),
      make("h3", {}, "What became of each symbol's rows"),
      makeTable("Fate of the rows", head, symbols, "list fates"),
      ...(run.next ? [make("p", { class: "quiet" }, `The first ${writeNumber(ROWS, 0)} symbols.`)] : []),
    ],
  };
}
