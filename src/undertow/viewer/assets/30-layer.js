// Feature maps: benign beside adversarial, ordered and tinted by what each map carries; ticked ones are put back.
(function () {
  "use strict";
  const u = window.undertow;
  const FIRST = 24;
  let state = { data: null, order: "carried", tint: "carried", all: false };
  let carry = null, told = null, ticks = new Set(), back = true;

  const fits = () => Boolean(carry && carry.scores && state.data && carry.key === state.data.key);

  function carried(data, what, k) {
    if (what === "carried") return fits() ? carry.scores[k] : null;
    if (what === "change") return data.change[k];
    if (what === "source" || what === "target") return data[what] ? data[what][1][k] : null;
    return null;
  }

  const words = { carried: "what the map carries of the rival's lead", change: "relative change", source: "source bits, net", target: "target bits, net" };

  function paint(canvas, pixels, at, rows, cols, scale) {
    canvas.width = cols;
    canvas.height = rows;
    const ink = canvas.getContext("2d"), image = ink.createImageData(cols, rows);
    for (let p = 0; p < rows * cols; p++) {
      const rgb = scale[pixels[at + p]];
      image.data[4 * p] = rgb[0]; image.data[4 * p + 1] = rgb[1]; image.data[4 * p + 2] = rgb[2]; image.data[4 * p + 3] = 255;
    }
    ink.putImageData(image, 0, 0);
  }

  function tile(data, k, pixels, scale, tintScale, reach) {
    const [maps, rows, cols] = data.shape, each = rows * cols;
    const canvases = data.steps.map((step, s) => {
      const canvas = u.el("canvas", { role: "img", "aria-label": `map ${k} at step ${step}` });
      paint(canvas, pixels, (s * maps + k) * each, rows, cols, scale);
      return canvas;
    });
    const value = carried(data, state.tint, k);
    const share = value === null || !reach ? null : (value - reach[0]) / (reach[1] - reach[0] || 1);
    const node = u.el("div", { class: "tile", role: "listitem", title: `map ${k}: ${data.low[k]} to ${data.high[k]}` },
      u.el("div", { class: "pair" }, canvases),
      u.el("label", { class: "tile-words" }, box(k), u.el("b", {}, `map ${k}`), value === null ? null : u.el("span", {}, u.number(value, 3))),
      u.el("div", { class: "meter" }, u.el("span", { class: "meter-fill" })));
    if (share !== null) {
      const rgb = u.mix(tintScale, 0.15 + 0.85 * share);
      node.style.setProperty("--tint", `rgb(${rgb})`);
      node.querySelector(".meter-fill").style.transform = `scaleX(${Math.max(0.02, Math.min(1, share))})`;
      node.classList.add("tinted");
    }
    return node;
  }

  function box(k) {
    if (!fits()) return null;
    const node = u.el("input", { type: "checkbox", class: "tick", "data-map": k, "aria-label": `put map ${k} back`, onchange: () => tick(k, node.checked) });
    node.checked = ticks.has(k);
    return node;
  }

  function tick(k, on) {
    if (on) ticks.add(k); else ticks.delete(k);
    ask();
  }

  function choose(maps) {
    ticks = new Set(maps);
    for (const node of document.querySelectorAll("#la-maps .tick")) node.checked = ticks.has(Number(node.dataset.map));
    ask();
  }

  // The server answers every tick; an answer to an older one is not shown.
  let asked = 0, since = 0;
  function ask() {
    since = performance.now();
    const maps = [...ticks].sort((a, b) => a - b);
    window.dash_clientside.set_props("la-ticked", { data: { key: carry.key, cell: carry.cell, input: carry.input, tap: carry.tap, maps, back, asked: ++asked } });
  }

  const plain = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

  function said(now) {
    if (now.words) return now.words;
    const answers = `the model answers ${now.answer}`;
    if (!now.count) return back ? `Attacked, nothing put back: ${answers}.` : `Benign, nothing put in: ${answers}.`;
    const where = `${now.count} of ${plain(now.maps, "map")} ${back ? "put back" : "put into the benign run"}`;
    const whose = back ? "the true label" : "the rival's label";
    const comes = back ? (now.reached ? "returns" : "does not return") : now.reached ? "comes" : "does not come";
    return `${where}: ${answers}; ${whose} ${comes}.`;
  }

  function panel() {
    const host = document.getElementById("la-carry");
    if (!host) return;
    if (!carry || !state.data || carry.key !== state.data.key) { host.replaceChildren(); return; }
    if (!carry.scores) { host.replaceChildren(u.el("p", { class: "quiet" }, carry.words || "")); return; }
    const now = told && told.key === carry.key && told.asked === asked ? told : asked ? null : carry;
    const button = (text, maps) => u.el("button", { type: "button", class: "button", onclick: () => choose(maps) }, text);
    const order = carry.scores.map((v, k) => [v, k]).sort((a, b) => b[0] - a[0] || a[1] - b[1]).map(([, k]) => k);
    const quarter = Math.ceil(order.length / 4);
    const side = u.el("button", { type: "button", class: "button", "aria-pressed": String(!back), onclick: () => { back = !back; ask(); } }, back ? "Into the benign run instead" : "Back into the attacked run instead");
    const bars = now && now.bars ? now.bars.map((bar) => {
      const fill = u.el("span", { class: "meter-fill" });
      fill.style.transform = `scaleX(${Math.max(0.005, bar.chance)})`;
      return u.el("div", { class: `chance ${bar.is}` }, u.el("span", {}, bar.name + (bar.is === "true" ? " (true)" : bar.is === "rival" ? " (rival)" : "")), u.el("div", { class: "meter" }, fill), u.el("span", { class: "bar-value" }, `${Math.round(100 * bar.chance)} %`));
    }) : [];
    host.replaceChildren(
      u.el("div", { class: "carry-tools" }, carry.smallest.length ? button(`Smallest set found (${carry.smallest.length})`, carry.smallest) : null, button(`First quarter (${quarter})`, order.slice(0, quarter)), button("None", []), side),
      u.el("p", { role: "status", class: `carry-words${now && now.reached && now.count ? " reached" : ""}` }, now ? said(now) : "…"),
      u.el("div", { class: "chances" }, bars),
      u.el("p", { class: "hint" }, `Tick maps to give them their ${back ? "benign" : "attacked"} values; the network runs on from there. In order of ${carry.ranking}.`));
    if (now && now === told) host.dataset.ms = String(Math.round(performance.now() - since));
    host.dataset.answered = String(now ? now.asked || 0 : -1);
  }

  function render() {
    const host = document.getElementById("la-maps"), data = state.data, row = document.getElementById("la-live-row");
    if (!host) return;
    if (row) row.hidden = !(data && data.computable);
    // What can be computed here is computed unasked, once; the button stays for another try.
    const button = document.getElementById("la-live");
    if (data && data.computable && button && !button.dataset.asked) {
      button.dataset.asked = "yes";
      setTimeout(() => button.click(), 0);
    }
    if (!data || data.message) {
      host.replaceChildren(u.el("p", { class: "quiet message" }, (data && data.message) || ""));
      host.dataset.drawn = String((Number(host.dataset.drawn) || 0) + 1);
      return;
    }
    const pixels = u.bytes(data.pixels), maps = data.shape[0];
    const place = [...Array(maps).keys()];
    if (state.order !== "number") place.sort((a, b) => (carried(data, state.order, b) ?? -Infinity) - (carried(data, state.order, a) ?? -Infinity) || a - b);
    const colors = u.sequential(), scale = [...Array(256).keys()].map((v) => u.mix(colors, v / 255));
    const tints = place.map((k) => carried(data, state.tint, k)).filter((v) => v !== null);
    const reach = tints.length ? [Math.min(...tints, 0), Math.max(...tints)] : null;
    const some = state.all ? place : place.slice(0, FIRST);
    const missing = (state.order === "source" || state.order === "target") && !data[state.order] ? ` The run keeps no ${state.order} MI of this tap, so the order is by number.` : "";
    const told = `${maps} maps at ${data.tap} (depth ${u.number(data.depth, 2)}), ${data.origin}; left: step ${data.steps[0]}, right: step ${data.steps[1]}, on one scale.` + (reach ? ` Bar: ${words[state.tint]}.` : "") + missing;
    const more = maps > FIRST ? u.el("button", { type: "button", class: "button", onclick: () => { state.all = !state.all; render(); } }, state.all ? `Show the first ${FIRST}` : `Show all ${maps}`) : null;
    const csv = u.el("button", { type: "button", class: "tool", "data-kind": "csv", onclick: () => save(data) }, "CSV");
    const png = u.el("button", { type: "button", class: "tool", "data-kind": "png", onclick: () => picture(host, data) }, "PNG");
    host.replaceChildren(u.el("header", { class: "maps-head" }, u.el("p", { class: "quiet" }, told), u.el("div", { class: "tools" }, csv, png)),
      u.el("div", { class: "tiles", role: "list" }, some.map((k) => tile(data, k, pixels, scale, colors, reach))), more);
    host.dataset.drawn = String((Number(host.dataset.drawn) || 0) + 1);
  }

  function save(data) {
    const rows = data.change.map((v, k) => [k, carried(data, "carried", k), v, data.source ? data.source[0][k] : null, data.source ? data.source[1][k] : null, data.target ? data.target[0][k] : null, data.target ? data.target[1][k] : null, data.low[k], data.high[k]]);
    u.save(`undertow-maps-${data.tap}.csv`, "text/csv;charset=utf-8", u.csv(["map", "carried", "relative change", "source bits benign", "source bits adversarial", "target bits benign", "target bits adversarial", "low", "high"], rows));
  }

  function picture(host, data) {
    const pairs = [...host.querySelectorAll(".pair")], [, rows, cols] = data.shape, scale = Math.max(1, Math.round(64 / rows));
    const across = Math.min(6, pairs.length), w = 2 * cols * scale + 4, h = rows * scale, gap = 10;
    const canvas = u.el("canvas", { width: across * (w + gap), height: Math.ceil(pairs.length / across) * (h + gap) }), ink = canvas.getContext("2d");
    ink.imageSmoothingEnabled = false;
    ink.fillStyle = "#ffffff";
    ink.fillRect(0, 0, canvas.width, canvas.height);
    pairs.forEach((pair, i) => [...pair.children].forEach((c, s) => ink.drawImage(c, (i % across) * (w + gap) + s * (cols * scale + 4), Math.floor(i / across) * (h + gap), cols * scale, rows * scale)));
    canvas.toBlob((blob) => u.save(`undertow-maps-${data.tap}.png`, "image/png", blob));
  }

  window.dash_clientside.undertow.carried = function (found, answered) {
    if (!carry || !found || carry.key !== found.key) { ticks = new Set(); back = true; asked = 0; told = null; }
    const fresh = found !== carry;
    carry = found;
    told = answered || told;
    if (fresh && state.data) render();
    panel();
    return "carry";
  };
  u.listeners.add(() => { if (document.getElementById("la-maps")) render(); });
  window.dash_clientside.undertow.maps = function (data, order, tint) {
    state = { data, order, tint, all: state.data && data && state.data.key === data.key ? state.all : false };
    render();
    panel();
    return "maps";
  };
})();
