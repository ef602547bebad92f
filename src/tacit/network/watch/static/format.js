// Numbers, sizes and times as people read them, and elements made without ever parsing text as HTML.

import { language, t, timeUnits } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

export function isNumber(value) { return typeof value === "number" && Number.isFinite(value); }

export function number(value, digits = 4) {
  if (!isNumber(value)) return t("none");
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString(language);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return String(Number(value.toPrecision(2)).toExponential()).replace("e+", "e");
  return value.toLocaleString(language, { maximumSignificantDigits: digits });
}

export function bytes(value) {
  if (!isNumber(value)) return t("none");
  let rest = value;
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (Math.abs(rest) < 1000) return `${unit === "B" ? Math.round(rest) : number(rest, 3)} ${unit}`;
    rest /= 1000;
  }
  return `${number(rest, 3)} TB`;
}

export function duration(seconds) {
  if (!isNumber(seconds)) return t("none");
  const [s, min, h, d] = timeUnits();
  if (seconds < 0.001) return `0 ${s}`;
  if (seconds < 10) return `${number(seconds, 2)} ${s}`;
  if (seconds < 90) return `${Math.round(seconds)} ${s}`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} ${min}`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} ${h} ${Math.round((seconds % 3600) / 60)} ${min}`;
  return `${Math.floor(seconds / 86400)} ${d} ${Math.round((seconds % 86400) / 3600)} ${h}`;
}

export function clock(ms) {
  if (!isNumber(ms)) return t("none");
  const when = new Date(ms);
  const today = new Date().toDateString() === when.toDateString();
  const time = when.toLocaleTimeString(language, { hour12: false });
  return today ? time : `${when.toLocaleDateString(language)} ${time}`;
}

// make("p", { class: "note", title: "x" }, "text", node, ...)
export function make(tag, settings = {}, ...inside) {
  return fill(set(document.createElement(tag), settings), ...inside);
}

export function draw(tag, settings = {}, ...inside) {
  return fill(set(document.createElementNS(SVG, tag), settings), ...inside);
}

function set(node, settings) {
  for (const [name, value] of Object.entries(settings)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  return node;
}

function fill(node, ...inside) {
  node.append(...inside.flat().filter((part) => part !== null && part !== undefined && part !== false));
  return node;
}

// Puts nodes in place of what a place on the page shows, unless they look the same: a reader's place is then kept.
export function show(place, ...inside) {
  const made = fill(document.createElement("div"), ...inside);
  const same = place.childNodes.length === made.childNodes.length
    && [...place.childNodes].every((node, k) => node.isEqualNode(made.childNodes[k]));
  if (!same) place.replaceChildren(...made.childNodes);
}

export function facts(pairs) {
  return make("dl", { class: "facts" }, pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

// A bar of parts: [share of the whole, class]. Widths are set by script, as the page's policy allows no inline style.
export function bar(parts, label) {
  const drawn = make("div", { class: "bar", role: "img", "aria-label": label });
  for (const [share, look] of parts) {
    if (!(share > 0)) continue;
    const part = make("i", { class: look });
    part.style.width = `${Math.min(share, 1) * 100}%`;
    drawn.append(part);
  }
  return drawn;
}
