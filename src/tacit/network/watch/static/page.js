// The page: asks the coordinator every two seconds, keeps the rows that it has seen, and shows them.

import { attempts } from "./attempts.js";
import { curves } from "./curves.js";
import { duration, make, show } from "./format.js";
import { LOOKS, failures, load, people, privacy, progress, security } from "./panels.js";
import { choose, language, named, t } from "./text.js";

const EVERY = 2000, AGAIN = 4000, PATIENCE = 10000; // ms: between two questions, after a failure, for an answer

const at = (id) => document.getElementById(id);
let status = null, seen = 0, lost = false, refused = false, asking = false, timer = 0;

async function asked(after) {
  const reply = await fetch(`/v1/status?after=${after}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  refused = reply.status === 401 || reply.status === 403;
  if (!reply.ok) throw new Error(String(reply.status));
  return reply.json();
}

// A run that is another, or that went back to an earlier round, is asked for from its beginning.
async function ask() {
  const known = status?.history ?? [], last = known.at(-1)?.round ?? 0;
  let found = await asked(last);
  if (last > 0 && (found.run !== status.run || found.round < last)) found = await asked(0);
  else found.history = [...known, ...found.history];
  status = found;
}

// One question at a time; none while nobody looks.
async function turn() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    await ask();
    [lost, seen] = [false, performance.now()];
  } catch {
    lost = true;
  }
  asking = false;
  if (!document.hidden) timer = setTimeout(turn, lost ? AGAIN : EVERY);
  render();
}

function alarms() {
  at("unreachable").hidden = !lost;
  if (lost) {
    const age = duration((performance.now() - seen) / 1000);
    const how = refused ? t("refusedHow") : t(status ? "unreachableHow" : "unreachableNever", age, location.origin);
    const said = make("p", { "aria-live": "off" }, how); // its age changes, and need not be read out each time
    show(at("unreachable"), make("b", {}, t(refused ? "refused" : "unreachable")), said);
  }
  const unsafe = status?.security.insecure ?? [], bare = status !== null && !status.security.tls;
  at("insecure").hidden = !unsafe.length && !bare;
  show(at("insecure"), make("b", {}, `⚠ ${t("insecure")}`), make("p", {}, unsafe.length ? t("insecureHow", unsafe.join(", ")) : t("noTls")));
  at("reason").hidden = !status?.reason;
  at("reason").className = `alarm ${status?.state === "failed" ? "bad" : ""}`;
  put(at("reason"), status?.reason ?? "");
}

function freshness() {
  const age = (performance.now() - seen) / 1000;
  at("fresh").classList.toggle("lost", lost);
  put(at("fresh"), seen === 0 ? "" : lost ? t("updated", duration(Math.round(age))) : t("live"));
}

// Text that is the same is left alone, so that it is not read out again.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function words() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", String(button.dataset.language === language));
}

function render() {
  alarms();
  freshness();
  if (!status) return;
  at("scenario").textContent = status.scenario;
  at("state").className = `pill ${LOOKS[status.state] ?? ""}`;
  at("state").textContent = named("state", status.state);
  document.title = `${status.round}/${status.rounds} · ${named("state", status.state)} · tacit`;
  progress(at("progress"), status);
  people(at("people"), status);
  curves(at("curves"), status.history, status.privacy);
  attempts(at("attempts"), status);
  privacy(at("privacy"), status, language);
  security(at("security"), status);
  load(at("load"), status);
  failures(at("failures"), status);
  at("about").textContent = t("about", status.tacit, status.run, status.terms);
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => { choose(button.dataset.language); words(); render(); });
}
document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(timer); else turn(); });
words();
turn();
