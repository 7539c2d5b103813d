// The stage: one trajectory, sent once; every step is drawn here, without asking the server.
(function () {
  "use strict";
  const u = window.undertow;
  const speeds = [2, 4, 8, 16];
  let current = null; // the stage that the keyboard moves

  class Stage {
    constructor(host, data, options) {
      this.host = host;
      this.options = options || {};
      this.playing = null;
      this.pending = false;
      this.mode = "probabilities";
      this.build();
      this.load(data, true);
    }

    build() {
      const button = (label, text, act, extra) => u.el("button", { type: "button", class: "transport-button " + (extra || ""), "aria-label": label, title: label, onclick: act }, text);
      this.range = u.el("input", { type: "range", min: 0, max: 0, value: 0, step: 1, class: "stage-range", "aria-label": "Step of the attack", oninput: () => this.to(Number(this.range.value), true) });
      this.play_ = button("Play", "▶", () => this.toggle(), "play");
      this.where = u.el("output", { class: "where" });
      this.speed = u.el("select", { "aria-label": "Steps a second", class: "speed" }, speeds.map((s) => u.el("option", { value: s, ...(s === 8 ? { selected: true } : {}) }, `${s}/s`)));
      const transport = u.el("div", { class: "transport card", role: "group", "aria-label": "Steps" },
        button("First step (Home)", "«", () => this.to(0, true)), button("Step back (←)", "‹", () => this.by(-1)), this.play_,
        button("Step forward (→)", "›", () => this.by(1)), button("Last step (End)", "»", () => this.to(this.last, true)), this.range, this.where, this.speed);
      this.pictures = { benign: u.el("canvas", { role: "img" }), now: u.el("canvas", { role: "img" }), change: u.el("canvas", { role: "img" }) };
      this.captions = { benign: u.el("figcaption", {}, "Benign input"), now: u.el("figcaption"), change: u.el("figcaption", {}) };
      this.gain = u.el("input", { type: "range", min: 0, max: 8, step: 0.25, value: 3, "aria-label": "Gain of the perturbation", class: "gain", oninput: () => { this.setGain(2 ** Number(this.gain.value)); this.paint(); u.address({ gain: number(this.gained) }); } });
      const picture = (name, more) => u.el("figure", { class: "picture" }, this.pictures[name], this.captions[name], more);
      this.modes = u.el("div", { class: "segments small", role: "group", "aria-label": "What the bars show" },
        ["probabilities", "logits"].map((m) => u.el("button", { type: "button", "data-mode": m, "aria-pressed": m === this.mode, onclick: () => { this.mode = m; this.bars(true); u.address({ bars: m === "logits" ? m : "" }); } }, m)));
      this.answers = u.el("div", { class: "answers" });
      this.facts = u.el("dl", { class: "facts" });
      this.heading = u.el("h2", { class: "stage-name" });
      this.tools = u.el("div", { class: "tools" },
        u.el("button", { type: "button", class: "tool", "data-kind": "csv", title: "Download all steps as CSV", onclick: () => this.csv() }, "CSV"),
        u.el("button", { type: "button", class: "tool", "data-kind": "png", title: "Download the three pictures as PNG", onclick: () => this.png() }, "PNG"),
        this.options.layer === false ? null : u.el("button", { type: "button", class: "tool", onclick: () => u.go("/layer", this.data.layer || {}) }, "Layers →"));
      this.lines = u.el("div", { class: "figure" });
      this.streams = u.el("div", { class: "figure" });
      this.takeover = u.el("p", { class: "takeover", role: "status" });
      this.words = u.el("p", { class: "quiet message", hidden: true });
      this.side = u.el("div", { class: "stage-side" },
        u.el("section", { class: "card pictures" }, picture("benign"), picture("now"), picture("change", this.gain)),
        u.el("section", { class: "card answer" }, u.el("header", {}, u.el("h3", {}, "The model's answer"), this.modes), this.answers, this.takeover, this.facts));
      this.main = u.el("div", { class: "stage-main" }, this.lines, this.streams);
      this.body = u.el("div", { class: "stage-body" }, this.side, this.main);
      this.host.replaceChildren(u.el("div", { class: "stage-head" }, this.heading, this.tools), transport, this.words, this.body);
      this.transport = transport;
    }

    get last() { return this.data && this.data.steps ? this.data.steps.length - 1 : 0; }

    load(data, fresh) {
      const follow = fresh ? this.options.end : this.step >= this.last;
      const kept = this.step || 0;
      this.stop();
      this.data = data;
      const told = data && data.message;
      this.words.textContent = told || "";
      this.words.hidden = !told;
      this.body.hidden = this.transport.hidden = this.tools.hidden = Boolean(told) || !data;
      this.heading.textContent = told ? "" : (data && data.name) || "";
      if (told || !data) return;
      const [rows, cols, channels] = data.shape;
      this.raw = new Uint16Array(u.bytes(data.pixels).buffer);
      this.size = rows * cols * channels;
      for (const canvas of Object.values(this.pictures)) { canvas.width = cols; canvas.height = rows; }
      this.range.max = this.last;
      const largest = Math.max(...data.linf.filter((v) => v !== null), 0);
      const wanted = Number(new URLSearchParams(window.location.search).get("gain"));
      if (fresh || !this.gained) this.setGain(wanted >= 1 && wanted <= 256 ? wanted : largest ? Math.max(1, 0.5 / largest) : 1);
      this.bars(true);
      this.lines.hidden = !data.lines;
      this.streams.hidden = !data.streams;
      this.drawn = Promise.all([data.lines ? u.draw(this.lines, data.lines) : null, data.streams ? u.draw(this.streams, data.streams) : null]);
      const start = fresh && this.options.start ? data.steps.indexOf(Number(this.options.start)) : -1;
      if (fresh && start < 0) u.address({ step: "" });
      this.step = -1;
      this.to(start >= 0 ? start : fresh ? (follow ? this.last : 0) : follow ? this.last : Math.min(kept, this.last));
      this.drawn.then(() => this.moveFigures());
    }

    setGain(gain) {
      this.gained = gain;
      this.gain.value = Math.log2(gain);
    }

    to(step, told) {
      const next = Math.min(Math.max(step, 0), this.last);
      if (next === this.step) return;
      this.step = next;
      if (told) u.address({ step: this.data.steps[next] });
      if (this.pending) return;
      this.pending = true;
      requestAnimationFrame(() => { this.pending = false; this.render(); });
    }

    by(count) { this.stop(); this.to(this.step + count, true); }

    toggle() { if (this.playing) this.stop(); else this.start(); }

    start() {
      if (this.step >= this.last) this.to(0);
      this.play_.textContent = "⏸";
      this.play_.setAttribute("aria-label", "Pause");
      const tick = () => {
        if (!this.host.isConnected || this.step >= this.last) { this.stop(); return; }
        this.to(this.step + 1, true);
        this.playing = setTimeout(tick, 1000 / Number(this.speed.value));
      };
      this.playing = setTimeout(tick, 0);
    }

    stop() {
      clearTimeout(this.playing);
      this.playing = null;
      this.play_.textContent = "▶";
      this.play_.setAttribute("aria-label", "Play");
    }

    render() {
      if (!this.data || this.data.message) return;
      const d = this.data, i = this.step;
      this.range.value = i;
      const last = d.steps[this.last];
      this.where.textContent = `step ${d.steps[i]} of ${last}`;
      this.range.setAttribute("aria-valuetext", `step ${d.steps[i]} of ${last}: ${d.classes[d.predicted[i]]}`);
      this.paint();
      this.bars(false);
      this.told();
      this.moveFigures();
      this.host.dataset.step = d.steps[i];
    }

    paint() {
      const d = this.data, [rows, cols, channels] = d.shape, n = rows * cols;
      const here = this.step * this.size;
      const images = Object.fromEntries(Object.entries(this.pictures).map(([k, c]) => [k, c.getContext("2d").createImageData(cols, rows)]));
      for (let p = 0; p < n; p++) {
        for (let c = 0; c < 3; c++) {
          const at = p * channels + Math.min(c, channels - 1);
          const benign = this.raw[at], now = this.raw[here + at], to = 4 * p + c;
          images.benign.data[to] = benign / 257;
          images.now.data[to] = now / 257;
          images.change.data[to] = 127.5 + (this.gained * (now - benign)) / 257;
        }
        images.benign.data[4 * p + 3] = images.now.data[4 * p + 3] = images.change.data[4 * p + 3] = 255;
      }
      for (const [k, canvas] of Object.entries(this.pictures)) canvas.getContext("2d").putImageData(images[k], 0, 0);
      this.captions.now.textContent = `Step ${d.steps[this.step]}`;
      this.captions.change.textContent = `Change × ${number(this.gained)}`;
      this.pictures.benign.setAttribute("aria-label", `Benign input: ${d.classes[d.label]}`);
      this.pictures.now.setAttribute("aria-label", `Input at step ${d.steps[this.step]}: the model says ${d.classes[d.predicted[this.step]]}`);
      this.pictures.change.setAttribute("aria-label", `Change at step ${d.steps[this.step]}, amplified ${number(this.gained)} times`);
    }

    bars(anew) {
      const d = this.data, values = d[this.mode];
      if (anew) {
        for (const b of this.modes.children) b.setAttribute("aria-pressed", String(b.dataset.mode === this.mode));
        const all = values.flat().filter((v) => v !== null);
        this.floor = this.mode === "logits" ? Math.min(...all, 0) : 0;
        this.top = this.mode === "logits" ? Math.max(...all, this.floor + 1e-9) : 1;
        this.rows = d.told.map((k) => {
          const kind = k === d.label ? "true" : k === d.adversarial ? "adversarial" : "";
          const fill = u.el("span", { class: "fill" }), value = u.el("span", { class: "bar-value" });
          const row = u.el("div", { class: `bar ${kind}` }, u.el("span", { class: "bar-name" }, d.classes[k], kind ? u.el("small", {}, kind === "true" ? "true" : "adversarial") : null), u.el("span", { class: "track" }, fill), value);
          return { row, fill, value };
        });
        this.answers.replaceChildren(...this.rows.map((r) => r.row));
        if (this.step === undefined || this.step < 0) return;
      }
      const at = values[this.step];
      this.rows.forEach((r, k) => {
        const share = (at[k] - this.floor) / (this.top - this.floor);
        r.fill.style.transform = `scaleX(${Math.max(0, Math.min(1, share))})`;
        r.value.textContent = this.mode === "logits" ? at[k].toFixed(1) : (100 * at[k]).toFixed(at[k] > 0.0995 ? 0 : 1) + " %";
        r.row.classList.toggle("predicted", d.told[k] === d.predicted[this.step]);
      });
    }

    told() {
      const d = this.data, i = this.step;
      const facts = [["L2", number(d.l2[i])], ["L∞", number(d.linf[i])], ["changed", `${d.l0[i]} of ${d.components}`]];
      if (d.difference && d.difference[i] !== null) facts.push(["overall difference", `${number(d.difference[i])} s.d.`]);
      for (const [name, values] of Object.entries(d.notes || {}).slice(0, 3)) facts.push([name, number(values[i])]);
      this.facts.replaceChildren(...facts.flatMap(([k, v]) => [u.el("dt", {}, k), u.el("dd", {}, v)]));
      if (!d.takeover) { this.takeover.textContent = ""; return; }
      const k = d.takeover[i];
      this.takeover.classList.toggle("taken", k >= 0);
      this.takeover.textContent = d.label === d.adversarial ? "The attack did not change the answer." :
        k >= 0 ? `${d.classes[d.adversarial]} takes over at ${d.taps[k]}, depth ${number(d.depth[k], 2)}.` : `${d.classes[d.label]} still holds more bits than ${d.classes[d.adversarial]} at the last tap.`;
    }

    // Only the traces that stand for the shown step change; the rest of the figures stays.
    moveFigures() {
      const d = this.data, i = this.step;
      if (d.lines && ready(this.lines)) {
        const names = Object.keys(d.profiles), now = d.lines.now;
        const x = names.map(() => d.depth), y = names.map((p) => d.profiles[p][i]);
        if (d.difference) { x.push([d.steps[i]]); y.push([d.difference[i]]); }
        quick(this.lines, now, x, y);
      }
      if (d.streams && ready(this.streams)) {
        const s = d.streams, bits = d.bits[i], order = s.classes;
        const at = s.now, y = order.map((k) => bits[k]), x = order.map(() => d.depth);
        const taken = d.takeover[i], edge = s.traces[s.now[order.length]];
        x.push(taken >= 0 ? [d.depth[taken], d.depth[taken]] : [null, null]);
        y.push(edge.y);
        quick(this.streams, at, x, y);
      }
    }

    csv() {
      const d = this.data, head = ["step", "tap", "depth", ...Object.keys(d.profiles), "difference", "l2", "linf", "changed", "predicted", ...(d.bits ? d.streams.classes.map((k) => `bits ${d.classes[k] || k}`) : [])];
      const taps = d.taps.length ? d.taps : [""];
      const rows = d.steps.flatMap((step, i) => taps.map((tap, k) => [step, tap, d.depth[k], ...Object.values(d.profiles).map((v) => v[i][k]), d.difference ? d.difference[i] : null, d.l2[i], d.linf[i], d.l0[i], d.classes[d.predicted[i]], ...(d.bits ? d.streams.classes.map((c) => d.bits[i][c][k]) : [])]));
      u.save(`undertow-${d.name}.csv`, "text/csv;charset=utf-8", u.csv(head, rows));
    }

    png() {
      const [rows, cols] = this.data.shape, scale = Math.max(1, Math.round(256 / rows)), gap = 8;
      const canvas = u.el("canvas", { width: 3 * cols * scale + 2 * gap, height: rows * scale });
      const ink = canvas.getContext("2d");
      ink.imageSmoothingEnabled = false;
      Object.values(this.pictures).forEach((c, i) => ink.drawImage(c, i * (cols * scale + gap), 0, cols * scale, rows * scale));
      canvas.toBlob((blob) => u.save(`undertow-${this.data.name}-step-${this.data.steps[this.step]}.png`, "image/png", blob));
    }
  }

  const number = u.number;
  const ready = (host) => host._parts && host._parts.plot._fullLayout;

  // Plotly lays a whole figure out anew for a single line. So the line and its markers are moved where
  // plotly drew them; plotly hears of it when nothing has moved for a while (its hover labels follow then).
  function quick(host, traces, x, y) {
    const plot = host._parts.plot;
    const now = u.shown.get(host);
    if (now) traces.forEach((t, k) => { now.data.traces[t].x = x[k]; now.data.traces[t].y = y[k]; });
    if (!plot._moving) {
      plot._moving = true;
      plot.on("plotly_afterplot", () => { plot._nodes = null; if (plot._again) move(plot, ...plot._again); });
    }
    plot._again = [traces, x, y];
    const moved = move(plot, traces, x, y);
    clearTimeout(plot._later);
    const tell = () => { if (plot.isConnected) window.Plotly.restyle(plot, { x, y }, traces); };
    if (moved) plot._later = setTimeout(tell, 600);
    else tell();
  }

  function drawnTraces(plot) {
    const found = new Map();
    for (const node of plot.querySelectorAll(".scatterlayer > .trace")) {
      const bound = node.__data__ && node.__data__[0] && node.__data__[0].trace;
      if (bound) found.set(bound.index, { line: node.querySelector("path.js-line"), points: [...node.querySelectorAll(".points > path")], node });
    }
    return found;
  }

  function move(plot, traces, x, y) {
    plot._nodes = plot._nodes || drawnTraces(plot);
    return traces.every((t, k) => {
      const drawn = plot._nodes.get(t), data = plot.data[t], full = plot._fullLayout;
      if (!drawn || !data) return false;
      const across = full["xaxis" + (data.xaxis || "x").slice(1)], up = full["yaxis" + (data.yaxis || "y").slice(1)];
      const places = x[k].map((v, i) => [v, y[k][i]]).filter((p) => p[0] !== null && p[1] !== null).map((p) => [across.l2p(p[0]), up.l2p(p[1])]);
      drawn.node.style.display = places.length ? "" : "none";
      if (!places.length) return true;
      if (drawn.points.length && drawn.points.length !== places.length) return false;
      if (drawn.line) drawn.line.setAttribute("d", "M" + places.map((p) => p.map((v) => v.toFixed(2)).join(",")).join("L"));
      drawn.points.forEach((point, i) => point.setAttribute("transform", `translate(${places[i][0].toFixed(2)},${places[i][1].toFixed(2)})`));
      return Boolean(drawn.line || drawn.points.length);
    });
  }

  document.addEventListener("keydown", (event) => {
    if (!current || !current.host.isConnected || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = event.target, tag = at.tagName;
    if ((tag === "INPUT" && at !== current.range) || tag === "TEXTAREA" || tag === "SELECT" || at.closest("[role=listbox],[role=combobox],.dash-dropdown")) return;
    const keys = { ArrowLeft: () => current.by(-1), ArrowRight: () => current.by(1), Home: () => { current.stop(); current.to(0, true); }, End: () => { current.stop(); current.to(current.last, true); } };
    if (event.key === " " && tag !== "BUTTON" && tag !== "A" && tag !== "SUMMARY") keys[" "] = () => current.toggle();
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  function mount(id, data, options) {
    const host = document.getElementById(id);
    if (!host || !data) return;
    if (host._stage) host._stage.load(data, !options.grow || host._stage.data.key !== data.key);
    else host._stage = new Stage(host, data, { start: host.dataset.start, ...options });
    if (!host._stage.barsSet && new URLSearchParams(window.location.search).get("bars") === "logits" && !data.message) {
      host._stage.mode = "logits";
      host._stage.bars(true);
    }
    host._stage.barsSet = true;
    host._stage.options.start = null;
    current = host._stage;
  }

  u.stage = () => current;
  window.dash_clientside.undertow.stage = (data) => { mount("tr-stage", data, { end: true }); return "stage"; };
  window.dash_clientside.undertow.live_stage = (data) => { mount("li-stage", data, { grow: true, end: true, layer: false }); return "stage"; };
})();
