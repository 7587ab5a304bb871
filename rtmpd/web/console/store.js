// What the page knows of the server: lists, each fetched as a whole when something in it may have changed.

import { api } from "./api.js";
import { Series, SHOWN_S } from "./curves.js";

const MOST_EVENTS = 1000; // as many as the server keeps
const SAMPLE_S = 0.5; // a burst of events fetches streams more often than a curve can show

const LISTS = {
  streams: async () => (await api("GET", "streams")).streams,
  pushes: async () => (await api("GET", "pushes")).pushes,
  records: async () => (await api("GET", "records")).records,
  clients: async () => (await api("GET", "clients")).clients,
  relays: async () => (await api("GET", "relays")).relays,
  server: () => api("GET", "server"),
  callbacks: () => api("GET", `callbacks?limit=100${store.callbacksState ? `&state=${store.callbacksState}` : ""}`),
};

// Beginnings of events' names, and the lists that may then have changed.
const CHANGED_BY = [
  ["closed", ["streams", "clients"]],
  ["publish", ["streams", "clients", "pushes"]],
  ["play", ["streams", "clients"]],
  ["client", ["streams", "clients"]],
  ["push", ["streams", "pushes", "relays"]],
  ["record", ["streams", "records", "recordings"]],
  ["relay", ["relays", "pushes"]],
  ["pull", ["streams", "relays"]],
  ["callback", ["callbacks"]],
  ["serving", ["server"]],
  ["disk", ["records", "recordings"]],
];

export const store = {
  streams: null,
  pushes: [],
  records: [],
  clients: [],
  relays: [],
  callbacks: { pending: 0, dead: 0, callbacks: [] },
  callbacksState: "",
  /** Newest last. */
  events: [],
  /** By the stream's path: `{bits, frames}`, as Series. */
  series: new Map(),
  /** What serves; {} until that is known. */
  server: {},
};

const fetching = new Map();
let losses = 0;
const listeners = new Set();

/**
 * Be told of changes.
 *
 * @param {(name: string) => void} listener with a list's name; "recordings" and "events", too
 * @returns {() => void} ends it
 */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const announce = (name) => [...listeners].forEach((each) => each(name));

/**
 * Fetch a list again; asked while it is on its way, it is fetched once more behind that.
 *
 * @param {string} name of LISTS
 * @returns {Promise<void>} settled when it is there
 * @throws {Problem}
 */
export function refresh(name) {
  const running = fetching.get(name);
  if (running) {
    running.again ??= running.done.catch(() => {}).then(() => refresh(name));
    return running.again;
  }
  const entry = { again: null, done: null };
  entry.done = LISTS[name]()
    .then((value) => {
      store[name] = value;
      if (name === "streams") sample(value);
    })
    .finally(() => fetching.delete(name));
  fetching.set(name, entry);
  return entry.done.then(() => announce(name));
}

/**
 * Take an event of the server.
 *
 * @param {object} event as `follow` tells it
 * @returns {string[]} lists that may have changed; "recordings" among them
 */
export function hear(event) {
  event.id ??= `lost-${losses++}`; // only the notice that events were lost has none
  store.events.push(event);
  if (store.events.length > MOST_EVENTS) store.events.splice(0, store.events.length - MOST_EVENTS);
  if (event.name === "lost") return [...new Set(CHANGED_BY.flatMap(([, names]) => names))];
  return CHANGED_BY.find(([beginning]) => event.name.startsWith(beginning))?.[1] ?? [];
}

/** Forget what was told, before it is told again. */
export function forget() {
  store.events = [];
}

const steady_s = () => performance.now() / 1000;

function sample(streams) {
  const now_s = steady_s();
  for (const stream of streams) {
    let series = store.series.get(stream.stream);
    if (!series)
      store.series.set(stream.stream, (series = { bits: new Series(), frames: new Series(), seen_s: now_s }));
    series.seen_s = now_s;
    const newest = series.bits.samples.at(-1);
    if (newest && now_s - newest.at_s < SAMPLE_S) continue;
    series.bits.add(bitsOf(stream), now_s);
    series.frames.add(stream.frames_per_s ?? 0, now_s);
  }
  for (const [path, { seen_s }] of store.series) if (seen_s < now_s - SHOWN_S) store.series.delete(path);
}

/** What a stream's publisher sends, in bits per second. */
export const bitsOf = (stream) => stream.bits_per_s ?? stream.publisher?.bits_per_s ?? 0;

/** Write a stream's curves into what shows them. */
export function draw(path, bits, frames) {
  const series = store.series.get(path);
  if (!series) return;
  bits?.update(series.bits, steady_s());
  frames?.update(series.frames, steady_s());
}

/** Players by kind, and all of them. */
export const viewersOf = (stream) => Object.entries(stream.viewers ?? {}).filter(([, number]) => number > 0);
