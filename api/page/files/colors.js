// Colours of the chart, out of the style sheet; and the switch between light and dark.

import { find } from "./elements.js";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

export function readColors() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ground: read("ground"),
    text: read("muted"),
    strong: read("text"),
    grid: read("grid"),
    line: read("line"),
    accent: read("accent"),
    up: read("up"),
    down: read("down"),
    volumeUp: read("volume-up"),
    volumeDown: read("volume-down"),
    fall: read("fall"),
    series: [1, 2, 3, 4, 5].map((place) => read(`series-${place}`)),
    kinds: Object.fromEntries(
      ["split", "dividend", "note", "gap", "revision"].map((kind) => [kind, read(`kind-${kind}`)]),
    ),
    font: style.getPropertyValue("--font").trim(),
  };
}

/** `act` is called whenever the colours have changed. */
export function watchTheme(act) {
  const button = find("theme");
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "☀" : "☾";
    button.title = theme === "dark" ? "Light" : "Dark";
    act();
  };
  button.addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    keepTheme(theme);
    show(theme);
  });
  dark.addEventListener("change", () => readKept() ?? show(dark.matches ? "dark" : "light"));
  show(document.documentElement.dataset.theme);
}

// Storage may be shut off: then the choice holds until the page is left.

function keepTheme(theme) {
  try {
    localStorage.setItem("theme", theme);
  } catch {
    return;
  }
}

function readKept() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}
