// The page: who may use it, which view it shows, and when what it knows is fetched again.

import { follow, openSession, request, signIn, signOut, api } from "./api.js";
import { ask, button, h, icon, openDialog, show, tell, write } from "./dom.js";
import * as events from "./events.js";
import { callbacks, clients, relays } from "./lists.js";
import { pausePlaying, stopPlaying } from "./preview.js";
import * as recordings from "./recordings.js";
import { announce, forget, hear, onChange, refresh, store } from "./store.js";
import * as stream from "./stream.js";
import * as streams from "./streams.js";
import { bytes, count, date, sentence, since } from "./words.js";

const POLL_MS = 1000;
const GATHER_MS = 150; // one thing that happens is often several events; and a millisecond for each stream to be listed
const LONG = 200; // so many more in a list, and it is polled a second less often
const UNTOLD_TURNS = 5;
const RETRY_MS = 2000;
const HIDDEN_MS = 10_000; // a tab that is left for a moment keeps its connection

const VIEWS = {
  streams: { title: "Streams", view: streams, icon: "streams" },
  recordings: { title: "Recordings", view: recordings, icon: "recordings" },
  clients: { title: "Clients", view: clients, icon: "clients" },
  relays: { title: "Relays", view: relays, icon: "relays" },
  callbacks: { title: "Callbacks", view: callbacks, icon: "callbacks" },
  events: { title: "Events", view: events, icon: "events" },
};
// Shown in every view: how many there are is written beside its name.
const ALWAYS = ["streams", "callbacks", "server"];

const byId = (id) => document.getElementById(id);
const main = byId("main");
let shown = null; // {name, view, part}
let following = null;
let isConnected = false; // the server answers
let isFollowing = false; // events come; without them lists are fetched now and then
let starting = null;
const stale = new Set();
let gathering = 0;

// Views

const links = new Map();
for (const [name, { title, icon: picture }] of Object.entries(VIEWS)) {
  const badge = h("span.badge", { hidden: true });
  const link = h("a", { href: `#/${name}` }, icon(picture), h("span", {}, title), badge);
  links.set(name, { link, badge });
  byId("nav").append(link);
}

/** Read the address: a view's name, what comes behind it, and a query. */
function address() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return {
    name: name in VIEWS ? name : "streams",
    path: rest.map(decoded).join("/"),
    query: new URLSearchParams(query),
  };
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // typed by a person
  }
}

function route() {
  const { name, path, query } = address();
  const isFirst = shown === null;
  shown?.part.remove();
  main.replaceChildren();
  const view = name === "streams" && path ? stream : VIEWS[name].view;
  shown = { name, view, part: view.mount(main, path, query) };
  for (const [each, { link }] of links) link.ariaCurrent = each === name ? "page" : null;
  document.title = `${path || VIEWS[name].title} – rtmpd`;
  shown.part.update();
  fetchAll(view.lists);
  // Who goes to another view by keyboard goes on from its heading.
  if (!isFirst) main.querySelector("h1")?.focus();
}

onChange((name) => {
  shown?.part.update(name);
  if (name === "streams") tellCount("streams", store.streams.filter((each) => each.state !== "idle").length, "");
  if (name === "callbacks") tellCount("callbacks", store.callbacks.dead, "bad");
});

function tellCount(name, number, kind) {
  const { badge } = links.get(name);
  show(badge, number > 0).className = `badge ${kind}`.trim();
  write(badge, number);
}

// What is known, kept true

function fetchAll(names) {
  for (const name of new Set(names)) refresh(name).catch(failed);
}

function failed(problem) {
  if (problem.status === 401) return startAgain();
  if (problem.status !== 0) tell(problem.message, "bad"); // that nobody answers is told in the banner
}

function onEvent(event) {
  for (const name of hear(event)) stale.add(name);
  stale.add("events");
  if (event.name === "draining") setDraining(true);
  gathering ||= setTimeout(
    () => {
      gathering = 0;
      const names = [...stale];
      stale.clear();
      for (const name of ["recordings", "events"]) if (names.includes(name)) announce(name);
      const wanted = new Set([...ALWAYS, ...(shown?.view.lists ?? [])]);
      fetchAll(names.filter((name) => wanted.has(name)));
    },
    GATHER_MS + sizeOf("streams"),
  );
}

/** Rates, and what changes without an event; only what is looked at, and long lists less often. */
async function poll(turn = 0) {
  if (isConnected && shown && !document.hidden) {
    const { polled, lists } = shown.view;
    const due = Object.keys(polled).filter(
      (name) => turn % (polled[name] / POLL_MS + Math.floor(sizeOf(name) / LONG)) === 0,
    );
    if (!isFollowing && turn % UNTOLD_TURNS === 0) due.push(...ALWAYS, ...lists);
    const results = await Promise.allSettled([...new Set(due)].map((name) => refresh(name)));
    // Other failures are told by the banner, or come again with what a person asks for.
    if (results.some((each) => each.reason?.status === 401)) startAgain();
  }
  setTimeout(poll, POLL_MS, turn + 1);
}

const sizeOf = (name) => store[name]?.length ?? 0;

function connect() {
  forget(); // all that the server keeps is told again
  following = follow({
    onEvent,
    onOpen: () => {
      isConnected = isFollowing = true;
      show(byId("banner"), false);
      fetchAll([...ALWAYS, ...(shown?.view.lists ?? [])]);
      announce("recordings");
      askHealth();
    },
    onLost: (problem) => {
      isFollowing = false;
      if (problem.status === 401) return start();
      isConnected = problem.status !== 0;
      const words = isConnected ? "No live events" : "Connection lost";
      write(show(byId("banner"), true), `${words}. ${sentence(problem.message)} Trying again…`);
      setState(isConnected ? "Connected" : "Not connected", isConnected ? "warn" : "bad");
    },
  });
}

function disconnect() {
  following?.stop();
  following = null;
  isConnected = isFollowing = false;
}

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (!document.hidden) {
    if (!following && shown) connect();
    return;
  }
  // Browsers make six connections to a server for all of their tabs: one that nobody sees holds none.
  hiding = setTimeout(() => {
    if (document.pictureInPictureElement) return; // it is seen
    pausePlaying();
    disconnect();
  }, HIDDEN_MS);
});

// A page that the browser keeps for going back would keep its connections, too.
addEventListener("pagehide", () => {
  pausePlaying();
  disconnect();
});
addEventListener("pageshow", (event) => event.persisted && start());

// Who may use it

/** Begin, or begin again: many requests may find at once that the session is over. */
function start() {
  starting ??= open().finally(() => (starting = null));
  return starting;
}

/** The session is over; what was asked before may tell so when the token is asked for already. */
function startAgain() {
  if (shown) start();
}

async function open() {
  disconnect();
  for (;;) {
    try {
      if (await openSession()) return enter();
      return askForToken();
    } catch (problem) {
      show(byId("shell"), true);
      write(show(byId("banner"), true), `${sentence(problem.message)} Trying again…`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

function enter() {
  show(byId("login"), false);
  show(byId("shell"), true);
  if (!shown) route();
  connect();
}

function askForToken() {
  write(byId("login-fault"), shown ? "The session has ended: sign in again." : "");
  stopPlaying();
  shown?.part.remove();
  shown = null;
  main.replaceChildren();
  show(byId("shell"), false);
  show(byId("login"), true);
  byId("token").focus();
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("token");
  try {
    await signIn(field.value);
    field.value = "";
    write(byId("login-fault"), "");
    enter();
  } catch (problem) {
    write(byId("login-fault"), problem.status === 401 ? "This is not a token of the server." : problem.message);
    field.select();
  }
});

// The server

function setState(text, kind) {
  write(byId("server-state"), text);
  byId("server").dataset.kind = kind;
}

function setDraining(value) {
  setState(value ? "Draining" : "Connected", value ? "warn" : "good");
}

async function askHealth() {
  // While it drains it answers 503, with the same document.
  const response = await fetch("healthz", { cache: "no-store" }).catch(() => null);
  if (response) setDraining(response.status === 503);
}

async function openServer() {
  await refresh("server");
  const { server } = store;
  const rows = [
    ["Version", server.version],
    ["Serves for", `${since(server.started_at)}, since ${date(server.started_at)}`],
    ["RTMP", server.rtmp],
    server.rtmps && ["RTMPS", server.rtmps],
    ["HTTP", server.http],
    server.https && ["HTTPS", server.https],
    ["Data", server.data],
    ["Room for", count(server.connections, "connection")],
    ["Memory of a stream", `at most ${bytes(server.bytes_per_stream)}`],
  ].filter(Boolean);
  const list = h(
    "dl.facts",
    {},
    rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
  const actions = h(
    "footer",
    {},
    button("Sign out", null, leave),
    button("Drain…", null, askToDrain),
    button("Reload configuration", "retry", reloadConfiguration),
  );
  const dialog = openDialog("Server", [list, actions]);
  actions.addEventListener("click", (event) => event.target.closest("button") && dialog.close());
}

async function leave() {
  await signOut();
  const { needs_token: needsToken } = await request("GET", "session");
  if (needsToken) {
    await start();
    write(byId("login-fault"), ""); // it was asked for
    return;
  }
  tell("This server needs no token: whoever reaches it is let in.");
}

async function reloadConfiguration() {
  const { needs_restart: waiting } = await api("POST", "reload");
  tell(
    waiting.length ? `Read again; after a restart only: ${waiting.join(", ")}.` : "The configuration was read again.",
    "good",
  );
}

function askToDrain() {
  const seconds = h("input", { type: "number", min: 0, max: 86_400, value: 60, name: "timeout" });
  const act = async () => {
    const answer = await api("POST", "drain", { timeout: Number(seconds.value) });
    tell(`Draining: ${count(answer.waited_for, "client")} left.`, "good");
  };
  ask("Drain the server?", "Drain", act, {
    content: [
      h("p", {}, "Nobody new is let in, and the server ends when all have gone. It cannot be taken back."),
      h("label.field", {}, "Seconds to wait for them", seconds),
    ],
    danger: true,
  });
}

byId("server").addEventListener("click", () => openServer().catch(failed));

// Colours

const root = document.documentElement;
byId("theme").addEventListener("click", () => {
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("rtmpd.theme", root.dataset.theme);
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address would be taken for a view
  main.focus();
});
addEventListener("hashchange", () => shown && route());
poll();
start();
