"use strict";
(() => {
// Rows of `states`: when, cells (free, running, idle), requests (waiting, running), the shadow
// price, cells of the largest session. Spans: from, to, phase, request.
const AT = 0, FREE = 1, USED = 2, IDLE = 3, WAITING = 4, RUNNING = 5, PRICE = 6, LONGEST = 7;
const PHASES = [["waiting", "--waiting"], ["prefill", "--prefill"], ["decode", "--decode"],
  ["tool gap", "--gap"]];
const LEFT = 92, RIGHT = 14, TOP = 8, AXIS = 22, LANE = 24, BAR = 13;

const data = JSON.parse(document.getElementById("data").textContent);
const full = [data.begin, Math.max(data.end, data.begin + 0.001)];
let [from, to] = full;

const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });
const seconds = (value) => `${number(value)} s`;
/** Colours by name, as the page's style has them just now. */
let palette = {};
const color = (name) => palette[name]
  ??= getComputedStyle(document.documentElement).getPropertyValue(name);
const make = (tag, text) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  return element;
};

/** Index of the last item that is not after `at`; -1 if there is none. */
function before(items, at, time) {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (time(items[middle]) <= at) low = middle + 1; else high = middle;
  }
  return low - 1;
}

/** Round numbers between two, about so many. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((it) => it * power >= rough) ?? 10);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high && found.length < 50; n++) {
    found.push(n * step);
  }
  return found;
}

const inner = (chart) => chart.canvas.clientWidth - LEFT - RIGHT;
const x = (chart, at) => LEFT + (at - from) / (to - from) * inner(chart);
const time = (chart, pixel) => from + (pixel - LEFT) / inner(chart) * (to - from);

/** The samples in view, and one more on each side. */
function visible(items, at) {
  const first = Math.max(0, before(items, from, at));
  return items.slice(first, before(items, to, at) + 2);
}

/** Clears a chart and draws its axis of time. */
function begin(chart) {
  const { canvas } = chart, width = canvas.clientWidth, scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(chart.height * scale);
  canvas.style.height = `${chart.height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const bottom = chart.height - AXIS;
  pen.textAlign = "center";
  for (const tick of ticks(from, to, Math.max(2, inner(chart) / 110))) {
    pen.fillStyle = color("--grid");
    pen.fillRect(x(chart, tick), TOP, 1, bottom - TOP);
    pen.fillStyle = color("--dim");
    pen.fillText(seconds(tick), x(chart, tick), bottom + 12);
  }
  return pen;
}

function clip(chart, pen) {
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, inner(chart), chart.height - AXIS + 1);
  pen.clip();
}

/** Draws samples: stacked areas, or lines that stay until the next sample. */
function drawSeries(chart) {
  const pen = begin(chart), rows = visible(data.states, (row) => row[AT]);
  const bottom = chart.height - AXIS, most = chart.most() || 1;
  const y = (value) => bottom - value / most * (bottom - TOP);
  pen.textAlign = "right";
  for (const tick of ticks(0, most, 4)) {
    pen.fillStyle = color("--grid");
    pen.fillRect(LEFT, y(tick), inner(chart), 1);
    pen.fillStyle = color("--dim");
    pen.fillText(number(tick), LEFT - 8, y(tick));
  }
  clip(chart, pen);
  const below = rows.map(() => 0);
  for (const series of chart.series) {
    pen.beginPath();
    let last = null;
    rows.forEach((row, index) => {
      const value = row[series.row];
      if (value === null) { last = null; return; }
      const base = chart.stacked ? below[index] : 0;
      const top = y(value + base), left = x(chart, row[AT]);
      if (chart.stacked) {
        const next = rows[index + 1], right = next ? x(chart, next[AT]) : left + 1;
        pen.rect(left, top, Math.max(right - left, 1), y(base) - top);
        below[index] += value;
      } else {
        if (last === null) pen.moveTo(left, top); else pen.lineTo(left, last);
        pen.lineTo(left, top);
      }
      last = top;
    });
    if (chart.stacked) { pen.fillStyle = color(series.color); pen.fill(); continue; }
    pen.strokeStyle = color(series.color);
    pen.lineWidth = 1.6;
    pen.stroke();
  }
  if (chart.dots) {
    pen.fillStyle = color(chart.dots.color);
    for (const [at, tokens] of data.prompts) {
      if (at >= from && at <= to) pen.fillRect(x(chart, at) - 1.5, y(tokens) - 1.5, 3, 3);
    }
  }
  pen.restore();
}

function drawLanes(chart) {
  const pen = begin(chart);
  data.lanes.forEach((lane, index) => {
    const top = TOP + index * LANE;
    pen.fillStyle = color("--dim");
    pen.textAlign = "right";
    pen.fillText(lane.name, LEFT - 8, top + BAR / 2, LEFT - 12);
  });
  clip(chart, pen);
  data.lanes.forEach((lane, index) => {
    const top = TOP + index * LANE;
    for (const [begins, ends, phase] of lane.spans) {
      if (ends < from || begins > to) continue;
      const left = x(chart, begins), wide = Math.max(x(chart, ends) - left, 0.7);
      pen.fillStyle = color(PHASES[phase][1]);
      const thin = phase === 3;
      pen.fillRect(left, top + (thin ? 5 : 0), wide, thin ? BAR - 10 : BAR);
    }
    pen.fillStyle = color("--held");
    for (const [begins, ends] of lane.held) {
      if (ends < from || begins > to) continue;
      const left = x(chart, begins);
      pen.fillRect(left, top + BAR + 2, Math.max(x(chart, ends) - left, 1), 2.5);
    }
  });
  for (const mark of data.marks) {
    if (mark.lane === null || mark.at < from || mark.at > to) continue;
    const left = x(chart, mark.at), top = TOP + mark.lane * LANE + BAR + 6;
    pen.fillStyle = color(mark.preempted ? "--mark" : "--line");
    pen.beginPath();
    pen.moveTo(left, top - 5);
    pen.lineTo(left - 3.5, top + 1);
    pen.lineTo(left + 3.5, top + 1);
    pen.fill();
  }
  pen.restore();
}

function tipOfSeries(chart, at) {
  const row = data.states[before(data.states, at, (it) => it[AT])];
  const lines = [];
  if (row) {
    for (const series of chart.series) {
      const value = row[series.row];
      lines.push(`${series.name}: ${value === null ? "unknown" : number(value)}`);
    }
  }
  if (chart.dots) {
    const prompt = data.prompts[before(data.prompts, at, (it) => it[0])];
    if (prompt) lines.push(`last prompt: ${number(prompt[1])} tokens, at ${seconds(prompt[0])}`);
  }
  return lines;
}

function tipOfLanes(chart, at, pixel) {
  const index = Math.floor((pixel - TOP) / LANE), lane = data.lanes[index];
  if (!lane) return [];
  const lines = [`session ${lane.name}`];
  for (const [begins, ends, phase, request] of lane.spans) {
    if (begins > at || ends < at) continue;
    const whose = request ? `request ${request}: ` : "";
    lines.push(`${whose}${PHASES[phase][0]} for ${seconds(ends - begins)}`);
    if (lines.length > 8) break;
  }
  const near = 5 / inner(chart) * (to - from);
  const holds = lane.held.some(([begins, ends]) => begins - near <= at && at <= ends + near);
  lines.push(holds ? "holds KV cells" : "holds no KV cells");
  const marks = data.marks.filter((it) => it.lane === index && Math.abs(it.at - at) <= near);
  for (const mark of marks.slice(0, 4)) lines.push(`${seconds(mark.at)}: ${mark.text}`);
  return lines;
}

const largest = (...rows) => data.states.reduce(
  (most, state) => Math.max(most, ...rows.map((row) => state[row] ?? 0)), 0);
const prompts = data.prompts.reduce((most, [, tokens]) => Math.max(most, tokens), 0);
const mosts = {
  price: largest(PRICE), queue: largest(WAITING, RUNNING),
  length: Math.max(prompts, largest(LONGEST)),
};
const series = (name, row, color) => ({ name, row, color });
const charts = [
  { title: "Shadow price of memory", height: 130, most: () => mosts.price * 1.1,
    series: [series("shadow price", PRICE, "--price")] },
  { title: "KV cells", height: 170, stacked: true, most: () => data.cells,
    series: [series("running requests", USED, "--running"),
      series("retained idle", IDLE, "--idle"), series("free", FREE, "--free")] },
  { title: "Requests", height: 130, most: () => mosts.queue + 1,
    series: [series("waiting", WAITING, "--waiting"), series("running", RUNNING, "--running")] },
  { title: "Tokens", height: 150, most: () => mosts.length * 1.1,
    series: [series("longest context held", LONGEST, "--held")],
    dots: { name: "prompt of a call", color: "--prefill" } },
  { title: "Sessions", height: TOP + AXIS + Math.max(data.lanes.length, 1) * LANE, lanes: true,
    legend: [...PHASES, ["holds cells", "--held"], ["evicted", "--line"],
      ["preempted", "--mark"]] },
].filter((chart) => chart.title !== "Shadow price of memory"
  || data.states.some((row) => row[PRICE] !== null));

const cursor = document.getElementById("cursor"), tip = document.getElementById("tip");
let dragged = null;

function draw() {
  palette = {};
  for (const chart of charts) (chart.lanes ? drawLanes : drawSeries)(chart);
}

function inside(chart, event) {
  const box = chart.canvas.getBoundingClientRect();
  const left = Math.min(Math.max(event.clientX - box.left, LEFT), LEFT + inner(chart));
  return { box, left, top: event.clientY - box.top, at: time(chart, left) };
}

function hover(chart, event) {
  const { box, left, top, at } = inside(chart, event);
  const main = document.getElementById("charts").getBoundingClientRect();
  const origin = dragged === null ? left : Math.min(left, x(chart, dragged));
  cursor.hidden = tip.hidden = false;
  cursor.classList.toggle("drag", dragged !== null);
  cursor.style.left = `${box.left + origin + window.scrollX}px`;
  cursor.style.top = `${main.top + window.scrollY}px`;
  cursor.style.height = `${main.height}px`;
  cursor.style.width = dragged === null ? "1px" : `${Math.abs(left - x(chart, dragged))}px`;
  const lines = chart.lanes ? tipOfLanes(chart, at, top) : tipOfSeries(chart, at);
  tip.textContent = [seconds(at), ...lines].join("\n");
  const room = document.documentElement.clientWidth - event.clientX;
  const shift = room < 440 ? -tip.offsetWidth - 14 : 14;
  tip.style.left = `${event.pageX + shift}px`;
  tip.style.top = `${event.pageY + 14}px`;
}

function leave() {
  cursor.hidden = tip.hidden = true;
  dragged = null;
}

function release(chart, event) {
  const { at, left } = inside(chart, event), begun = dragged;
  dragged = null;
  if (begun === null || Math.abs(left - x(chart, begun)) < 6) return;
  [from, to] = [Math.min(begun, at), Math.max(begun, at)];
  draw();
  leave();
}

function reset() {
  [from, to] = full;
  draw();
}

function build(chart) {
  const section = make("section"), title = make("h2", chart.title);
  const shown = chart.legend ?? [...chart.series, ...(chart.dots ? [chart.dots] : [])]
    .map((it) => [it.name, it.color]);
  for (const [name, key] of shown) {
    const entry = make("span"), swatch = make("i");
    swatch.style.background = `var(${key})`;
    entry.append(swatch, name);
    title.append(entry);
  }
  chart.canvas = make("canvas");
  chart.canvas.setAttribute("role", "img");
  chart.canvas.setAttribute("aria-label", `${chart.title} over time`);
  chart.canvas.addEventListener("mousemove", (event) => hover(chart, event));
  chart.canvas.addEventListener("mousedown", (event) => { dragged = inside(chart, event).at; });
  chart.canvas.addEventListener("mouseup", (event) => release(chart, event));
  chart.canvas.addEventListener("mouseleave", leave);
  chart.canvas.addEventListener("dblclick", reset);
  section.append(title, chart.canvas);
  document.getElementById("charts").append(section);
}

function numbers() {
  const sessions = data.lanes.filter((lane) => lane.name !== "no session");
  const facts = [["policy", data.policy], ["time", seconds(full[1] - full[0])],
    ["KV cells", number(data.cells)], ["run at once", number(data.max_running)],
    ["sessions", number(sessions.length)], ["calls", number(data.calls)],
    ["evictions", number(data.evictions)], ["preemptions", number(data.preemptions)]];
  if (data.hidden_calls) facts.push(["calls not drawn", number(data.hidden_calls)]);
  if (data.dropped) facts.push(["events missing", number(data.dropped)]);
  if (data.samples_per_state > 1) {
    facts.push(["a point is the tightest of", `${number(data.samples_per_state)} samples`]);
  }
  for (const [name, value] of facts) {
    const entry = make("div");
    entry.append(make("dt", name), make("dd", value));
    document.getElementById("numbers").append(entry);
  }
}

document.getElementById("label").textContent = data.label;
document.title = `AgentSched: ${data.label}`;
numbers();
charts.forEach(build);
draw();
window.addEventListener("resize", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
