// Values as people read them.

/** 1500 → "1.5 KB", as `rtmpd ctl` shows it. */
export function bytes(count) {
  let value = count;
  let unit = "B";
  for (const next of ["KB", "MB", "GB", "TB"]) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return `${unit === "B" || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}

/** 2_100_000 → "2.10 Mbit/s" */
export function bitRate(bitsPerS) {
  if (bitsPerS >= 1e9) return `${(bitsPerS / 1e9).toFixed(2)} Gbit/s`;
  if (bitsPerS >= 1e6) return `${(bitsPerS / 1e6).toFixed(2)} Mbit/s`;
  return `${Math.round(bitsPerS / 1e3)} kbit/s`;
}

/** 3725 → "1:02:05" */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((each) => String(each).padStart(2, "0"));
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${parts.join(":")}` : parts.join(":").replace(/^0/, "");
}

/** 3725 → "1 h 2 min": for what is read at a glance. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor(whole / 3600) % 24} h`;
}

/** How long something has been, from unix seconds. */
export const since = (unixS) => span(Date.now() / 1000 - unixS);

/** Milliseconds of media: 230 → "230 ms", 4200 → "4.2 s" */
export const media = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const TIME = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});

/** Unix seconds as date and time. */
export const date = (unixS) => (unixS == null ? "–" : DATE.format(new Date(unixS * 1000)));

/** Unix seconds as a time of the day. */
export const time = (unixS) => TIME.format(new Date(unixS * 1000));

/** "1 player", "2 players" */
export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** What a program said, as a sentence between others. */
export const sentence = (text) => `${text[0]?.toUpperCase() ?? ""}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;

// The API names codecs by their FourCC; people know them by these.
const CODECS = {
  avc1: "H.264",
  hvc1: "H.265",
  vvc1: "H.266",
  av01: "AV1",
  vp08: "VP8",
  vp09: "VP9",
  mp4a: "AAC",
  ".mp3": "MP3",
  "ac-3": "AC-3",
  "ec-3": "E-AC-3",
  fLaC: "FLAC",
};

/** A track in a line: "H.264 1280×720", "AAC 48 kHz stereo". */
export function track(each) {
  const words = [CODECS[each.codec] ?? each.codec];
  if (each.width) words.push(`${each.width}×${each.height}`);
  if (each.sample_rate) words.push(`${Number((each.sample_rate / 1000).toFixed(2))} kHz`);
  if (each.channels)
    words.push({ 1: "mono", 2: "stereo", 6: "5.1", 8: "7.1" }[each.channels] ?? `${each.channels} channels`);
  return words.join(" ");
}

export const KINDS = {
  rtmp: "RTMP",
  rtmps: "RTMPS",
  "http-flv": "HTTP-FLV",
  "ws-flv": "WebSocket-FLV",
  mp4: "live MP4",
  hls: "HLS",
};

/** A kind of client as people know it. */
export const kind = (name) => KINDS[name] ?? name ?? "RTMP";
