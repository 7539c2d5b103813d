// Names and roles for those who listen to a page or use it by keys. Dash draws radio buttons as options of a
// list box, around the buttons themselves, and its drop-downs hold a hidden field that Tab reaches.
(function () {
  const named = (node) => (node.closest(".field[aria-label]") || node.closest("[aria-label]"))?.getAttribute("aria-label");

  function mend(root) {
    root.querySelectorAll('.dash-options-list[role="listbox"]').forEach((list) => {
      if (list.closest(".dash-dropdown-content")) return; // there it is one
      list.setAttribute("role", list.classList.contains("dash-radioitems") ? "radiogroup" : "group");
      list.setAttribute("aria-label", named(list.parentElement) || "Choice");
    });
    root.querySelectorAll('.dash-radioitems label[role="option"], .dash-checklist label[role="option"]').forEach((label) => {
      if (label.closest(".dash-dropdown-content")) return;
      label.removeAttribute("role");
      label.removeAttribute("aria-selected");
    });
    root.querySelectorAll('.dash-dropdown-focus-target[aria-hidden="true"]:not([tabindex="-1"])').forEach((field) => field.setAttribute("tabindex", "-1"));
    root.querySelectorAll('input[type="number"], input[type="text"], input[type="file"]').forEach((field) => {
      if (!field.labels?.length && !field.hasAttribute("aria-label")) field.setAttribute("aria-label", named(field) || "Value");
    });
  }

  const start = () => {
    mend(document);
    const watch = { childList: true, subtree: true, attributes: true, attributeFilter: ["role", "aria-selected", "tabindex"] };
    new MutationObserver(() => mend(document)).observe(document.body, watch);
  };
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start);
})();
