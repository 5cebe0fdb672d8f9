// The page: the state of the address, shown by one of two views.

import { ChartView } from "./chart_view.js";
import { watchTheme } from "./colors.js";
import { describeCondition } from "./condition.js";
import { makeCombobox } from "./combobox.js";
import { addCompared, buildControls } from "./controls.js";
import { find, make } from "./elements.js";
import { showHealth } from "./health_view.js";
import { watchService } from "./poll.js";
import { askHealth, noteGeneration, watchGeneration } from "./service.js";
import { signOut } from "./sign_in.js";
import { changeState, getState, isSame, watchState } from "./state.js";

const view = new ChartView();

function render(state, before, isStale = false) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isShown = tab.dataset.tab === state.tab;
    tab.setAttribute("aria-selected", String(isShown));
    tab.tabIndex = isShown ? 0 : -1;
    find(tab.getAttribute("aria-controls")).hidden = !isShown;
  }
  if (state.tab === "chart") view.render(state, before, isStale);
  else view.live.follow(null);
  if (state.tab !== "chart" && (isStale || !before || !isSame(state, before, "tab", "run"))) showHealth(state);
}

function wireTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => changeState({ tab: tab.dataset.tab }));
    tab.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      const next = tabs[(place + way + tabs.length) % tabs.length];
      next.focus();
      changeState({ tab: next.dataset.tab });
    });
  });
}

/** How the store is, in the top line. */
async function showStore() {
  const store = find("store");
  try {
    const health = await askHealth();
    const { level, words } = describeCondition(health);
    const dot = make("i", { class: `dot ${level}`, "aria-hidden": "true" });
    const told = make("span", { class: "generation" }, ` · generation ${health.generation}`);
    store.replaceChildren(dot, make("span", {}, words.join(" · "), told));
    store.title = health.fault ?? words.join(", ");
    noteGeneration(health.generation);
  } catch (fault) {
    store.replaceChildren(make("i", { class: "dot error", "aria-hidden": "true" }), fault.title ?? "No answer");
    store.title = fault.detail ?? "";
  }
}

function focusSearch(event) {
  const isTyping = event.target.matches?.("input, textarea, select");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || getState().tab !== "chart") return;
  event.preventDefault();
  find("pick-input").focus();
}

buildControls();
makeCombobox(find("pick"), (symbol) => changeState({ symbol, against: getState().against.filter((name) => name !== symbol) }));
makeCombobox(find("add"), addCompared);
wireTabs();
watchTheme(() => view.recolor());
watchState(render);
watchGeneration(() => {
  render(getState(), null, true);
  showStore();
});
document.addEventListener("keydown", focusSearch);
find("sign-out").addEventListener("click", signOut);
find("sign-in").addEventListener("cancel", (event) => event.preventDefault()); // nothing is behind it
find("view-chart").addEventListener("submit", (event) => event.preventDefault());
render(getState(), null);
showStore();
watchService(async () => {
  await showStore();
  // what could not be shown may be there now; the runs of the ETL are not of the generation
  const { tab } = getState();
  if (tab === "health" || view.hasFailed) render(getState(), null, true);
});
