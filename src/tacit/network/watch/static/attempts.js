// The last attempts at rounds: what each step asked, who answered (how many), and why others did not.

import { bar, clock, duration, isNumber, make, number, show } from "./format.js";
import { named, t } from "./text.js";

const LOOKS = { published: "good", abandoned: "bad" };

export function attempts(place, status) {
  if (!status.attempts.length) {
    show(place, make("p", { class: "empty" }, t("noAttempts")));
    return;
  }
  const rows = [...status.attempts].reverse().map((one) => row(one, status));
  const heads = [["attemptRound"], ["attemptState"], ["attemptSteps"], ["attemptTook", "number"]];
  show(place, legend(), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "h-attempts" }, make("table", { class: "attempts" },
    make("thead", {}, make("tr", {}, heads.map(([name, look]) => make("th", { scope: "col", class: look }, t(name))))),
    make("tbody", {}, rows))));
}

function row(one, status) {
  const running = one.ended === null && one.state !== "published" && one.state !== "abandoned";
  const took = isNumber(one.began) ? ((one.ended ?? status.now) - one.began) / 1000 : null;
  return make("tr", { "data-attempt": `${one.round}.${one.attempt}` },
    make("td", {}, make("b", {}, number(one.round + 1)), one.attempt > 0 && make("div", { class: "note" }, t("attemptN", number(one.attempt + 1)))),
    make("td", {}, make("span", { class: `pill ${LOOKS[one.state] ?? "busy"}` }, named("attemptStates", one.state)), one.reason && make("div", { class: "why" }, one.reason)),
    make("td", { class: "wide-cell" }, make("div", { class: "steps" }, one.steps.map((each) => step(each, running)))),
    make("td", { class: "number", title: t("began", clock(one.began)) }, duration(took)));
}

function step({ kind, asked, answered, failed, seconds }, running) {
  const causes = Object.entries(failed).filter(([, count]) => count > 0);
  const lost = causes.reduce((sum, [, count]) => sum + count, 0), open = Math.max(asked - answered - lost, 0), whole = Math.max(asked, 1);
  const label = t("stepBar", named("steps", kind), number(answered), number(asked), number(lost), number(open));
  return make("div", { class: "step", title: isNumber(seconds) ? duration(seconds) : null },
    make("div", { class: "head" }, make("span", {}, named("steps", kind)), make("b", {}, `${number(answered)}/${number(asked)}`)),
    bar([[answered / whole, "good"], [lost / whole, "bad"], [open / whole, running ? "warn" : "none"]], label),
    causes.map(([cause, count]) => make("span", { class: "cause" }, `${number(count)} × ${named("causes", cause)}`)));
}

function legend() {
  const key = (look, name) => {
    const dot = make("i", { class: "dot" });
    dot.style.background = `var(--${look})`;
    return make("li", {}, dot, t(name));
  };
  return make("ul", { class: "legend" }, key("good", "answered"), key("bad", "failed"), key("warn", "pending"));
}
