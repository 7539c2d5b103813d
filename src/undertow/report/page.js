"use strict";
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const twins = JSON.parse(document.getElementById("twins").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let kept = []; // one figure a plot, as text, so that each drawing starts anew
  const read = (box) => JSON.parse(kept[plots.indexOf(box)]);

  async function text(id) {
    const packed = atob(document.getElementById(id).textContent.trim());
    const bytes = Uint8Array.from(packed, (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function unpack() {
    const script = document.createElement("script");
    script.textContent = await text("plotly");
    document.head.append(script);
    kept = JSON.parse(await text("plots"));
  }

  function repaint(value) {
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(repaint);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, repaint(v)]));
    if (typeof value !== "string") return value;
    const band = value.match(/^rgba\((\d+),(\d+),(\d+),([\d.]+)\)$/);
    if (!band) return twins[value] || value;
    const hex = "#" + [1, 2, 3].map((i) => (+band[i]).toString(16).padStart(2, "0")).join("");
    if (!twins[hex]) return value;
    const rgb = [1, 3, 5].map((i) => parseInt(twins[hex].slice(i, i + 2), 16));
    return `rgba(${rgb.join(",")},${band[4]})`;
  }

  async function draw(box) {
    const wide = box.clientWidth >= 640;
    const now = `${wide}${dark.matches}`;
    if (box.dataset.drawn === now) return;
    box.dataset.drawn = now;
    const figure = read(box);
    const { layout, bars } = wide ? figure.wide : figure.narrow;
    for (const [i, bar] of Object.entries(bars)) Object.assign(figure.traces[i].colorbar, bar);
    const [traces, laid] = dark.matches ? [repaint(figure.traces), repaint(layout)] : [figure.traces, layout];
    if (matchMedia("(pointer: coarse)").matches) laid.dragmode = false; // a finger scrolls the page
    let target = box.querySelector(".live-plot");
    if (!target) {
      target = document.createElement("div");
      target.className = "live-plot";
      box.append(target);
    }
    box.classList.add("live");
    const config = { responsive: true, displaylogo: false, displayModeBar: false };
    await Plotly.react(target, traces, laid, config);
    if (!box.nextElementSibling.classList.contains("tools")) tools(box);
  }

  function table(figure) {
    const quote = (v) => (/[",\n]/.test(v) ? `"${String(v).replaceAll('"', '""')}"` : String(v ?? ""));
    const lines = ["panel,series,kind,x,y,value"];
    for (const trace of figure.traces) {
      if (trace.showlegend || trace.type === "image") continue;
      const panel = figure.panels[(+trace.xaxis.slice(1) || 1) - 1];
      if (trace.type === "heatmap") trace.z.forEach((row, r) => row.forEach((z, c) => lines.push([panel, "", "value", c, r, z].map(quote).join(","))));
      else trace.x.forEach((x, i) => lines.push([panel, trace.legendgroup, trace.meta, x, trace.y[i], ""].map(quote).join(",")));
    }
    return lines.join("\n") + "\n";
  }

  function save(content, type, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function tools(box) {
    const bar = document.createElement("div");
    bar.className = "tools";
    const name = box.closest("figure").id;
    const add = (words, act) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      button.addEventListener("click", act);
      bar.append(button);
    };
    const picture = (format) => () => Plotly.downloadImage(box.querySelector(".live-plot"), { format, filename: name, scale: format === "png" ? 2 : 1 });
    add("SVG", picture("svg"));
    add("PNG", picture("png"));
    if (read(box).traces.some((t) => t.type !== "image")) add("CSV", () => save(table(read(box)), "text/csv", name + ".csv"));
    box.after(bar);
  }

  async function start() {
    if (!plots.length || !window.DecompressionStream) return;
    await unpack();
    const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => draw(e.target)), { rootMargin: "600px" });
    plots.forEach((box) => seen.observe(box));
    const again = () => plots.filter((box) => box.dataset.drawn).forEach(draw);
    dark.addEventListener("change", again);
    let wait;
    addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(again, 150); });
    document.documentElement.dataset.ready = "yes";
  }
  // On a narrow screen only the first figures stand open; on paper, what stands open on a wide one.
  const folds = [...document.querySelectorAll("details.fold")];
  if (innerWidth <= 760) folds.forEach((d) => { d.open = false; });
  addEventListener("beforeprint", () => folds.forEach((d) => { d.dataset.was = d.open; d.open = true; }));
  addEventListener("afterprint", () => folds.forEach((d) => { d.open = d.dataset.was === "true"; }));
  start();
})();
