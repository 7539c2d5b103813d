// Runs before anything is drawn, so that no page flashes in the wrong colours.
(function () {
  let kept = null;
  try { kept = localStorage.getItem("undertow-theme"); } catch (_) { kept = null; }
  const dark = window.matchMedia && window.matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = kept === "dark" || kept === "light" ? kept : dark ? "dark" : "light";
})();
