// Before the first paint: the theme that was chosen on this page, else the system's.
{
  const isDark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // storage is shut off: the system's theme it is
  }
  document.documentElement.dataset.theme = chosen ?? (isDark ? "dark" : "light");
}
