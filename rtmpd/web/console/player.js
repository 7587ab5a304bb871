// Plays a live fragmented MP4 by Media Source Extensions, close to the live edge, and goes on by itself after a break.
// It knows nothing of the console: a bench uses it as well.

import { problemOf } from "./api.js";
import { contentOf, initSection } from "./mp4.js";
import { attach, Source } from "./source.js";

// Parts come every 200 ms, so that what is left just before the next one comes is 200 ms less than just after it.
const LEAD_S = 0.25; // buffered in front of the picture, just after a part has come
const LONGEST_LEAD_S = 1.0; // on a bad line each stall moves the aim up to here
const STALL_STEP_S = 0.1;
const CALM_MS = 20_000; // without a stall, after which the aim comes down a step
const BEHIND_S = 1.5; // further back the player leaps; up to here it only plays faster
const MUCH_S = 0.4; // above the aim, as a slow start leaves it
const FASTER = 1.05; // not heard
const MUCH_FASTER = 1.15;
const SLACK_S = 0.05; // above the aim, before it plays faster
const SETTLING_MS = 2000; // a decoder that starts makes the picture wait, whatever is buffered
const KEPT_S = 20; // behind the picture
const KEPT_AFTER_CUT_S = 10;
const PAUSES_MS = [300, 1000, 2000, 4000];
const GOOD_MS = 5000;
const SILENT_MS = 40_000; // longer than a server waits for a publisher that comes back: the connection is dead
const LONGEST_INIT_BYTES = 1 << 20;

/**
 * Play a live stream.
 *
 * @param {HTMLVideoElement} video muted, or the browser may refuse to begin
 * @param {string} url of the fragmented MP4, on this server
 * @param {object} [options]
 * @param {(state: {name: string, detail: string}) => void} [options.onState] told each change: "connecting", "playing",
 *   "waiting" (to try again; `detail` says why), "unsupported" (this browser, these codecs: it is not tried again)
 * @returns {{stop: () => void, lead: () => number}} `lead`: seconds that are buffered in front of the picture
 */
export function play(video, url, { onState = () => {} } = {}) {
  let tries = 0;
  let timer = 0;
  let attempt = null;
  let ended = false;

  async function run() {
    onState({ name: "connecting", detail: "" });
    attempt = new Attempt(video, url, () => onState({ name: "playing", detail: "" }));
    const { detail, isFinal } = await attempt.run();
    attempt.close();
    if (ended) return;
    if (attempt.played_ms > GOOD_MS) tries = 0; // what fails right after its start is tried ever less often
    if (isFinal) {
      onState({ name: "unsupported", detail });
      return;
    }
    onState({ name: "waiting", detail });
    timer = setTimeout(run, PAUSES_MS[Math.min(tries++, PAUSES_MS.length - 1)]);
  }

  run();
  return {
    stop() {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      attempt.close();
      video.removeAttribute("src");
      video.load(); // lets go of the last picture and of the decoder
    },
    lead: () => attempt.lead(),
  };
}

/** One response, from its first byte to its end; a stream whose codecs change ends its response. */
class Attempt {
  constructor(video, url, onPlaying) {
    this.video = video;
    this.url = url;
    this.onPlaying = onPlaying;
    this.abort = new AbortController();
    this.queue = [];
    this.buffer = null;
    this.aim_s = LEAD_S;
    this.calmSince_ms = performance.now();
    this.hasBegun = false;
    this.begun_ms = 0;
    this.failure = "";
  }

  /** @returns {Promise<{detail: string, isFinal: boolean}>} why it ended */
  async run() {
    if (!Source) return { detail: "This browser has no Media Source Extensions.", isFinal: true };
    const signal = this.abort.signal;
    try {
      const response = await fetch(this.url, { cache: "no-store", signal });
      if (!response.ok) return { detail: (await problemOf(response)).message, isFinal: false };
      const reader = response.body.getReader();
      const { init, rest } = await readInit(reader);
      const { mime, codecs } = contentOf(init);
      if (!Source.isTypeSupported(mime))
        return { detail: `This browser does not play ${codecs.join(" with ")}.`, isFinal: true };
      await this.open(mime);
      this.append(init);
      if (rest.length) this.append(rest);
      for (;;) {
        const silence = setTimeout(() => this.fail("Nothing has come for long."), SILENT_MS);
        const { done, value } = await reader.read().finally(() => clearTimeout(silence));
        if (this.failure) return { detail: this.failure, isFinal: false };
        if (done) return { detail: "The stream has ended, or changes its codecs.", isFinal: false };
        this.append(value);
      }
    } catch (error) {
      if (this.failure || error instanceof Unreadable) return { detail: this.failure || error.message, isFinal: false };
      return { detail: "The connection was lost.", isFinal: false };
    }
  }

  async open(mime) {
    const source = await attach(this.video, this.abort.signal);
    this.buffer = source.addSourceBuffer(mime);
    this.buffer.addEventListener("updateend", () => this.onUpdated());
    const signal = this.abort.signal;
    this.video.addEventListener("waiting", () => this.onStall(), { signal });
    this.video.addEventListener(
      "error",
      () => this.fail(this.video.error?.message || "The picture cannot be decoded."),
      { signal },
    );
  }

  append(data) {
    this.queue.push(data);
    this.pump();
  }

  pump() {
    if (!this.buffer || this.buffer.updating || !this.queue.length || this.video.error) return;
    const data = joined(this.queue);
    this.queue = [];
    try {
      this.buffer.appendBuffer(data);
    } catch (error) {
      // Full, though what is old is cut as it plays: the picture has stood still for long; none of it is wanted.
      if (error.name === "QuotaExceededError") this.fail("The browser's buffer is full.");
      else this.fail(error.message);
    }
  }

  get played_ms() {
    return this.hasBegun ? performance.now() - this.begun_ms : 0;
  }

  onUpdated() {
    if (this.abort.signal.aborted) return;
    if (this.queue.length) this.pump();
    if (this.buffer.updating) return;
    const ranges = this.video.buffered;
    if (!ranges.length) return;
    const end_s = ranges.end(ranges.length - 1);
    if (!this.hasBegun) this.begin(end_s, ranges.start(ranges.length - 1));
    this.hold(end_s, ranges.start(ranges.length - 1));
    const now_s = this.video.currentTime;
    if (now_s - ranges.start(0) > KEPT_S) this.buffer.remove(0, now_s - KEPT_AFTER_CUT_S);
  }

  begin(end_s, start_s) {
    this.hasBegun = true;
    this.begun_ms = performance.now();
    this.video.currentTime = Math.max(start_s, end_s - this.aim_s);
    // Refused while a page may not play by itself; whoever looks at it presses play, and is then at the live edge.
    this.video.play().catch(() => {});
    this.onPlaying();
  }

  /** Keep the picture close behind what has come, and inside the last run of it. */
  hold(end_s, start_s) {
    const lead_s = end_s - this.video.currentTime;
    if (performance.now() - this.calmSince_ms > CALM_MS) this.move(-STALL_STEP_S);
    if (lead_s > BEHIND_S || lead_s < 0 || this.video.currentTime < start_s) {
      this.video.currentTime = Math.max(start_s, end_s - this.aim_s);
      this.video.playbackRate = 1;
    } else if (lead_s > this.aim_s + SLACK_S) {
      this.video.playbackRate = lead_s > this.aim_s + MUCH_S ? MUCH_FASTER : FASTER;
    } else if (lead_s <= this.aim_s) {
      this.video.playbackRate = 1;
    }
  }

  onStall() {
    if (this.played_ms > SETTLING_MS && !this.video.seeking) this.move(STALL_STEP_S);
  }

  move(by_s) {
    this.aim_s = Math.min(LONGEST_LEAD_S, Math.max(LEAD_S, this.aim_s + by_s));
    this.calmSince_ms = performance.now();
  }

  lead() {
    const ranges = this.video.buffered;
    return ranges.length ? ranges.end(ranges.length - 1) - this.video.currentTime : 0;
  }

  fail(detail) {
    this.failure ||= detail;
    this.abort.abort();
  }

  close() {
    this.abort.abort();
  }
}

class Unreadable extends Error {}

async function readInit(reader) {
  let data = new Uint8Array();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Unreadable("The stream ended before its first picture.");
    data = joined([data, value]);
    const init = initSection(data);
    if (init) return { init, rest: data.subarray(init.length) };
    if (data.length > LONGEST_INIT_BYTES) throw new Unreadable("This is no fragmented MP4.");
  }
}

function joined(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const each of pieces) {
    whole.set(each, at);
    at += each.length;
  }
  return whole;
}
