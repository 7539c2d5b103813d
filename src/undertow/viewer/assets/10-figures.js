// Figures: the server sends traces and a layout for every width; here they are drawn and downloaded.
(function () {
  "use strict";
  const u = window.undertow;
  const shown = new Map();
  const config = { displayModeBar: false, responsive: false, doubleClick: "reset+autosize", showTips: false };

  function columns(data, width) {
    const most = Math.max(...Object.keys(data.layouts).map(Number));
    return Math.min(most, width < 620 ? 1 : width < 940 ? 2 : most);
  }

  function bars(traces, layout) {
    for (const trace of traces) {
      if (trace.type !== "heatmap" || !trace.colorbar) continue;
      const x = layout["xaxis" + trace.xaxis.slice(1)].domain;
      const y = layout["yaxis" + trace.yaxis.slice(1)].domain;
      Object.assign(trace.colorbar, { x: x[1] + 0.005, xanchor: "left", y: (y[0] + y[1]) / 2, len: y[1] - y[0], lenmode: "fraction" });
    }
  }

  function assemble(data, count, paint) {
    const raw = structuredClone({ traces: data.traces, layout: data.layouts[String(count)] });
    bars(raw.traces, raw.layout);
    const made = paint ? u.repaint(raw) : raw;
    const css = getComputedStyle(document.documentElement);
    if (paint) {
      made.layout.hoverlabel = { bgcolor: css.getPropertyValue("--card").trim(), bordercolor: css.getPropertyValue("--line").trim(), font: { color: css.getPropertyValue("--ink").trim() } };
    }
    if (count === 1) made.layout.margin.l = 52;
    return made;
  }

  function frame(host) {
    if (host._parts) return host._parts;
    const title = u.el("h3"), caption = u.el("figcaption"), plot = u.el("div", { class: "plot" }), words = u.el("p", { class: "quiet message" });
    const tools = u.el("div", { class: "tools", role: "group", "aria-label": "Download this figure" },
      ["svg", "png", "csv"].map((kind) => u.el("button", { type: "button", class: "tool", "data-kind": kind, title: `Download as ${kind.toUpperCase()}`, onclick: () => fetchFigure(host, kind) }, kind.toUpperCase())));
    const body = u.el("figure", { class: "card figure-card" }, u.el("header", {}, title, tools), plot, words, caption);
    host.replaceChildren(body);
    host._parts = { body, title, caption, plot, words, tools };
    const watch = new ResizeObserver(() => {
      const now = shown.get(host);
      if (!now || !host.isConnected || !host.clientWidth) return;
      if (Math.abs(host.clientWidth - now.width) > 2) place(host, now.data);
    });
    watch.observe(host);
    return host._parts;
  }

  function place(host, data) {
    const parts = frame(host);
    const width = host.clientWidth;
    const count = columns(data, width);
    const made = assemble(data, count, true);
    made.layout.width = parts.plot.clientWidth || width;
    shown.set(host, { data, count, width });
    const done = window.Plotly.react(parts.plot, made.traces, made.layout, config);
    parts.plot.setAttribute("role", "img");
    parts.plot.setAttribute("aria-label", `${data.title}. ${data.caption}`);
    return done.then(() => { host.dataset.drawn = String((Number(host.dataset.drawn) || 0) + 1); });
  }

  let tries = 0;
  function draw(host, data) {
    if (!host || !data) return Promise.resolve();
    const parts = frame(host);
    const told = data.message;
    parts.title.textContent = data.title || "";
    parts.caption.textContent = data.caption || "";
    parts.words.textContent = told || "";
    parts.plot.hidden = parts.tools.hidden = Boolean(told);
    parts.words.hidden = !told;
    if (told) {
      shown.delete(host);
      host.dataset.drawn = String((Number(host.dataset.drawn) || 0) + 1);
      return Promise.resolve();
    }
    if (!window.Plotly) {
      if (tries++ < 400) return new Promise((done) => setTimeout(() => done(draw(host, data)), 25));
      parts.words.hidden = false;
      parts.words.textContent = "The drawing library could not be loaded.";
      return Promise.resolve();
    }
    return place(host, data);
  }

  // One record a point; an interval is drawn as two lines without width, or as error bars.
  function rows(data) {
    const titles = data.layouts["1"].annotations.map((a) => a.text.replace(/<\/?b>/g, "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&"));
    const found = [];
    let edges = [];
    for (const trace of data.traces) {
      const panel = titles[trace.xaxis === "x" ? 0 : Number(trace.xaxis.slice(1)) - 1] || "";
      if (trace.type === "heatmap") {
        trace.z.forEach((row, r) => row.forEach((v, c) => found.push([panel, "", c, r, null, null, v])));
      } else if (trace.type === "scatter" && trace.hoverinfo === "skip") {
        if (trace.line && trace.line.width === 0) edges.push(trace.y);
      } else if (trace.type === "scatter" && trace.name !== "shown step") {
        const e = trace.error_y;
        trace.y.forEach((y, i) => {
          const low = edges.length === 2 ? edges[0][i] : e && y !== null && e.arrayminus[i] !== null ? y - e.arrayminus[i] : null;
          const high = edges.length === 2 ? edges[1][i] : e && y !== null && e.array[i] !== null ? y + e.array[i] : null;
          found.push([panel, trace.name || "", trace.x[i], y, low, high, null]);
        });
        edges = [];
      }
    }
    return found;
  }

  async function fetchFigure(host, kind) {
    const now = shown.get(host);
    if (!now) return;
    const name = `undertow-${now.data.name}`;
    if (kind === "csv") {
      u.save(`${name}.csv`, "text/csv;charset=utf-8", u.csv(["panel", "series", "x", "y", "low", "high", "value"], rows(now.data)));
      return;
    }
    const most = Math.max(...Object.keys(now.data.layouts).map(Number));
    const made = assemble(now.data, most, false);
    const size = { width: most === 1 ? 640 : most === 2 ? 900 : 1180, height: made.layout.height };
    Object.assign(made.layout, { paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff" }, size);
    const url = await window.Plotly.toImage({ data: made.traces, layout: made.layout }, { format: kind, ...size, scale: kind === "png" ? 3 : 1 });
    const blob = kind === "svg" ? new Blob([decodeURIComponent(url.slice(url.indexOf(",") + 1))], { type: "image/svg+xml" }) : new Blob([u.bytes(url.slice(url.indexOf(",") + 1))], { type: "image/png" });
    u.save(`${name}.${kind}`, blob.type, blob);
  }

  u.listeners.add(() => {
    for (const [host, now] of shown) {
      if (host.isConnected) place(host, now.data);
      else shown.delete(host);
    }
  });

  Object.assign(u, { draw, shown });
  window.dash_clientside.undertow.draw = function (data, id) {
    const key = JSON.stringify(Object.fromEntries(Object.entries(id).sort()));
    const host = document.getElementById(key.replace("figure-data", "figure"));
    draw(host, data);
    return "figure";
  };
})();
