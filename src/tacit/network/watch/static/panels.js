// What stands around the curves: progress, participants, privacy, security, load and refusals.

import { bar, bytes, clock, duration, facts, isNumber, make, number, show } from "./format.js";
import { named, t } from "./text.js";

const LATE = 0.25; // seconds by which an event loop is late that has too much to do
const RECENT = 20; // rounds from which the time left is reckoned

export const LOOKS = { gathering: "warn", training: "busy", finished: "good", failed: "bad", stopping: "warn" };

export function progress(place, status) {
  const { round, rounds, state, started, now, attempts, history } = status;
  const share = rounds > 0 ? Math.min(round / rounds, 1) : 0;
  const each = middle(history.slice(-RECENT).map((row) => row.seconds).filter(isNumber));
  const running = attempts.at(-1);
  const going = state === "gathering" ? t("waitingFor") : running && state === "training" ? t("attemptOf", number(running.round + 1), number(running.attempt + 1)) : named("state", state);
  const over = state === "finished" || state === "failed";
  const track = make("div", { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": String(rounds), "aria-valuenow": String(round), "aria-label": t("progress") }, bar([[share, ""]], t("done", number(share * 100, 3))));
  show(place,
    make("div", { class: "big" }, t("roundOf", number(round)), " ", make("small", {}, t("ofRounds", number(rounds)))),
    track,
    facts([
      [t("current"), going],
      [t("left"), over ? t("none") : isNumber(each) ? `≈ ${duration(each * (rounds - round))}` : t("unknown")],
      [t("perRound"), isNumber(each) ? duration(each) : t("unknown")],
      [t("elapsed"), isNumber(started) ? duration(Math.max(now - started, 0) / 1000) : t("none")],
      [t("started"), clock(started)],
    ]));
}

function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : null;
}

export function people(place, status) {
  const { expected, enrolled, approved, online, withdrawn, revoked, versions } = status.participants;
  const tile = (name, value, alert) => make("div", { class: alert ? "alert" : "" }, make("dt", {}, t(name)), make("dd", { "data-tile": name }, number(value)));
  const whole = Math.max(expected ?? 0, enrolled, 1), here = Math.min(online, whole);
  const away = Math.max(approved - online, 0), silent = Math.max(enrolled - Math.max(approved, online), 0);
  const missing = (expected ?? 0) - approved;
  const known = Object.entries(versions).sort((a, b) => b[1] - a[1]).slice(0, 8);
  show(place,
    make("dl", { class: "tiles" }, tile("online", online), tile("approved", approved), tile("enrolled", enrolled), tile("expected", expected), tile("withdrawn", withdrawn, withdrawn > 0), tile("revoked", revoked, revoked > 0)),
    bar([[here / whole, ""], [away / whole, "pale"], [silent / whole, "warn"]], t("peopleBar", number(online), number(away), number(silent), number(expected))),
    status.state === "gathering" && missing > 0 && make("p", { class: "note" }, t("stillMissing", number(missing))),
    known.length > 0 && make("p", { class: "note" }, t("versions", known.map(([name, count]) => `${name} × ${number(count)}`).join(", "))));
}

export function privacy(place, status, language) {
  const spent = status.privacy, open = place.querySelector("details")?.open ?? false;
  const text = status.statement?.[language];
  const statement = text ? make("details", { open }, make("summary", {}, t("statement")), make("p", { class: "statement", lang: language }, text)) : make("p", { class: "note" }, t("noStatement"));
  if (!spent) {
    show(place, check("bad", t("noPrivacy")), statement);
    return;
  }
  const share = isNumber(spent.limit) && spent.limit > 0 ? (spent.epsilon ?? 0) / spent.limit : null;
  const label = isNumber(spent.limit) ? t("spentOf", number(spent.epsilon, 3), number(spent.limit, 3)) : t("spent", number(spent.epsilon, 3));
  show(place,
    make("div", { class: "big" }, `ε ${number(spent.epsilon, 3)} `, make("small", {}, isNumber(spent.limit) ? `/ ${number(spent.limit, 3)}` : "")),
    share !== null && bar([[share, share > 0.9 ? "bad" : share > 0.7 ? "warn" : ""]], label),
    facts([[t("delta"), number(spent.delta, 3)], [t("unit"), spent.unit ? named("units", spent.unit) : t("none")], [t("mechanism"), spent.mechanism ?? t("none")]]),
    statement);
}

function check(look, title, how) {
  return make("ul", { class: "checks" }, item(look, title, how));
}

function item(look, title, how) {
  const mark = { good: "✓", bad: "!", plain: "·" }[look];
  return make("li", { class: look }, make("span", { class: "mark", "aria-hidden": "true" }, mark), make("span", {}, make("b", {}, title), how && make("small", {}, how)));
}

export function security(place, status) {
  const { tls, mutual, secure_sum: sum, insecure } = status.security;
  const or = (value) => number(value);
  show(place, make("ul", { class: "checks" },
    tls ? item("good", t("tls", tls), t("tlsHow")) : item("bad", t("noTls"), t("noTlsHow")),
    sum ? item("good", t("secureSum"), t("secureSumHow", or(sum.minimum), or(sum.neighbours), or(sum.threshold), or(sum.bits))) : item("bad", t("noSecureSum"), t("noSecureSumHow")),
    mutual ? item("good", t("mutual"), t("mutualHow")) : item("plain", t("noMutual"), t("noMutualHow")),
    insecure.length ? insecure.map((name) => item("bad", t("unsafe", name))) : item("good", t("safe"))));
}

export function load(place, status) {
  const { requests, bytes_in: received, bytes_out: sent, connections, rss, lag, uptime } = status.load;
  show(place,
    facts([[t("requests"), number(requests)], [t("received"), bytes(received)], [t("sent"), bytes(sent)], [t("connections"), number(connections)],
      [t("memory"), bytes(rss)], [t("lag"), isNumber(lag) ? `${number(lag * 1000, 3)} ms` : t("none")], [t("uptime"), duration(uptime)]]),
    isNumber(lag) && lag > LATE && check("bad", t("lagWarn")));
}

export function failures(place, status) {
  const found = Object.entries(status.failures).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  if (!found.length) {
    show(place, make("p", { class: "empty" }, t("noFailures")));
    return;
  }
  show(place, make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, t("code")), make("th", { scope: "col" }, t("meaning")), make("th", { scope: "col", class: "number" }, t("count")))),
    make("tbody", {}, found.map(([code, count]) => make("tr", {}, make("td", {}, make("code", {}, code)), make("td", {}, named("codes", code)), make("td", { class: "number" }, number(count))))))));
}
