"use strict";
// Draws the charts of a report from the numbers in #data. Text is never inserted as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const W = 460, H = 250, LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 34;
const DASHES = ["", "6 3", "2 3", "8 3 2 3"];
const state = Object.assign({axis: "step", smoothing: data.smooth, logx: 0, logy: {}, off: []}, savedState());

function savedState() {
  try { return JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}"); } catch { return {}; }
}
function saveState() {
  try { history.replaceState(null, "", "#" + encodeURIComponent(JSON.stringify(state))); } catch { /* a page in a frame */ }
}
function make(name, attributes = {}, text) {
  const svg = ["svg", "g", "path", "line", "text", "circle", "rect"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
const color = (run) => `var(--c${data.runs[run].color % 10})`;
const dash = (run) => DASHES[data.runs[run].dash % DASHES.length] || null;
const isOff = (run) => state.off.includes(data.runs[run].name);

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) {
    const units = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
    const unit = size >= 1e5 && size < 1e21 ? units.find(([least]) => size >= least) : null;
    return unit ? +(value / unit[0]).toPrecision(4) + unit[1] : value.toExponential(2).replace(/\.?0+e\+?/, "e").replace("e+", "e");
  }
  return String(+value.toPrecision(5));
}

const better = (share) => `color-mix(in oklab, var(--accent) ${Math.round(100 * share)}%, var(--worse))`;

// Returns a function from values to positions, with its ticks.
function scale(values, from, to, log, margin = 0) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (!log || value > 0) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) { low = log ? 1 : 0; high = log ? 10 : 1; }
  if (low === high) { const by = log ? low / 2 : Math.abs(low) * .05 || .5; low -= by; high += by; }
  const f = log ? Math.log10 : (x) => x, edge = (f(high) - f(low)) * margin, back = log ? (v) => 10 ** v : (v) => v;
  [low, high] = [back(f(low) - edge), back(f(high) + edge)];
  const place = (x) => from + (f(x) - f(low)) / (f(high) - f(low)) * (to - from);
  place.ticks = log ? logTicks(low, high) : ticks(low, high);
  return place;
}
function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(+(k * step).toPrecision(12));
  return found;
}
function logTicks(low, high) {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const m of [1, 2, 5]) { const v = m * 10 ** e; if (v >= low * .999 && v <= high * 1.001) found.push(v); }
  if (found.length < 2) return ticks(low, high);
  const whole = found.filter((v) => Math.abs(Math.log10(v) % 1) < 1e-9);
  return found.length > 7 ? (whole.length > 1 ? whole : found.filter((_, i) => i % 3 === 0)) : found;
}

function axes(svg, x, y, {xlabel, xnames}) {
  for (const value of y.ticks) {
    svg.append(make("line", {class: "grid-line", x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value)}));
    svg.append(make("text", {x: LEFT - 5, y: y(value) + 4, "text-anchor": "end"}, short(value)));
  }
  let last = -Infinity;
  for (const value of xnames ? xnames.map((_, i) => i) : x.ticks) {
    if (!xnames && x(value) - last < 44) continue;
    last = x(value);
    svg.append(make("line", {class: "grid-line", x1: last, x2: last, y1: TOP, y2: H - BOTTOM}));
    svg.append(make("text", {x: Math.min(last, W - 16), y: H - BOTTOM + 14, "text-anchor": "middle"}, xnames ? xnames[value] : short(value)));
  }
  svg.append(make("text", {x: (LEFT + W - RIGHT) / 2, y: H - 4, "text-anchor": "middle"}, xlabel));
}

// One chart: lines = [{run, x, y, raw?}], dots = [{run?, x, y, text}].
function plot(figure, chart) {
  figure.querySelector("svg")?.remove();
  const shown = chart.lines.filter((line) => line.run === undefined || !isOff(line.run));
  const dots = (chart.dots || []).filter((dot) => dot.run === undefined || !isOff(dot.run));
  const points = (axis) => [...shown.flatMap((line) => line[axis].filter((v, i) => v !== null && line.x[i] !== null && line.y[i] !== null)), ...dots.map((d) => d[axis])];
  const x = scale(points("x"), LEFT, W - RIGHT, chart.logx, dots.length ? .05 : 0), y = scale(points("y"), H - BOTTOM, TOP, chart.logy, .03);
  const svg = make("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": chart.title});
  axes(svg, x, y, chart);
  for (const line of shown) {
    let d = "", pen = "M", n = 0;
    line.x.forEach((at, i) => {
      if (at === null || line.y[i] === null || (chart.logx && at <= 0) || (chart.logy && line.y[i] <= 0)) return;
      d += `${pen}${x(at).toFixed(1)} ${y(line.y[i]).toFixed(1)}`; pen = "L"; n += 1;
    });
    const look = line.run === undefined ? {stroke: "var(--soft)", "stroke-dasharray": "5 4"} : {stroke: color(line.run), "stroke-dasharray": dash(line.run)};
    if (n > 1) svg.append(make("path", {class: line.raw ? "curve raw" : "curve", d, ...look}));
    else if (n === 1 && !line.raw) { const [, px, py] = d.match(/M(\S+) (\S+)/); svg.append(make("circle", {cx: px, cy: py, r: 3, fill: look.stroke})); }
  }
  for (const dot of dots) {
    const mark = make("circle", {cx: x(dot.x), cy: y(dot.y), r: 3.6, fill: dot.run === undefined ? "var(--accent)" : color(dot.run)});
    mark.append(make("title", {}, dot.text));
    svg.append(mark);
  }
  figure.append(svg);
  if (shown.some((line) => !line.raw && line.run !== undefined)) hover(figure, svg, shown.filter((line) => !line.raw && line.run !== undefined), x, chart);
}

function hover(figure, svg, lines, x, chart) {
  const hair = make("line", {class: "hair", y1: TOP, y2: H - BOTTOM, visibility: "hidden"});
  svg.append(hair);
  const tip = make("div", {class: "tip", hidden: ""});
  figure.querySelector(".tip")?.remove();
  figure.append(tip);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * W;
    const near = lines.map((line) => {
      let best = -1, gap = Infinity;
      line.x.forEach((value, i) => { if (value === null || line.y[i] === null || (chart.logx && value <= 0)) return; const d = Math.abs(x(value) - at); if (d < gap) { gap = d; best = i; } });
      return best < 0 ? null : {run: line.run, x: line.x[best], y: line.y[best], gap};
    }).filter((one) => one && one.gap < 40).sort((a, b) => a.gap - b.gap);
    tip.hidden = near.length === 0;
    hair.setAttribute("visibility", near.length ? "visible" : "hidden");
    if (!near.length) return;
    const place = x(near[0].x);
    hair.setAttribute("x1", place); hair.setAttribute("x2", place);
    tip.replaceChildren(make("div", {class: "soft"}, `${chart.xlabel} ${short(near[0].x)}`));
    for (const one of near.slice(0, 14).sort((a, b) => b.y - a.y)) {
      const row = make("div"), key = make("i", {class: "key"});
      key.style.background = color(one.run);
      row.append(key, make("span", {}, data.runs[one.run].label), make("span", {}, short(one.y)));
      tip.append(row);
    }
    const right = place / W > .55;
    tip.style.top = "2.2rem";
    tip.style.left = right ? "" : `${place / W * 100 + 3}%`;
    tip.style.right = right ? `${100 - place / W * 100 + 3}%` : "";
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; hair.setAttribute("visibility", "hidden"); });
}

function frame(place, title, wide) {
  const figure = make("figure", wide ? {class: "wide"} : {}), caption = make("figcaption");
  caption.append(make("b", {}, title));
  figure.append(caption);
  place.append(figure);
  return figure;
}

// The curves of the runs, one chart per metric.
const charts = [];
function curves() {
  for (const [number, panel] of data.panels.entries()) {
    const place = document.getElementById(`panel-${number}`);
    for (const metric of panel.metrics) {
      const figure = frame(place, metric), button = make("button", {type: "button"}, "log");
      button.addEventListener("click", () => { state.logy[metric] = !state.logy[metric]; saveState(); draw(); });
      figure.querySelector("figcaption").append(button);
      charts.push(() => {
        const lines = [];
        data.runs.forEach((run, i) => {
          const table = run.tables[panel.table], levels = table.y[metric], x = table.x[state.axis];
          if (!levels || !x) return;
          const level = Math.min(state.smoothing, levels.length - 1);
          if (level > 0) lines.push({run: i, x, y: levels[0], raw: true});
          lines.push({run: i, x, y: levels[level]});
        });
        button.setAttribute("aria-pressed", String(!!state.logy[metric]));
        button.textContent = state.logy[metric] ? "linear" : "log";
        plot(figure, {title: metric, lines, xlabel: data.axes[state.axis], logx: state.logx, logy: !!state.logy[metric]});
      });
    }
  }
}

function controls() {
  const place = document.getElementById("controls");
  if (!place) return;
  const choose = (label, options, get, set) => {
    const holder = make("label", {}, label + " "), select = make("select");
    options.forEach(([value, text]) => select.append(make("option", {value}, text)));
    select.value = String(get());
    select.addEventListener("change", () => { set(select.value); saveState(); draw(); });
    holder.append(select);
    place.append(holder);
  };
  choose("x axis", Object.entries(data.axes), () => state.axis, (v) => { state.axis = v; });
  choose("scale", [[0, "linear"], [1, "logarithmic"]], () => +state.logx, (v) => { state.logx = +v; });
  choose("smoothing", data.smoothing.map((w, i) => [i, w ? `moving average, weight ${w}` : "none"]), () => state.smoothing, (v) => { state.smoothing = +v; });
  const all = make("button", {type: "button"}, "show all runs");
  all.addEventListener("click", () => { state.off = []; saveState(); draw(); });
  place.append(all);
}

function legend() {
  const place = document.getElementById("legend");
  if (!place) return;
  place.replaceChildren();
  data.runs.forEach((run, i) => {
    const button = make("button", {type: "button", "aria-pressed": String(!isOff(i)), title: `${run.folder}\nclick: hide or show; double click: show only this one`});
    const key = make("svg", {viewBox: "0 0 22 6", class: "key"});
    key.append(make("line", {x1: 0, x2: 22, y1: 3, y2: 3, stroke: color(i), "stroke-width": 2.5, "stroke-dasharray": dash(i)}));
    button.append(key, make("span", {}, run.label));
    button.addEventListener("click", () => { state.off = isOff(i) ? state.off.filter((n) => n !== run.name) : [...state.off, run.name]; saveState(); draw(); });
    button.addEventListener("dblclick", () => { state.off = data.runs.map((r) => r.name).filter((n) => n !== run.name); saveState(); draw(); });
    place.append(button);
  });
}

// A sweep: one line per run through all keys, and the metric over each key.
function sweep() {
  if (!data.sweep) return;
  const {metric, runs, values, keys, best} = data.sweep, all = [...keys, {name: metric, places: values, log: false, ticks: null}];
  const sorted = [...values].sort((a, b) => (best === "lowest" ? b - a : a - b));
  const share = (i) => (values.length > 1 ? sorted.indexOf(values[i]) / (values.length - 1) : 1);
  const figure = frame(document.getElementById("parallel-coordinates"), "one line per run; better runs have a stronger color", true);
  charts.push(() => {
    figure.querySelector("svg")?.remove();
    const wide = 1100, high = 300, svg = make("svg", {viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": "parallel coordinates"});
    const at = (k) => 70 + k / (all.length - 1) * (wide - 160);
    const scales = all.map((key) => scale(key.places, high - 40, 20, key.log));
    const order = runs.map((_, i) => i).sort((a, b) => share(a) - share(b));
    for (const i of order) {
      if (isOff(runs[i])) continue;
      const d = all.map((key, k) => `${k ? "L" : "M"}${at(k).toFixed(1)} ${scales[k](key.places[i]).toFixed(1)}`).join("");
      const line = make("path", {class: "curve", d, stroke: better(share(i)), "stroke-width": 1.5});
      line.append(make("title", {}, `${data.runs[runs[i]].label}: ${metric} ${short(values[i])}`));
      svg.append(line);
    }
    all.forEach((key, k) => {
      svg.append(make("line", {x1: at(k), x2: at(k), y1: 20, y2: high - 40, stroke: "var(--soft)"}));
      svg.append(make("text", {x: at(k), y: high - 14, "text-anchor": "middle", class: "name"}, key.name));
      const levels = [...new Set(key.places)].sort((a, b) => a - b), marks = key.ticks || levels.length <= 8 && k < all.length - 1 ? levels : scales[k].ticks;
      marks.forEach((mark) => svg.append(make("text", {x: at(k) + 6, y: scales[k](mark) + 4, class: "halo"}, key.ticks ? key.ticks[mark] : short(mark))));
    });
    figure.append(svg);
  });
  for (const key of keys) {
    const one = frame(document.getElementById("response"), key.name);
    charts.push(() => plot(one, {
      title: key.name, xlabel: key.name, logx: key.log, xnames: key.ticks,
      lines: [key.mean],
      dots: runs.map((run, i) => ({run, x: key.places[i], y: values[i], text: `${data.runs[run].label}: ${short(values[i])}`})),
    }));
  }
}

function scaling() {
  if (!data.scaling) return;
  const {runs, x, y, lines, of} = data.scaling, figure = frame(document.getElementById("scaling"), `${of} by number of parameters, and the fitted law`);
  charts.push(() => plot(figure, {
    title: "scaling", xlabel: "parameters N", logx: true, lines,
    dots: runs.map((run, i) => ({run, x: x[i], y: y[i], text: `${data.runs[run].label}: ${short(y[i])}`})),
  }));
}

function draw() {
  if (!(state.axis in data.axes)) state.axis = "step";
  legend();
  charts.forEach((chart) => chart());
}

curves();
sweep();
scaling();
controls();
draw();
document.documentElement.dataset.drawn = Math.ceil(document.documentElement.scrollHeight);
if (data.watch) setTimeout(() => location.reload(), data.watch * 1000);
