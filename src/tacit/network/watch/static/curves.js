// Which charts there are: the history's columns, put together as people read them.

import { Curve } from "./curve.js";
import { bytes, duration, isNumber, make, show } from "./format.js";
import { t } from "./text.js";

const PARTS = { test: "testPart", validation: "validationPart", cohort: "cohortPart" };

const drawn = new Map();

export function curves(place, history, privacy) {
  const wanted = history.length ? charts(history, privacy) : [];
  if (!wanted.length) {
    drawn.clear();
    show(place, make("p", { class: "card empty" }, t("nothingYet")));
    return;
  }
  const nodes = wanted.map(({ lines, limit, ...kind }) => {
    if (!drawn.has(kind.name)) drawn.set(kind.name, new Curve(kind));
    const curve = drawn.get(kind.name);
    curve.title = kind.title;
    curve.update(lines, limit);
    return curve.node;
  });
  const columns = nodes.length % 4 === 0 || nodes.length % 3 === 1 ? 4 : 3; // on a wide screen, with few holes
  place.dataset.columns = String(columns);
  nodes.forEach((node, k) => node.classList.toggle("double", k === 0 && nodes.length % columns === columns - 1));
  const shown = [...place.children];
  if (shown.length !== nodes.length || nodes.some((node, k) => node !== shown[k])) place.replaceChildren(...nodes);
}

function charts(history, privacy) {
  const columns = new Set();
  for (const row of history) for (const name of Object.keys(row)) columns.add(name);
  const metrics = [...columns].filter((name) => /^(test|validation|cohort)_/.test(name))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const found = [
    one("loss", history, { color: 0, logarithmic: true }),
    ...grouped(history, metrics),
    one("epsilon", history, { color: 2, zero: true, limit: privacy?.limit }),
    one("seconds", history, { color: 4, zero: true, logarithmic: true, format: duration }),
    { name: "traffic", title: () => t("traffic"), zero: true, logarithmic: true, format: bytes, lines: [
      line(history, "bytes_up", t("up"), 0), line(history, "bytes_down", t("down"), 1)] },
    one("clients", history, { color: 5, zero: true }),
    one("update_norm", history, { color: 3, zero: true, logarithmic: true }),
  ];
  return found.map((chart) => ({ ...chart, lines: chart.lines.filter((each) => each.points.length) })).filter((chart) => chart.lines.length);
}

function one(name, history, { color, ...rest }) {
  return { name, title: () => t(name), lines: [line(history, name, t(name), color)], ...rest };
}

function line(history, column, label, color) {
  return { label, color, points: history.filter((row) => isNumber(row[column])).map((row) => [row.round, row[column]]) };
}

// Metrics between 0 and 1 share a chart; every other one has its own.
function grouped(history, metrics) {
  const label = (name) => { const [part, ...rest] = name.split("_"); return t(PARTS[part], rest.join(" ")); };
  const within = (name) => history.every((row) => !isNumber(row[name]) || (row[name] >= 0 && row[name] <= 1));
  const shares = metrics.filter((name) => !/loss/.test(name) && within(name)), others = metrics.filter((name) => !shares.includes(name));
  const together = shares.length ? [{ name: "metrics", title: () => shares.length > 1 ? t("metrics") : label(shares[0]),
    lines: shares.slice(0, 8).map((name, k) => line(history, name, label(name), (k + 1) % 8)) }] : [];
  return [...together, ...others.slice(0, 8).map((name, k) => ({ name, title: () => label(name), logarithmic: true, lines: [line(history, name, label(name), (k + 3) % 8)] }))];
}
