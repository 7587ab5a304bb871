// Where a stream is published to and watched from, ready to be copied into other programs.

import { button, copy, h } from "./dom.js";
import { store } from "./store.js";

const HLS = 1;
const FLV = 2;
const RTMP = 5;
const FMP4 = 7;

const urlOf = (stream, type) => stream?.urls.find((each) => each.type === type)?.play_url;

/**
 * Say what RTMP URLs begin with: what the server answers, or told at its start; else the name that this page came from.
 *
 * @returns {string} without a slash at its end
 */
export function rtmpBase() {
  for (const stream of store.streams ?? []) {
    const url = urlOf(stream, RTMP);
    if (url?.endsWith(`/${stream.stream}`)) return url.slice(0, -stream.stream.length - 1);
  }
  const port = /:(\d+)$/.exec(store.server.rtmp ?? "")?.[1] ?? "1935";
  return `rtmp://${location.hostname}${port === "1935" ? "" : `:${port}`}`;
}

/** A text for a POSIX shell, whatever is in it. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/**
 * A line that can be copied.
 *
 * @param {string} label
 * @param {string} text
 */
export function line(label, text) {
  return h(
    "div.address",
    {},
    h("span.address-label", {}, label),
    h("code", {}, text),
    button(`Copy ${label}`, "copy", () => copy(text), { kind: "quiet", bare: true }),
  );
}

/** How to publish a stream of a name. */
export function publishHints(path) {
  const at = path.lastIndexOf("/");
  const base = rtmpBase();
  return h(
    "div.addresses",
    {},
    line("OBS server", `${base}/${path.slice(0, at)}`),
    line("OBS stream key", path.slice(at + 1)),
    line("ffmpeg", `ffmpeg -re -i video.mp4 -c copy -f flv ${quoted(`${base}/${path}`)}`),
    h("p.dim", {}, "Where the application asks for a key, it follows the stream's name: ", h("code", {}, "?key=…")),
  );
}

/** How to watch a stream; nothing for one that is private. */
export function watchHints(stream) {
  const [rtmp, hls, flv, mp4] = [RTMP, HLS, FLV, FMP4].map((type) => urlOf(stream, type));
  const lines = [
    rtmp && line("VLC, RTMP", rtmp),
    rtmp && line("ffplay", `ffplay -fflags nobuffer ${quoted(rtmp)}`),
    hls && line("HLS", hls),
    flv && line("HTTP-FLV", flv),
    mp4 && line("Live MP4", mp4),
  ].filter(Boolean);
  return h(
    "div.addresses",
    {},
    lines.length ? lines : h("p.dim", {}, "Private: start a push, and its addresses are here."),
  );
}
