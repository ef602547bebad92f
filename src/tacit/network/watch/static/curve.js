// One chart of values over rounds, drawn as SVG: axes, a logarithmic axis, a limit, and the values under the pointer.

import { draw, isNumber, make, number } from "./format.js";
import { t } from "./text.js";

const HEIGHT = 200, LEFT = 54, RIGHT = 12, TOP = 12, BOTTOM = 26;
const MOST = 300; // stretches into which a long line is cut: each is drawn as its mean, before the band of its lowest and highest

// Points of a long line as stretches: [[round, mean, lowest, highest], ...]; a short one as it is.
export function thinned(points, most = MOST) {
  if (points.length <= 2 * most) return points;
  const made = [];
  for (let k = 0; k < most; k++) {
    const part = points.slice(Math.round((k * points.length) / most), Math.round(((k + 1) * points.length) / most));
    const values = part.map(([, value]) => value);
    made.push([part[part.length >> 1][0], values.reduce((sum, value) => sum + value, 0) / values.length, Math.min(...values), Math.max(...values)]);
  }
  made[0][0] = points[0][0];
  made.at(-1)[0] = points.at(-1)[0];
  return made;
}

function niceStep(span, parts) {
  const rough = span / parts, power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 2.5, 5, 10].find((one) => one * power >= rough * 0.999);
}

function ticksOf(low, high, log, whole, parts = 4) {
  const found = [];
  if (log) {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const steps = last - first <= 1 ? [1, 2, 3, 5, 7] : last - first <= 3 ? [1, 2, 5] : [1];
    const skip = Math.max(1, Math.ceil((last - first) / 6));
    for (let power = first; power <= last; power += skip) for (const step of steps) found.push(step * 10 ** power);
  } else {
    const step = Math.max(niceStep(high - low, parts), whole ? 1 : 0);
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-12) + 1e-300; k++) found.push(k * step);
  }
  return found.filter((one) => one >= low * (1 - 1e-9) - 1e-300 && one <= high * (1 + 1e-9));
}

export class Curve {
  // name: of the chart; title(): its words; format(value); limit(status) or null; zero: the axis begins at 0.
  constructor({ name, title, format = number, zero = false, log = false, logarithmic = false }) {
    Object.assign(this, { name, title, format, zero, log, at: null, lines: [], limit: null });
    this.heading = make("h3");
    this.latest = make("span", { class: "latest" });
    this.toggle = make("button", { type: "button", hidden: !logarithmic && !log });
    this.svg = draw("svg", { tabindex: "0", role: "img", height: HEIGHT });
    this.tip = make("div", { class: "tip", hidden: true, role: "status" });
    this.legend = make("ul", { class: "legend" });
    this.node = make("article", { class: "card curve", "data-curve": name },
      make("header", {}, this.heading, make("span", {}, this.latest, this.toggle)), this.svg, this.legend, this.tip);
    this.toggle.addEventListener("click", () => { this.log = !this.log; this.paint(); });
    this.svg.addEventListener("pointermove", (event) => this.point(this.roundAt(event)));
    this.svg.addEventListener("pointerdown", (event) => this.point(this.roundAt(event)));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.svg.addEventListener("blur", () => this.point(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.paint()).observe(this.svg);
  }

  // lines: [{ label, color, points: [[round, value], ...] }], points by round, without holes for what is not known.
  update(lines, limit = null) {
    this.lines = lines.map((line) => ({ ...line, drawn: thinned(line.points) }));
    this.limit = isNumber(limit) ? limit : null;
    this.paint();
  }

  get positive() { return this.lines.every((line) => line.points.every(([, value]) => value > 0)); }

  range(log) {
    const values = this.lines.flatMap((line) => line.drawn.flatMap(([, ...found]) => found));
    const near = this.limit !== null && (values.length === 0 || this.limit < 20 * Math.max(...values));
    if (near) values.push(this.limit);
    let low = Math.min(...values), high = Math.max(...values);
    if (this.zero && !log) low = Math.min(low, 0);
    if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
    const room = log ? 0 : (high - low) * 0.06;
    return [this.zero && !log && low >= 0 ? 0 : low - room, high + room];
  }

  paint() {
    const width = this.svg.clientWidth || 400;
    const rounds = this.lines.flatMap((line) => [line.points[0][0], line.points.at(-1)[0]]);
    if (!rounds.length) return;
    const log = this.log && this.positive, [low, high] = this.range(log);
    const first = Math.min(...rounds), last = Math.max(...rounds, first + 1);
    const scale = log ? Math.log : (value) => value;
    this.first = first;
    this.x = (round) => LEFT + ((round - first) / (last - first)) * (width - LEFT - RIGHT);
    this.y = (value) => HEIGHT - BOTTOM - ((scale(value) - scale(low)) / (scale(high) - scale(low))) * (HEIGHT - TOP - BOTTOM);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.replaceChildren(...this.axes(low, high, first, last, log, width), ...this.bound(low, high, width), ...this.paths(), this.marks = draw("g"));
    this.words(log);
    this.point(this.at);
  }

  axes(low, high, first, last, log, width) {
    const made = [];
    for (const value of ticksOf(low, high, log, false)) {
      const y = this.y(value);
      made.push(draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
      made.push(draw("text", { class: "tick", x: LEFT - 8, y: y + 4, "text-anchor": "end" }, this.format(Number(value.toPrecision(6)))));
    }
    let free = 0; // where the next label may begin
    for (const value of ticksOf(first, last, false, true, Math.max(3, Math.min(8, Math.floor(width / 70))))) {
      const words = number(value), half = 3.4 * words.length, x = Math.min(this.x(value), width - half);
      if (x - half < free) continue;
      free = x + half + 10;
      made.push(draw("text", { class: "tick", x, y: HEIGHT - 8, "text-anchor": "middle" }, words));
    }
    return made;
  }

  bound(low, high, width) {
    if (this.limit === null || this.limit > high || this.limit < low) return [];
    const y = this.y(this.limit);
    return [draw("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
      draw("text", { class: "limit-text", x: width - RIGHT, y: y - 5, "text-anchor": "end" }, t("budget", number(this.limit)))];
  }

  paths() {
    const along = (points, place) => points.map((point, k) => `${k ? "L" : "M"}${this.x(point[0]).toFixed(1)} ${this.y(point[place]).toFixed(1)}`).join("");
    return this.lines.flatMap(({ drawn, color, label }) => {
      const path = draw("path", { class: "line", "data-line": label, d: along(drawn, 1) });
      path.style.stroke = `var(--c${color})`;
      const dot = drawn.length === 1 && draw("circle", { cx: this.x(drawn[0][0]), cy: this.y(drawn[0][1]), r: 3.5 });
      const band = drawn[0].length === 4 && draw("path", { class: "band", d: `${along(drawn, 2)}${along([...drawn].reverse(), 3).replace("M", "L")}Z` });
      for (const each of [dot, band]) if (each) each.style.fill = `var(--c${color})`;
      return [band, path, dot].filter(Boolean);
    });
  }

  words(log) {
    const latest = this.lines.map((line) => this.format(line.points.at(-1)[1])).join(" · ");
    const count = Math.max(...this.lines.map((line) => line.points.length));
    this.heading.textContent = this.heading.title = this.title();
    this.latest.textContent = this.lines.length > 1 ? "" : latest;
    this.svg.setAttribute("aria-label", t("curveHint", this.title(), number(count), latest));
    this.toggle.textContent = t("log");
    this.toggle.title = t("logHint");
    this.toggle.disabled = !this.positive;
    this.toggle.setAttribute("aria-pressed", String(log));
    this.legend.hidden = this.lines.length < 2;
    this.legend.replaceChildren(...this.lines.map((line) => {
      const key = make("i");
      key.style.background = `var(--c${line.color})`;
      return make("li", {}, key, `${line.label} `, make("b", {}, this.format(line.points.at(-1)[1])));
    }));
  }

  roundAt(event) {
    const box = this.svg.getBoundingClientRect();
    return this.nearest((event.clientX - box.left) * (this.svg.viewBox.baseVal.width / box.width));
  }

  // The round whose place is nearest, among rounds that have a value.
  nearest(x) {
    let best = null;
    for (const { points } of this.lines) {
      let low = 0, high = points.length - 1;
      while (high - low > 1) { const middle = (low + high) >> 1; if (this.x(points[middle][0]) < x) low = middle; else high = middle; }
      for (const k of [low, high]) if (best === null || Math.abs(this.x(points[k][0]) - x) < Math.abs(this.x(best) - x)) best = points[k][0];
    }
    return best;
  }

  key(event) {
    const rounds = this.lines[0]?.points.map(([round]) => round) ?? [];
    const place = rounds.indexOf(this.at);
    const moves = { ArrowLeft: place < 0 ? rounds.length - 1 : place - 1, ArrowRight: place < 0 ? 0 : place + 1, Home: 0, End: rounds.length - 1 };
    if (event.key === "Escape") this.point(null);
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.point(rounds[Math.max(0, Math.min(moves[event.key], rounds.length - 1))] ?? null);
  }

  point(round) {
    this.at = round;
    this.tip.hidden = round === null;
    if (!this.marks) return;
    this.marks.replaceChildren();
    if (round === null) return;
    const x = this.x(round), said = [make("b", {}, t("round", number(round)))];
    this.marks.append(draw("line", { class: "cursor", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
    for (const { label, color, points } of this.lines) {
      const found = points.find(([one]) => one === round);
      if (!found) continue;
      const dot = draw("circle", { cx: x, cy: this.y(found[1]), r: 4 }), key = make("i");
      dot.style.fill = key.style.background = `var(--c${color})`;
      this.marks.append(dot);
      said.push(make("div", {}, key, this.lines.length > 1 ? `${label} ` : "", this.format(found[1])));
    }
    this.tip.replaceChildren(...said);
    const right = x > (this.svg.clientWidth || 400) / 2;
    this.tip.style.left = right ? "auto" : `${x + 28}px`;
    this.tip.style.right = right ? `${this.svg.clientWidth - x + 28}px` : "auto";
    this.tip.style.top = "52px";
  }
}
