// What every view shares: colours, addresses, downloads, small DOM helpers.
window.undertow = (function () {
  "use strict";
  const given = JSON.parse(document.getElementById("undertow-palette").textContent);
  const listeners = new Set();

  const dark = () => document.documentElement.dataset.theme === "dark";

  function color(hex) {
    return dark() ? given.dark[hex] || hex : hex;
  }

  function repaint(value) {
    if (!dark()) return value;
    if (Array.isArray(value)) return value.length && typeof value[0] === "number" ? value : value.map(repaint);
    if (value && typeof value === "object") {
      const found = {};
      for (const [k, v] of Object.entries(value)) found[k] = repaint(v);
      return found;
    }
    if (typeof value !== "string") return value;
    if (value.startsWith("rgba(")) {
      const parts = value.slice(5, -1).split(",");
      const hex = "#" + parts.slice(0, 3).map((p) => Number(p).toString(16).padStart(2, "0")).join("");
      const twin = given.dark[hex];
      if (!twin) return value;
      const rgb = [1, 3, 5].map((i) => parseInt(twin.slice(i, i + 2), 16));
      return `rgba(${rgb.join(",")},${Math.min(1, Number(parts[3]) * 1.5)})`;
    }
    return given.dark[value] || value;
  }

  // Elements are made by name and filled with text only: nothing of a run is ever parsed as HTML.
  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes || {})) {
      if (v === null || v === undefined || v === false) continue;
      if (k.startsWith("on")) node.addEventListener(k.slice(2), v);
      else if (k === "class") node.className = v;
      else node.setAttribute(k, v === true ? "" : v);
    }
    for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
    return node;
  }

  function theme(next) {
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("undertow-theme", next); } catch (_) { /* private windows keep nothing */ }
    for (const listen of listeners) listen();
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest && event.target.closest("#theme")) theme(dark() ? "light" : "dark");
  });

  // The state of a view is kept in the address, so that the address can be shared.
  let waiting = null;
  let changes = {};
  function address(entries) {
    Object.assign(changes, entries);
    clearTimeout(waiting); // browsers refuse more than a few changes a second
    waiting = setTimeout(() => {
      waiting = null;
      const query = new URLSearchParams(window.location.search);
      for (const [name, value] of Object.entries(changes)) {
        query.delete(name);
        const values = Array.isArray(value) ? value : [value];
        if (Array.isArray(value) && !value.length) query.append(name, "");
        for (const one of values) if (one !== null && one !== undefined && one !== "") query.append(name, one);
      }
      changes = {};
      const text = query.toString();
      window.history.replaceState(window.history.state, "", window.location.pathname + (text ? "?" + text : ""));
    }, 250);
  }

  function go(path, entries) {
    const query = new URLSearchParams(entries || {}).toString();
    window.history.pushState({}, "", path + (query ? "?" + query : ""));
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  }

  function save(name, kind, content) {
    const blob = content instanceof Blob ? content : new Blob([content], { type: kind });
    const url = URL.createObjectURL(blob);
    const link = el("a", { href: url, download: name.replace(/[^\w.-]+/g, "-").slice(0, 120) });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 4000);
  }

  // A leading sign would make a spreadsheet take a name for a formula.
  function csv(header, rows) {
    const cell = (v) => {
      if (v === null || v === undefined || (typeof v === "number" && !Number.isFinite(v))) return "";
      if (typeof v === "number") return String(v);
      const text = /^[=+\-@\t\r]/.test(v) ? "'" + v : String(v);
      return /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
    };
    return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  function bytes(text) {
    const raw = atob(text);
    const found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found;
  }

  function sequential() {
    const found = given.sequential.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
    return dark() ? found.slice().reverse() : found;
  }

  function mix(scale, place) {
    const at = Math.min(Math.max(place, 0), 1) * (scale.length - 1);
    const low = Math.floor(at), high = Math.min(low + 1, scale.length - 1), share = at - low;
    return scale[low].map((v, i) => Math.round(v + (scale[high][i] - v) * share));
  }

  const number = (v, digits) => (v === null || v === undefined || !Number.isFinite(v) ? "–" : String(Number(v.toPrecision(digits || 3))));

  return { address, bytes, color, csv, dark, el, given, go, listeners, mix, number, repaint, save, sequential };
})();
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.undertow = window.dash_clientside.undertow || {};
