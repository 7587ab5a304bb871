// A stream's picture: a thumbnail that is kept fresh while it is seen, and the live player in its place when asked for.

import { encoded } from "./api.js";
import { button, h, icon, relabel, show, write } from "./dom.js";
import { play } from "./player.js";
import { sentence } from "./words.js";

const FRESH_MS = 5000;
const MOST_PAUSE_MS = 60_000; // between tries, where there is no picture: a codec that nobody here decodes

// One at a time: each holds a connection, of which browsers make six to a server, and the page needs its others.
let playing = null;

/** Stop what plays, as something else is to. */
export const stopPlaying = () => playing?.stop();

/** Stop what plays until the page is seen again. */
export const pausePlaying = () => playing?.pause();

/**
 * Show a stream.
 *
 * @param {object} [options]
 * @param {boolean} [options.startsPlaying] as soon as it can
 * @returns {{node: HTMLElement, update: (stream: object) => void, pause: () => void, remove: () => void}}
 */
export function preview({ startsPlaying = false } = {}) {
  return new Preview(startsPlaying);
}

class Preview {
  constructor(startsPlaying) {
    this.wantsToPlay = startsPlaying;
    this.stream = null;
    this.player = null;
    this.thumbnail = new Thumbnail();
    this.video = h("video", { playsinline: true, hidden: true });
    this.video.muted = true;
    this.message = h("p.preview-message", { role: "status" });
    this.start = button("Play live", "play", () => this.play(), { kind: "preview-start", bare: true });
    this.sound = button("Unmute", "muted", () => this.toggleSound(), { bare: true });
    this.window = button("Picture in picture", "pip", () => this.video.requestPictureInPicture(), { bare: true });
    this.full = button("Full screen", "full", () => this.toggleFull(), { bare: true });
    this.end = button("Stop playing", "stop", () => this.stop(), { bare: true });
    this.controls = h(
      "div.preview-controls",
      { hidden: true },
      this.end,
      this.sound,
      h("span.grow"),
      this.window,
      this.full,
    );
    this.badges = h("div.preview-badges");
    this.node = h(
      "div.preview",
      {},
      this.thumbnail.node,
      this.video,
      this.message,
      this.badges,
      this.start,
      this.controls,
    );
    show(this.window, Boolean(document.pictureInPictureEnabled));
  }

  update(stream) {
    this.stream = stream;
    if (stream.state === "idle") this.pause(); // or it would itself be the one who keeps the stream waiting
    const hasPicture = stream.tracks.some((each) => each.kind === "video");
    this.isPlayable = stream.public && stream.state === "live";
    this.thumbnail.update(hasPicture && stream.state === "live" ? stream.stream : "");
    show(this.start, this.isPlayable && !this.player);
    if (!this.player) write(this.message, this.reason(stream, hasPicture));
    this.start.ariaLabel = `Play ${stream.stream} live`;
    if (this.wantsToPlay && this.isPlayable && !document.hidden) this.play();
  }

  reason(stream, hasPicture) {
    if (stream.state === "idle") return "Players wait for a publisher.";
    if (stream.state === "grace") return "The publisher was lost; its players are kept for a while.";
    if (!stream.public) return "Private: it can be watched once a push is started.";
    return hasPicture || !stream.tracks.length ? "" : "Sound only";
  }

  play() {
    this.wantsToPlay = false;
    if (this.player || !this.stream) return;
    stopPlaying();
    playing = this;
    show(this.video, true);
    show(this.start, false);
    show(this.controls, true);
    this.node.classList.add("plays");
    this.player = play(this.video, `${encoded(this.stream.stream)}.mp4`, { onState: (state) => this.tellState(state) });
    if (this.node.contains(document.activeElement)) this.end.focus();
  }

  tellState({ name, detail }) {
    const words = {
      connecting: "Connecting…",
      waiting: `${sentence(detail)} Trying again…`,
      unsupported: detail,
      playing: "",
    };
    this.node.classList.toggle("shows-picture", name === "playing");
    write(this.message, words[name]);
  }

  stop() {
    if (!this.player) return;
    if (document.pictureInPictureElement === this.video) document.exitPictureInPicture();
    const hadFocus = this.controls.contains(document.activeElement);
    this.player.stop();
    this.player = null;
    if (playing === this) playing = null;
    this.video.muted = true;
    relabel(this.sound, "Unmute", "muted");
    show(this.video, false);
    show(this.controls, false);
    this.node.classList.remove("plays", "shows-picture");
    this.update(this.stream);
    if (hadFocus) this.start.focus();
  }

  /** Stop until the stream is live, and the page seen. */
  pause() {
    if (!this.player) return;
    this.stop();
    this.wantsToPlay = true;
  }

  toggleSound() {
    this.video.muted = !this.video.muted;
    relabel(this.sound, this.video.muted ? "Unmute" : "Mute", this.video.muted ? "muted" : "sound");
  }

  toggleFull() {
    if (document.fullscreenElement) return document.exitFullscreen();
    // A telephone that has no full screen for elements has one for videos.
    return this.node.requestFullscreen ? this.node.requestFullscreen() : this.video.webkitEnterFullscreen();
  }

  remove() {
    this.wantsToPlay = false;
    this.stop();
    this.thumbnail.remove();
  }
}

/** The last key frame of a stream. */
class Thumbnail {
  constructor() {
    this.image = h("img", { alt: "", hidden: true });
    this.node = h("div.thumbnail", {}, icon("streams"), this.image);
    this.path = "";
    this.object = "";
    this.timer = 0;
    this.isSeen = false;
    this.pause_ms = FRESH_MS;
    this.watch = new IntersectionObserver(([entry]) => {
      this.isSeen = entry.isIntersecting;
      this.fetch();
    });
    this.watch.observe(this.node);
    this.onVisible = () => this.fetch();
    document.addEventListener("visibilitychange", this.onVisible);
  }

  update(path) {
    if (path === this.path) return;
    this.path = path;
    this.pause_ms = FRESH_MS;
    clearTimeout(this.timer);
    this.timer = 0;
    this.fetch();
  }

  async fetch() {
    if (!this.path || !this.isSeen || document.hidden || this.timer) return;
    const path = this.path;
    this.timer = -1; // on its way
    const data = await picture(`${encoded(path)}.jpg`);
    if (path !== this.path) return;
    if (data) this.put(data);
    this.pause_ms = data ? FRESH_MS : Math.min(2 * this.pause_ms, MOST_PAUSE_MS);
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.fetch();
    }, this.pause_ms);
  }

  put(data) {
    const before = this.object;
    this.object = URL.createObjectURL(data);
    this.image.src = this.object;
    show(this.image, true);
    if (before) URL.revokeObjectURL(before);
  }

  remove() {
    this.path = "";
    clearTimeout(this.timer);
    this.watch.disconnect();
    document.removeEventListener("visibilitychange", this.onVisible);
    if (this.object) URL.revokeObjectURL(this.object);
  }
}

/**
 * Fetch a picture.
 *
 * @param {string} path relative to the page
 * @returns {Promise<Blob|null>} null where there is none
 */
export async function picture(path) {
  try {
    const response = await fetch(path, { cache: "no-cache" });
    return response.ok ? await response.blob() : null;
  } catch {
    return null;
  }
}
