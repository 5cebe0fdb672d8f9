// DOM elements. Text goes in as text nodes only: nothing that came over the network is markup.

/** `make("button", { type: "button", onclick }, "Retry")`; null and false attributes are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function find(id) {
  return document.getElementById(id);
}

/** A table with a caption for readers of screens; `head` are column names, `rows` lists of cells. */
export function makeTable(caption, head, rows, kind = "") {
  const cell = (value, place) => (place ? make("td", {}, value) : make("th", { scope: "row" }, value));
  return make(
    "table",
    { class: kind },
    make("caption", { class: "unseen" }, caption),
    make("thead", {}, make("tr", {}, head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, rows.map((cells) => make("tr", {}, cells.map(cell)))),
  );
}

export function debounce(milliseconds, act) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), milliseconds);
  };
}
