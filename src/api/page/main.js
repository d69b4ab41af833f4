// The page: signs in, follows the events, draws what is known, and asks for what somebody presses.

import { Board } from "./board.js";
import { Chart } from "./chart.js";
import { at, h, icon, span, tick, timer } from "./dom.js";
import { Refused, follow } from "./events.js";
import { Player, fineness } from "./player.js";
import { switchLanguage, translate, word } from "./words.js";

const KEPT = "jiesu.token";
const RECORDS = 8;
/** Agents whose phones are the visitor's own; the demo creates them with these passwords. */
const OWN = ["1001", "2001"];
const CALL_ICONS = { offered: "in", ivr: "ivr", queued: "wait", ringing: "ring", talking: "talk" };
const CALL_CLASSES = { offered: "ivr", ivr: "ivr", queued: "waiting", ringing: "ringing", talking: "talking" };
const STEPS = ["offered", "ivr", "queued", "ringing", "talking"];
const AGENT_ICONS = { ready: "ready", not_ready: "busy", offered: "ring", talking: "talk", wrap_up: "wrap", offline: "off" };
const AGENT_ORDER = ["talking", "offered", "wrap_up", "ready", "not_ready", "offline"];

const board = new Board();
const chart = new Chart();
const player = new Player();
let token = null;
let stop = null;
let link = "linking";
let records = [];
let recordsRefused = false;
let drawn = false;

const ask = (path, options = {}) => fetch(`/api/v1${path}`, {
  cache: "no-store", ...options, headers: { Authorization: `Bearer ${token}`, ...options.headers },
});

// ---- signing in

function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEPT, decodeURIComponent(found[1]));
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEPT);
}

function showSignIn(refused) {
  stop?.abort();
  sessionStorage.removeItem(KEPT);
  player.clear();
  at("board").hidden = at("sign-out").hidden = at("link").hidden = at("lost").hidden = at("alerts").hidden = true;
  at("sign-in").hidden = false;
  at("refused").hidden = !refused;
  at("refused").textContent = word("refused");
  at("token").value = "";
  at("token").focus();
}

function start(given) {
  token = given;
  sessionStorage.setItem(KEPT, token);
  stop?.abort();
  stop = new AbortController();
  [records, recordsRefused, chart.samples, link] = [[], false, [], "linking"];
  at("sign-in").hidden = true;
  at("board").hidden = at("sign-out").hidden = at("link").hidden = false;
  const on = {
    event: (envelope) => { board.take(envelope); later(); },
    link: (state) => { link = state; later(); },
  };
  follow(token, on, stop.signal).catch((error) => {
    if (!(error instanceof Refused)) throw error;
    showSignIn(true);
  });
  draw();
}

// ---- drawing

/** Many events make one picture. */
function later() {
  if (drawn) return;
  drawn = true;
  setTimeout(() => { drawn = false; draw(); }, 100);
}

function draw() {
  drawLink();
  drawSites();
  drawAlerts();
  drawCalls();
  drawAgents();
  drawOwn();
}

function drawLink() {
  const live = link === "linked";
  at("link").replaceChildren(icon(live ? "ready" : "wait"), live ? word("linked") : word("linking"));
  at("link").className = live ? "chip ready" : "chip";
  at("lost").hidden = link !== "lost";
  at("lost").textContent = word("lost");
}

function drawSites() {
  const figure = (what, name, count) => h("div", { class: count ? what : "zero" }, h("dt", {}, icon(name), word(what)), h("dd", {}, String(count)));
  at("sites").replaceChildren(...board.sites().map((site) => {
    const { waiting, ringing, talking, ready, longestSince } = board.figures(site);
    const longest = longestSince === null ? "" : h("span", {}, `${word("longest")} `, timer(longestSince, board.now()));
    return h("article", { class: "site" }, h("h2", {}, site, longest),
      h("dl", { class: "figures" }, figure("waiting", "wait", waiting), figure("ringing", "ring", ringing),
        figure("talking", "talk", talking), figure("ready", "ready", ready)));
  }));
}

/** What is under way with somebody who is brought in, or what is left to do by hand. */
function transferred({ transfer }) {
  if (!transfer || !(transfer.phase || transfer.dial)) return null;
  const step = transfer.phase ? word(transfer.phase) : `${word("dialByHand")} ${transfer.dial}`;
  return [transfer.drill && word("drill"), `→ ${transfer.target}`, step].filter(Boolean).join(" ");
}

/** Emergencies are above everything else; a reader that speaks says each once. */
function drawAlerts() {
  const urgent = [...board.calls.values()].filter((call) => call.transfer?.kind === "emergency" && transferred(call));
  const lines = urgent.map((call) => [call.site, word("alertEmergency"), transferred(call), number(call.caller), call.agent && `${word("agent")} ${call.agent}`].filter(Boolean).join(" · "));
  at("alerts").hidden = lines.length === 0;
  if (lines.join("\n") === [...at("alerts").children].map((line) => line.textContent).join("\n")) return;
  at("alerts").replaceChildren(...lines.map((line, place) => h("li", { class: urgent[place].transfer.drill ? "banner drill" : "banner" }, line)));
}

function drawCalls() {
  const calls = [...board.calls.values()].sort((one, other) => one.offered - other.offered);
  at("calls").replaceChildren(...calls.map((call) => {
    const reached = STEPS.indexOf(call.stage);
    const kind = CALL_CLASSES[call.stage];
    const about = [call.site, call.dialled.replace(/^\+86/, "0"), call.queue, call.agent && `${word("agent")} ${call.agent}`, transferred(call)];
    return h("li", { class: "call" },
      h("span", { class: `stage ${kind}` }, icon(CALL_ICONS[call.stage]), word(call.stage)),
      h("span", { class: "who" }, number(call.caller)),
      timer(call.stage === "queued" || call.stage === "ringing" ? call.waiting_since ?? call.since : call.since, board.now()),
      h("span", { class: `steps ${kind}`, "aria-hidden": "true" }, STEPS.map((_, step) => h("i", { class: step <= reached ? "done" : "" }))),
      h("span", { class: "what" }, about.filter(Boolean).join(" · ")));
  }));
  at("no-calls").hidden = calls.length > 0;
  at("no-calls").textContent = word("noCalls");
}

function drawAgents() {
  const rank = (agent) => AGENT_ORDER.indexOf(agent.state);
  const parts = board.sites().map((site) => {
    const agents = [...board.agents.values()].filter((agent) => agent.site === site)
      .sort((one, other) => one.name.localeCompare(other.name));
    const counts = AGENT_ORDER.map((state) => [state, agents.filter((agent) => agent.state === state).length]).filter(([, count]) => count);
    return h("div", {},
      h("h3", {}, `${site}: `, counts.map(([state, count]) => `${word(stateWord(state))} ${count}`).join(" · ")),
      h("ul", { class: "desks" }, agents.sort((one, other) => rank(one) - rank(other)).map((agent) =>
        h("li", { class: `desk ${agent.state}` }, icon(AGENT_ICONS[agent.state]), h("b", {}, agent.name),
          word(stateWord(agent.state)), forced(agent), timer(agent.since, board.now())))));
  });
  at("agents").replaceChildren(...(parts.length ? parts : [h("p", { class: "empty" }, word("noAgents"))]));
}

/** Who put the agent into the state, when it was somebody else. */
const forced = (agent) => (agent.forced_by ? h("small", { title: agent.forced_by }, `${word("forced")} ${agent.forced_by}`) : "");
const stateWord = (state) => (state === "offered" ? "ringing" : state);

/** The caller as people read it. */
const number = (text) => (text ? text.replace(/^\+86/, "") : word("hidden"));

function drawRecords() {
  const clock = (ms) => new Date(ms).toLocaleTimeString(document.documentElement.lang, { hour12: false });
  const head = ["time", "site", "caller", "agent", "waited", "talked", "end", "order", "sound"];
  const row = (call) => {
    const waited = call.queued === null ? "–" : span((call.answered ?? call.ended) - call.queued);
    const talked = call.answered === null ? word("unanswered") : span(call.ended - call.answered);
    const listen = () => play(call, true);
    return h("tr", { class: call.recording === player.recording ? "chosen" : "" },
      [clock(call.offered), call.site, number(call.caller), call.agent ?? "–", waited, talked, word(`by_${call.end_by}`)].map((text) => h("td", {}, text)),
      h("td", {}, call.order_id ? h("code", { title: call.order_id }, call.order_id.slice(-6)) : "–"),
      h("td", {}, call.recording ? h("button", { type: "button", click: listen, "data-recording": call.recording,
        "aria-label": `${word("play")} ${number(call.caller)} ${clock(call.offered)}` }, icon("play"), ` ${word("play")}`) : "–"));
  };
  const focused = document.activeElement?.dataset?.recording;
  at("records").replaceChildren(h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, word(name))))), h("tbody", {}, records.map(row)));
  at("records").hidden = records.length === 0;
  if (focused) at("records").querySelector(`[data-recording="${focused}"]`)?.focus();
  at("no-records").hidden = records.length > 0;
  at("no-records").textContent = word(recordsRefused ? "notYours" : "noRecords");
}

function drawOwn() {
  const own = [...board.agents.values()].filter((agent) => OWN.includes(agent.name));
  const shown = own.map((agent) => JSON.stringify(agent)).join() + document.documentElement.lang;
  if (at("own").dataset.shown === shown) return;
  at("own").dataset.shown = shown;
  const focused = document.activeElement?.dataset?.want;
  at("own").replaceChildren(...own.map((agent) => {
    const problem = h("span", { class: "error", role: "alert" });
    const button = (state) => h("button", {
      type: "button", "aria-pressed": String(agent.state === state), "data-want": `${agent.site}/${agent.name}/${state}`,
      click: async () => {
        const path = `/agents/${agent.name}/state?site=${encodeURIComponent(agent.site)}`;
        const body = JSON.stringify({ state, reason: "" });
        const answer = await ask(path, { method: "PUT", headers: { "Content-Type": "application/json" }, body }).catch(() => null);
        problem.textContent = answer?.ok ? "" : `${word("refusedDo")} (${answer?.status ?? word("lost")})`;
      },
    }, icon(AGENT_ICONS[state]), ` ${word(`${state}_do`)}`);
    const fact = (name, value) => [h("dt", {}, word(name)), h("dd", {}, h("code", {}, value))];
    return h("article", { class: "phone" },
      h("header", {}, h("b", {}, `${word("agent")} ${agent.name}`), agent.seat ? h("small", {}, `${word("seat")} ${agent.seat}`) : "",
        h("span", { class: `stage ${agent.state}` }, icon(AGENT_ICONS[agent.state]), word(stateWord(agent.state)), forced(agent)),
        h("span", { class: agent.phone_up ? "stage ready" : "stage offline" }, icon(agent.phone_up ? "phone" : "off"), word(agent.phone_up ? "phoneUp" : "phoneDown"))),
      h("dl", {}, fact("user", agent.name), fact("password", `demo-${agent.name}`),
        fact("domain", `${agent.site}.12345.example`), fact("proxy", `${location.hostname}:5060 (UDP)`),
        fact("dial", agent.site === "fuzhou" ? "12345" : "059512345")),
      h("div", { class: "buttons" }, button("ready"), button("not_ready"), problem));
  }));
  if (focused) at("own").querySelector(`[data-want="${focused}"]`)?.focus();
}

// ---- records and recordings

let reading = false;
let readAgain = false;

/** Records follow their call by some milliseconds: asked for a second after it, and never twice at once. */
function recordsChanged() {
  if (reading) { readAgain = true; return; }
  reading = true;
  setTimeout(async () => {
    await readRecords().catch(() => {});
    reading = false;
    if (readAgain) { readAgain = false; recordsChanged(); }
  }, 1_000);
}

async function readRecords() {
  const pages = await Promise.all(board.sites().map(async (site) => {
    const answer = await ask(`/calls?site=${encodeURIComponent(site)}&limit=${RECORDS * 2}`);
    recordsRefused ||= answer.status === 403;
    return answer.ok ? (await answer.json()).items : [];
  }));
  records = pages.flat().filter((call) => call.ended !== null).sort((one, other) => other.ended - one.ended).slice(0, RECORDS);
  const newest = records.find((call) => call.recording && call.answered !== null);
  // Nobody's listening is cut short by a newer call.
  if (newest && newest.recording !== player.recording && !player.isPlaying && !player.chosen) await play(newest, false);
  drawRecords();
}

async function play(call, asked) {
  player.chosen ||= asked;
  const title = () => `${word(player.chosen ? "recording" : "newest")} · ${number(call.caller)} → ${call.agent ?? "–"} · ${span(call.ended - call.offered)}`;
  const of = async (what) => {
    const answer = await ask(`/recordings/${call.recording}/${what}site=${encodeURIComponent(call.site)}`);
    if (!answer.ok) throw new Error(String(answer.status));
    return answer;
  };
  const bytes = async () => (await of("audio?")).arrayBuffer();
  const peaks = async () => (await of(`peaks?per_second=${fineness(call.ended - call.offered)}&`)).json();
  const loaded = player.load(bytes, peaks, call.recording, title, asked);
  drawRecords();
  await loaded;
}

// ---- from here on it runs

board.onEnded = recordsChanged;
board.onStage = (call) => {
  const said = { offered: "said_offered", ringing: "said_ringing", talking: "said_talking" }[call.stage];
  if (said) at("said").textContent = `${call.site} ${word(said)} ${number(call.caller)} ${call.agent ?? ""}`;
};
at("audio").addEventListener("ended", () => { player.chosen = false; });
at("language").addEventListener("click", () => { switchLanguage(); words(); });
at("sign-out").addEventListener("click", () => showSignIn(false));
at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  start(at("token").value.trim());
});

function words() {
  translate();
  at("language").textContent = word("language");
  draw();
  drawRecords();
  player.name();
  chart.draw(at("chart"));
}

setInterval(() => {
  if (at("board").hidden) return;
  tick(board.now());
  if (link !== "linked") return;
  chart.add(Math.floor(board.now() / 1000), board.figures());
  chart.draw(at("chart"));
}, 1_000);

words();
const known = takeToken();
if (known) start(known);
else showSignIn(false);
