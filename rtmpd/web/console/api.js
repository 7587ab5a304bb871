// The control API, from the page's side: requests, the session, and events as they happen.
// Every address is relative to the page, so that a proxy may serve the console below a path of its own.

const EVENTS_SILENT_MS = 40_000; // the server says something every 15 s
const PAUSE_MS = [500, 1000, 2000, 4000];

/** A request that came to nothing; the message is for people. */
export class Problem extends Error {
  /**
   * @param {number} status of HTTP; 0 where no answer came
   * @param {string} detail one line
   * @param {string[]} errors each fault, where there are several
   */
  constructor(status, detail, errors = []) {
    super(errors.length ? errors.join("; ") : detail);
    this.status = status;
  }
}

/**
 * Ask the server once.
 *
 * @param {string} method of HTTP
 * @param {string} path relative to the page
 * @param {object} [body] sent as JSON
 * @returns {Promise<object|null>} the answer's JSON; null for an answer without a body
 * @throws {Problem} refused, or not answered
 */
export async function request(method, path, body) {
  const options = { method, cache: "no-store" };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await answerTo(path, options);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch {
    throw new Problem(0, "The server's answer broke off.");
  }
}

/**
 * Fetch what the server must have.
 *
 * @param {string|URL} url
 * @param {RequestInit} options
 * @returns {Promise<Response>} a good one
 * @throws {Problem} refused, or not answered
 */
export async function answerTo(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Problem(0, "The server does not answer.");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

export const api = (method, path, body) => request(method, `api/v1/${path}`, body);

/**
 * Put a refusal into words.
 *
 * @param {Response} response with a problem document, or what a proxy put in its place
 * @returns {Promise<Problem>}
 */
export async function problemOf(response) {
  try {
    const problem = await response.json();
    return new Problem(response.status, problem.detail || problem.title, problem.errors);
  } catch {
    return new Problem(response.status, `The server answered ${response.status} ${response.statusText}`.trim());
  }
}

/**
 * Write names as the segments of a path. A stream's name may hold anything, half of a surrogate pair too.
 *
 * @param {string} path segments joined by slashes
 * @returns {string} the same, percent-encoded
 */
export const encoded = (path) =>
  path
    .split("/")
    .map((each) => encodeURIComponent(each.toWellFormed()))
    .join("/");

/**
 * Open a session, where the server lets us without a token.
 *
 * @returns {Promise<boolean>} whether it is open; else a token is needed
 */
export async function openSession() {
  const session = await request("GET", "session");
  if (session.is_open) return true;
  if (session.needs_token) return false;
  await request("POST", "session", {});
  return true;
}

export const signIn = (token) => request("POST", "session", { token });
export const signOut = () => request("DELETE", "session");

/**
 * Follow the server's events, from the oldest that it still has; goes on by itself whenever it answers again.
 * EventSource lost: it tells only those whose names are known beforehand, and not why a connection failed.
 *
 * @param {object} told
 * @param {(event: object) => void} told.onEvent each one, with `id` and `name`
 * @param {() => void} told.onOpen connected, or connected again
 * @param {(problem: Problem) => void} told.onLost not connected; it is tried again, unless the session is over (401)
 * @returns {{stop: () => void}}
 */
export function follow({ onEvent, onOpen, onLost }) {
  let lastId = "0"; // of no server: everything that is kept is told
  let tries = 0;
  let ended = false;
  let abort = new AbortController();
  let timer = 0;

  async function run() {
    abort = new AbortController();
    let problem;
    try {
      const response = await fetch("api/v1/events", {
        headers: { "Last-Event-ID": lastId },
        cache: "no-store",
        signal: abort.signal,
      });
      if (!response.ok) throw await problemOf(response);
      tries = 0;
      onOpen();
      await read(response.body, abort, (event) => {
        lastId = event.id || lastId;
        onEvent(event);
      });
      problem = new Problem(0, "The server ended the connection.");
    } catch (error) {
      problem = error instanceof Problem ? error : new Problem(0, "The server does not answer.");
    }
    if (ended) return;
    onLost(problem);
    if (problem.status === 401) return;
    timer = setTimeout(run, PAUSE_MS[Math.min(tries++, PAUSE_MS.length - 1)]);
  }

  run();
  return {
    stop() {
      ended = true;
      clearTimeout(timer);
      abort.abort();
    },
  };
}

async function read(body, abort, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  // A connection through a sleeping laptop or a proxy can be dead without an end.
  let silent = setTimeout(() => abort.abort(), EVENTS_SILENT_MS);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silent);
      silent = setTimeout(() => abort.abort(), EVENTS_SILENT_MS);
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event) take(event);
      }
    }
  } finally {
    clearTimeout(silent);
  }
}

function parse(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
  }
  if (!fields.data) return null;
  return { ...JSON.parse(fields.data), id: fields.id, name: fields.event };
}
