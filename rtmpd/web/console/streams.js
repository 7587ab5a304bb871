// All streams at a glance, and what can be done to one.

import { api, encoded } from "./api.js";
import { curve } from "./curves.js";
import { ask, button, chip, empty, h, relabel, show, sync, tell, write } from "./dom.js";
import { preview } from "./preview.js";
import { bitsOf, draw, refresh, store } from "./store.js";
import { bitRate, count, media, track } from "./words.js";
import { publishHints } from "./addresses.js";

export const FORMATS = [
  ["flv", "FLV"],
  ["mp4", "MP4"],
  ["hls", "HLS"],
  ["m4a", "M4A (sound)"],
  ["mp3", "MP3 (sound)"],
];
const LAG_SHOWN_MS = 1000;
const MOST_CARDS = 60;

export const lists = ["streams", "records"];
export const polled = { streams: 1000 };

/** The view of all streams. */
export function mount(main) {
  const summary = h("p.dim");
  const search = h("input", {
    type: "search",
    placeholder: "Filter by name",
    "aria-label": "Filter streams by name",
    oninput: update,
  });
  const cards = h("div.cards");
  const none = h("div");
  const rest = h("p.dim.below");
  main.append(
    h("header.view", {}, h("div", {}, h("h1", { tabindex: -1 }, "Streams"), summary), search),
    none,
    cards,
    rest,
  );
  let hint = null;

  function update() {
    const streams = store.streams;
    if (!streams) return;
    const wanted = search.value.trim().toLowerCase();
    const found = streams.filter((each) => each.stream.toLowerCase().includes(wanted));
    const shown = found.slice(0, MOST_CARDS);
    write(
      rest,
      shown.length < found.length ? `${shown.length} of ${found.length} are shown; a filter finds the others.` : "",
    );
    write(summary, inShort(streams));
    show(search, streams.length > 0);
    if (streams.length) {
      none.replaceChildren(...(shown.length ? [] : [h("p.dim", {}, `No stream's name contains “${search.value}”.`)]));
      hint = null;
    } else if (hint !== publishKey()) {
      hint = publishKey();
      none.replaceChildren(
        empty(
          "No stream yet",
          h("p", {}, "Push one from ffmpeg or OBS; it appears here at once."),
          publishHints("live/me"),
        ),
      );
    }
    sync(cards, shown, (each) => each.stream, card);
  }

  return { update, remove: () => sync(cards, [], (each) => each.stream, card) };
}

const publishKey = () => store.server.rtmp ?? "";

function inShort(streams) {
  if (!streams.length) return "Nobody publishes.";
  const live = streams.filter((each) => each.state === "live").length;
  const players = streams.reduce((sum, each) => sum + each.players, 0);
  const bits = streams.reduce((sum, each) => sum + bitsOf(each), 0);
  return `${live} live, ${count(players, "player")}, ${bitRate(bits)} in`;
}

function card() {
  const picture = preview();
  const name = h("a");
  const heading = h("h2", {}, name);
  const codecs = h("p.dim.clip");
  const rate = h("strong");
  const frames = h("span.dim");
  const line = curve("Bit rate", bitRate, { small: true });
  const recordButton = button("Record", "record", () => toggleRecord(stream));
  const pushButton = button("Start push", "push", () => togglePush(stream));
  const node = h(
    "article.card",
    {},
    picture.node,
    h(
      "div.card-body",
      {},
      heading,
      codecs,
      h("div.rates", {}, h("p", {}, rate, " ", frames), line.node),
      h("div.actions", {}, recordButton, pushButton),
    ),
  );
  let stream = null;

  function update(now) {
    stream = now;
    picture.update(now);
    write(name, now.stream);
    name.title = now.stream;
    name.href = `#/streams/${encoded(now.stream)}`;
    write(codecs, now.tracks.map(track).join(", ") || "No media yet");
    write(rate, bitRate(bitsOf(now)));
    write(frames, now.frames_per_s ? `${Math.round(now.frames_per_s)} fps` : "");
    draw(now.stream, line);
    badges(picture.badges, now);
    const isRecorded = now.recordings > 0;
    relabel(recordButton, isRecorded ? "Stop recording" : "Record", isRecorded ? "stop" : "record");
    recordButton.classList.toggle("on", isRecorded);
    show(recordButton, now.state === "live" || isRecorded);
    relabel(pushButton, now.channel_id ? "Stop push" : "Start push", now.channel_id ? "stop" : "push");
    show(pushButton, Boolean(now.channel_id) || (!now.public && now.state === "live"));
  }

  return { node, update, remove: () => picture.remove() };
}

/** What a stream's picture says in its corners. */
export function badges(node, stream) {
  const wanted = [[{ live: "Live", grace: "Reconnecting", idle: "Waiting" }[stream.state], `state ${stream.state}`]];
  if (!stream.public && stream.state !== "idle") wanted.push(["Private", ""]);
  if (stream.recordings) wanted.push(["Recording", "recording"]);
  wanted.push([count(stream.players, "player"), ""]);
  if ((stream.lag_ms ?? 0) >= LAG_SHOWN_MS) wanted.push([`${media(stream.lag_ms)} behind`, "warn"]);
  const key = JSON.stringify(wanted);
  if (node.key === key) return;
  node.key = key;
  node.replaceChildren(...wanted.map(([text, kind]) => chip(text, kind)));
}

/** Start to record, after a dialog; or stop the recordings that run. */
export async function toggleRecord(stream) {
  if (!stream.recordings) return askToRecord(stream);
  await refresh("records");
  const running = store.records.filter((each) => each.stream === stream.stream && each.task_id);
  // What the application records by itself has no task: it ends with its stream.
  if (!running.length)
    return tell('Its application records every stream (record = "auto"), so that it ends with the stream.');
  for (const each of running) await stopRecord(each.task_id);
}

/** Stop one recording, and tell what came of it. */
export async function stopRecord(taskId) {
  const stopped = await api("POST", `records/${encodeURIComponent(taskId)}/stop`);
  tell(
    stopped.state === "closed"
      ? `Recorded: ${count(stopped.files.length, "file")}.`
      : "Its files are still being closed.",
    "good",
  );
  await Promise.all([refresh("records"), refresh("streams")]);
}

/** Ask what to record a stream as. */
export function askToRecord(stream) {
  const boxes = FORMATS.map(([value, label]) => {
    const box = h("input", { type: "checkbox", name: "format", value });
    return h("label.check", {}, box, label);
  });
  const name = h("input", { type: "text", name: "file", maxlength: 200, placeholder: "optional", autocomplete: "off" });
  const act = async () => {
    const formats = boxes
      .map((each) => each.control)
      .filter((each) => each.checked)
      .map((each) => each.value);
    const started = await api("POST", "records", { stream: stream.stream, formats, file_name: name.value.trim() });
    tell(`Recording ${stream.stream} as ${started.formats.join(", ").toUpperCase()}.`, "good");
    await Promise.all([refresh("records"), refresh("streams")]);
  };
  ask(`Record ${stream.stream}`, "Start recording", act, {
    content: [
      h("fieldset", {}, h("legend", {}, "Formats"), h("div.checks", {}, boxes)),
      h("p.dim", {}, "None chosen: those of its application. It begins at the newest key frame."),
      h("label.field", {}, "Part of the files' names", name),
    ],
  });
}

/** Make a stream watchable, or end that. */
export async function togglePush(stream) {
  if (stream.channel_id) {
    const { results } = await api("POST", "pushes/stop", { channel_ids: [stream.channel_id] });
    tell(
      results[0].state === "on"
        ? "Stopped; its application pushes every stream, so it stays watchable."
        : "The push has ended.",
      "good",
    );
  } else {
    const started = await api("POST", "pushes", { stream: stream.stream, channel_name: stream.name });
    tell([`${stream.stream} can be watched.`, ...started.notes].join(" "), "good");
  }
  await Promise.all([refresh("streams"), refresh("pushes")]);
}
