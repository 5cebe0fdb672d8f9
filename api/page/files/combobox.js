// A text field with a list of instruments that match: arrows, Enter and Escape, as ARIA has it.

import { debounce, make } from "./elements.js";
import { findInstruments } from "./loading.js";
import { writePrice } from "./texts.js";

const MOST = 12;

/** `pick(symbol)` is called with a listed symbol, or with what was typed where none is chosen. */
export function makeCombobox(box, pick) {
  const input = box.querySelector("input");
  const list = make("ul", { role: "listbox", id: `${input.id}-list`, "aria-label": "Instruments", hidden: true });
  box.append(list);
  for (const [name, value] of Object.entries({
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
  })) input.setAttribute(name, value);

  let active = -1;
  let asked = new AbortController();

  function show(isOpen) {
    list.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) mark(-1);
  }

  function mark(place) {
    active = place;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
    const option = list.children[place];
    if (option) {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function choose(symbol) {
    asked.abort();
    show(false);
    input.value = "";
    pick(symbol);
  }

  async function search() {
    asked.abort();
    asked = new AbortController();
    const { signal } = asked;
    const text = input.value;
    try {
      const found = await findInstruments(text, MOST, signal);
      if (signal.aborted || document.activeElement !== input) return;
      if (input.value !== text) return; // the list of what is there now is on its way
      list.replaceChildren(...(found.length ? found.map(makeOption) : [makeNothing()]));
      show(true);
      mark(found.length && text.trim() ? 0 : -1);
    } catch {
      show(false); // the chart says what is wrong with the service
    }
  }

  function makeOption({ symbol, first, last, last_close: close }, place) {
    const span = first ? `${first.slice(0, 4)}–${last.slice(0, 4)}` : "minutes";
    return make(
      "li",
      { role: "option", id: `${list.id}-${place}`, "aria-selected": "false", onmousedown: (event) => event.preventDefault(), onclick: () => choose(symbol) },
      make("b", {}, symbol),
      make("span", {}, span),
      make("span", { class: "number" }, first ? writePrice(close) : ""),
    );
  }

  function makeNothing() {
    return make("li", { role: "option", "aria-disabled": "true", "aria-selected": "false", class: "nothing" }, `No symbol contains “${input.value.trim()}”`);
  }

  function listSymbols() {
    return [...list.querySelectorAll("[role=option]:not(.nothing) b")].map((bold) => bold.textContent);
  }

  const searchSoon = debounce(100, search);
  input.addEventListener("input", () => {
    mark(-1); // what was listed is of another text: Enter takes what is typed
    searchSoon();
  });
  input.addEventListener("focus", search);
  input.addEventListener("blur", () => show(false));
  input.addEventListener("keydown", (event) => {
    const symbols = list.hidden ? [] : listSymbols();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!symbols.length) return void search();
      const step = event.key === "ArrowDown" ? 1 : -1;
      mark(active < 0 && step < 0 ? symbols.length - 1 : (active + step + symbols.length) % symbols.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const typed = input.value.trim().toUpperCase();
      const isTyped = symbols.includes(typed) || active < 0;
      const symbol = isTyped ? typed : symbols[active];
      if (symbol) choose(symbol);
    } else if (event.key === "Escape") {
      if (list.hidden) input.value = "";
      show(false);
    }
  });
}
