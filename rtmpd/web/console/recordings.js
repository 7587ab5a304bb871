// Files of recordings: found, played in the page, downloaded, deleted.

import { api, encoded } from "./api.js";
import { ask, button, chip, copy, empty, h, icon, openDialog, show, table, tell, write } from "./dom.js";
import { playRecorded } from "./playback.js";
import { picture, stopPlaying } from "./preview.js";
import { announce, store } from "./store.js";
import { bytes, clock, date, track } from "./words.js";

const PAGE = 25;
const SOUND = new Set(["m4a", "mp3"]);

export const lists = ["streams"];
export const polled = {};

/**
 * The view of recordings.
 *
 * @param {HTMLElement} main
 * @param {string} _path none
 * @param {URLSearchParams} query `stream`: only those of it
 */
export function mount(main, _path, query) {
  let offset = 0;
  let asked = 0;
  let isThere = false;
  const known = h("datalist", { id: "known-streams" });
  const filter = h("input", {
    type: "search",
    placeholder: "application or application/stream",
    "aria-label": "Only of this application or stream",
    list: "known-streams",
    value: query.get("stream") ?? "",
    onchange: () => turn(0),
  });
  const fault = h("p.fault", { role: "alert" });
  const files = table("Recordings", columns(), (file) => file.file_id);
  files.node.classList.add("as-cards");
  const none = empty(
    "Nothing recorded yet",
    h("p", {}, 'Record a stream from its card, or set record = "auto" for its application.'),
  );
  const where = h("span.dim");
  const newer = button("Newer", "back", () => turn(offset - PAGE));
  const older = button("Older", "next", () => turn(offset + PAGE));
  const pages = h("nav.pages", { "aria-label": "Pages" }, newer, where, older);
  main.append(
    h("header.view", {}, h("h1", { tabindex: -1 }, "Recordings"), filter, known),
    fault,
    none,
    files.node,
    pages,
  );
  show(none, false);
  show(pages, false);

  async function turn(to) {
    const number = ++asked;
    try {
      const found = (await api("GET", `recordings?${queryOf(filter.value.trim(), to)}`)).recordings;
      if (number !== asked) return; // another was asked for since
      offset = to;
      isThere = true;
      put(found);
      write(fault, "");
    } catch (problem) {
      if (number === asked) write(fault, problem.message);
    }
  }

  function put(found) {
    const shown = found.slice(0, PAGE);
    files.update(shown);
    const isEmpty = !shown.length;
    show(none, isEmpty && !filter.value.trim() && !offset);
    show(files.node, !isEmpty);
    write(where, isEmpty ? "No files." : `${offset + 1} to ${offset + shown.length}`);
    show(pages, found.length > PAGE || offset > 0 || (isEmpty && !none.checkVisibility()));
    newer.disabled = offset === 0;
    older.disabled = found.length <= PAGE;
  }

  turn(0);
  return {
    update(name) {
      if (name === "streams")
        known.replaceChildren(...(store.streams ?? []).map((each) => h("option", { value: each.stream })));
      if (name === "recordings" && isThere) turn(offset);
    },
    remove: () => files.update([]),
  };
}

function queryOf(wanted, offset) {
  const query = new URLSearchParams({ limit: PAGE + 1, offset: Math.max(0, offset) });
  if (wanted) query.set(wanted.includes("/") ? "stream" : "app", wanted);
  return query;
}

function columns() {
  return [
    { title: "Preview", kind: "thumb", make: thumbnail },
    { title: "File", kind: "wide", make: fileName },
    { title: "Began", text: (file) => date(file.start_time) },
    { title: "Length", kind: "number", text: (file) => (file.state === "closed" ? clock(file.duration) : "–") },
    { title: "Size", kind: "number", text: (file) => (file.state === "closed" ? bytes(file.size) : "–") },
    { title: "Actions", kind: "end", make: actions },
  ];
}

const STATES = { open: "recording", closed: "complete" };

function fileName(file) {
  const name = file.path.slice(file.path.lastIndexOf("/") + 1);
  const stream = h("a", { href: `#/streams/${encoded(file.stream)}` }, file.stream);
  const state = h("span");
  const about = h("div.small", {}, stream, " ", chip(file.format.toUpperCase()), " ", state);
  const update = (now) => {
    write(state, now.fault ? `broke off: ${now.fault}` : STATES[now.state]);
    state.className = now.fault ? "fault" : "";
  };
  return { node: h("div", {}, h("div.clip", { title: file.path }, name), about), update };
}

function thumbnail(file) {
  const image = h("img", { alt: "", hidden: true });
  const node = h("div.thumbnail", {}, icon(SOUND.has(file.format) ? "sound" : "recordings"), image);
  if (SOUND.has(file.format) || file.record_type === "audio") return node;
  // Of those that are seen only: each costs the server a decoder.
  const watch = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting) return;
    watch.disconnect();
    const data = await picture(`recordings/${encodeURIComponent(file.file_id)}.jpg`);
    if (!data) return;
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    image.src = URL.createObjectURL(data);
    show(image, true);
  });
  watch.observe(node);
  return node;
}

/** Where this page has a file from: its own server, whatever name others reach that by. */
const pathOf = (file) => `recordings/${encoded(file.path)}`;

function actions(file) {
  const name = file.path.slice(file.path.lastIndexOf("/") + 1);
  const bare = { kind: "quiet", bare: true };
  const got = file.url
    ? [
        file.format === "flv" ? null : button(`Play ${name}`, "play", () => playFile(file, name), bare),
        h(
          "a.button.quiet.icon-only",
          { href: `${pathOf(file)}?download=1`, download: name, "aria-label": `Download ${name}`, title: "Download" },
          icon("download"),
        ),
        button(`Copy the address of ${name}`, "copy", () => copy(file.url), bare),
      ]
    : [];
  return h(
    "div.actions",
    {},
    got,
    button(`Delete ${name}`, "delete", () => askToDelete(file, name), bare),
  );
}

function playFile(file, name) {
  stopPlaying();
  const video = h("video", {
    controls: true,
    autoplay: true,
    playsinline: true,
    preload: "metadata",
    src: file.format === "hls" ? null : pathOf(file),
  });
  const fault = h("p.fault", { role: "alert" });
  const about = [file.stream, date(file.start_time), file.tracks.map(track).join(", ")].filter(Boolean).join(" · ");
  video.addEventListener("error", () => write(fault, "This browser cannot play the file; it can be downloaded."));
  const playback = file.format === "hls" ? playRecorded(video, pathOf(file), (detail) => write(fault, detail)) : null;
  const onClose = () => {
    playback?.stop();
    video.removeAttribute("src");
    video.load(); // ends the download
  };
  openDialog(name, [video, fault, h("p.dim", {}, about)], { kind: "player", onClose });
}

function askToDelete(file, name) {
  const act = async () => {
    await api("DELETE", `recordings/${encodeURIComponent(file.file_id)}`);
    tell(`${name} was deleted.`, "good");
    announce("recordings");
  };
  ask("Delete the recording?", "Delete", act, {
    content: [h("p.breaks", {}, file.path), h("p.dim", {}, "It is removed from the disk, for good.")],
    danger: true,
  });
}
