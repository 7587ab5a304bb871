// Plays a recorded HLS playlist of fragmented MP4 by Media Source Extensions, while it grows, too (RFC 8216).
// The buffer holds segments in a row, around the picture; who seeks out of them begins another row.

import { answerTo, Problem } from "./api.js";
import { contentOf, startOf } from "./mp4.js";
import { readPlaylist } from "./playlist.js";
import { attach, Source } from "./source.js";

const SPAN_S = 30; // fetched in front of the picture, and kept behind it
const LEAST_SPAN_S = 1;
const RELOAD_MS = 3000;
const PAUSE_FACTOR = 10; // of how long reading took, the last two times at least: the playlist of a day has 3 MB
const RETRY_MS = 3000;
const TICK_MS = 250;
const STUCK_MS = 1500;
const EDGE_S = 0.1; // so close to the end of what is buffered a picture may stand still
const INSIDE_S = 0.01; // behind a start, as times of videos are rounded
const GAP_S = 2; // as sound and picture of a run end apart; more is what a browser short of memory threw away
const HEAD_BYTES = 1 << 16; // of a segment; the first moof is a few KB
const HLS = "application/vnd.apple.mpegurl";
const UNSUPPORTED = "This browser plays no HLS by itself. Its address works in VLC, Safari and players for pages.";

/**
 * Play a recording: by Media Source Extensions, else as the browser does by itself.
 *
 * @param {HTMLVideoElement} video its own events tell what cannot be decoded; its source is the caller's to remove
 * @param {string} url of the playlist, on this server
 * @param {(detail: string) => void} onFault told what is wrong; empty: nothing any more
 * @returns {{stop: () => void}}
 */
export function playRecorded(video, url, onFault) {
  const playback = new Playback(video, new URL(url, document.baseURI), onFault);
  playback.play();
  return { stop: () => playback.stop() };
}

class Playback {
  constructor(video, url, onFault) {
    this.video = video;
    this.url = url;
    this.onFault = onFault;
    this.fault = "";
    this.closing = new AbortController();
    this.step = new AbortController(); // aborted where another place is wanted
    this.segments = [];
    this.isComplete = false;
    this.took_ms = 0;
    this.readAgain_ms = 0;
    this.source = null;
    this.buffer = null;
    this.entered = -1; // run that the buffer is prepared for
    this.first = 0; // of the row in the buffer
    this.next = 0; // behind it
    this.mustClear = false;
    this.span_s = SPAN_S;
    this.still_s = -1; // where the picture was when it was looked at
    this.stillSince_ms = 0;
  }

  stop() {
    this.closing.abort();
    this.step.abort();
  }

  /** Go a step at a time, so that nothing is done to the buffer while something else is. */
  async play() {
    while (!this.closing.signal.aborted && !this.video.error) {
      this.step = new AbortController();
      try {
        await (this.buffer ? this.goOn() : this.open());
        this.tell("");
      } catch (problem) {
        if (this.step.signal.aborted || this.video.error) continue;
        this.tell(problem.message);
        await this.pause(RETRY_MS);
      }
    }
  }

  tell(fault) {
    if (fault !== this.fault && !this.closing.signal.aborted) this.onFault(fault);
    this.fault = fault;
  }

  async open() {
    await this.read();
    if (!this.segments.length) return this.pause(RELOAD_MS); // the first one is being recorded
    const { map } = this.segments[0];
    const mime = Source && map && contentOf(await this.bytes(map)).mime;
    if (!mime || !Source.isTypeSupported(mime)) return this.playOtherwise();
    this.source = await attach(this.video, this.closing.signal);
    this.buffer = this.source.addSourceBuffer(mime);
    this.tellLength();
    const { signal } = this.closing;
    for (const name of ["seeking", "waiting"]) this.video.addEventListener(name, () => this.settle(), { signal });
  }

  playOtherwise() {
    if (this.video.canPlayType(HLS)) this.video.src = this.url;
    else this.tell(UNSUPPORTED);
    this.stop();
  }

  async goOn() {
    if (!this.isComplete && performance.now() >= this.readAgain_ms) await this.read();
    if (this.mustClear) {
      this.mustClear = false;
      await this.change(() => this.buffer.remove(0, Infinity));
    }
    const segment = this.segments[this.next];
    if (segment && segment.start_s < this.video.currentTime + this.span_s) {
      await this.cut();
      await this.load(segment);
      this.settle();
      return;
    }
    if (!segment && this.isComplete && this.source.readyState === "open") this.source.endOfStream();
    this.settle();
    await this.pause(TICK_MS);
  }

  async read() {
    const asked_ms = performance.now();
    const response = await answerTo(this.url, { cache: "no-cache", signal: this.step.signal });
    Object.assign(this, readPlaylist(await response.text()));
    const now_ms = performance.now();
    const took_ms = now_ms - asked_ms;
    this.readAgain_ms = now_ms + Math.max(RELOAD_MS, PAUSE_FACTOR * Math.min(took_ms, this.took_ms));
    this.took_ms = took_ms;
    this.tellLength();
  }

  tellLength() {
    const length_s = this.segments.at(-1)?.end_s;
    if (this.buffer && !(this.source.duration >= length_s)) this.source.duration = length_s;
  }

  async load(segment) {
    if (this.entered !== segment.run) await this.enter(segment);
    const { signal } = this.step;
    await this.append(await this.bytes(segment.uri));
    if (!signal.aborted) this.next++;
  }

  /** Have the buffer take another run, where the playlist has it: timestamps may leap between two. */
  async enter({ run, map }) {
    const first = this.segments[run];
    const range = { Range: `bytes=0-${HEAD_BYTES - 1}` };
    const [init, head] = await Promise.all([this.bytes(map), this.bytes(first.uri, range)]);
    const { mime, codecs } = contentOf(init);
    if (!Source.isTypeSupported(mime)) throw new Problem(0, `This browser does not play ${codecs.join(" with ")}.`);
    this.entered = -1; // until all is done
    this.buffer.changeType(mime);
    this.buffer.timestampOffset = first.start_s - startOf(init, head);
    await this.append(init);
    this.entered = run;
  }

  async bytes(uri, headers = {}) {
    const response = await answerTo(new URL(uri, this.url), { headers, signal: this.step.signal });
    return new Uint8Array(await response.arrayBuffer());
  }

  async append(data) {
    try {
      await this.change(() => this.buffer.appendBuffer(data));
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      // It is fetched again, from the browser's cache, when it is wanted with the smaller span.
      this.span_s = Math.max(LEAST_SPAN_S, this.span_s / 2);
      if (this.span_s === LEAST_SPAN_S) throw new Problem(0, "The browser's buffer is too small for the recording.");
      this.step.abort();
      throw error;
    }
  }

  /** Change the buffer, and wait until it has changed. */
  async change(begin) {
    const changed = new Promise((resolve) => this.buffer.addEventListener("updateend", resolve, { once: true }));
    begin();
    await changed;
  }

  /** Drop what is far behind the picture. */
  async cut() {
    const index = this.indexAt(this.video.currentTime - this.span_s);
    if (index <= this.first) return;
    this.first = index;
    // Not up to where the segment begins: by a rounded time more, its key frame would go, and it all with that.
    await this.change(() => this.buffer.remove(0, this.segments[index].start_s - EDGE_S));
  }

  indexAt(time_s) {
    const behind = this.segments.findIndex((each) => each.end_s > time_s);
    return behind < 0 ? this.segments.length - 1 : behind;
  }

  /** See to it that there is something where the picture is to be. */
  settle() {
    const now_s = this.video.currentTime;
    const index = this.indexAt(now_s);
    if (index < this.first || index > this.next) this.begin(index);
    else if (index < this.next && this.video.readyState <= HTMLMediaElement.HAVE_CURRENT_DATA) this.free(now_s, index);
  }

  begin(index) {
    this.first = this.next = index;
    this.mustClear = true;
    this.step.abort();
  }

  /** Move a picture on that stands in what is loaded. */
  free(now_s, index) {
    const range = rangesOf(this.buffer).find((each) => each.end_s - EDGE_S > now_s);
    if (!range) return;
    const gap_s = range.start_s - now_s;
    if (gap_s > GAP_S && index > this.first) this.begin(index);
    else if (gap_s > 0) this.video.currentTime = range.start_s + INSIDE_S;
    else if (this.isStuck(now_s)) this.video.currentTime = now_s + INSIDE_S;
  }

  /** Whether a picture stands for long: Chromium's does, 3 s behind a gap that had sound, until it is pushed. */
  isStuck(now_s) {
    const now_ms = performance.now();
    if (now_s !== this.still_s || this.video.paused || this.video.seeking) {
      this.still_s = now_s;
      this.stillSince_ms = now_ms;
    }
    return now_ms - this.stillSince_ms > STUCK_MS;
  }

  pause(ms) {
    return new Promise((resolve) => {
      setTimeout(resolve, ms);
      this.step.signal.addEventListener("abort", resolve);
    });
  }
}

const rangesOf = ({ buffered }) =>
  Array.from(buffered, (_, at) => ({ start_s: buffered.start(at), end_s: buffered.end(at) }));
