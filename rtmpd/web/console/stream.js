// One stream: its picture, its curves, who watches it, what is done with it.

import { api, encoded } from "./api.js";
import { publishHints, rtmpBase, watchHints } from "./addresses.js";
import { columnsOfClients, firstOf } from "./lists.js";
import { curve } from "./curves.js";
import { ask, button, chip, empty, h, icon, relabel, show, sync, table, tell, write } from "./dom.js";
import { preview } from "./preview.js";
import { draw, refresh, store, viewersOf } from "./store.js";
import { askToRecord, badges, stopRecord, togglePush } from "./streams.js";
import { bitRate, bytes, kind, media, since, track } from "./words.js";

export const lists = ["streams", "records", "pushes", "clients", "relays"];
export const polled = { streams: 1000, clients: 3000, relays: 3000 };

/**
 * The view of a stream.
 *
 * @param {HTMLElement} main
 * @param {string} path of the stream
 */
export function mount(main, path) {
  const parts = [head(path), facts(path), recordings(path), push(path), audience(path)];
  const [heading, about, recorded, pushed, watched] = parts;
  const picture = preview({ startsPlaying: true });
  const rates = curve("Bit rate", bitRate);
  const frames = curve("Frames", (value) => `${value.toFixed(value < 10 ? 1 : 0)} fps`);
  const addresses = h("section.panel");
  const publish = h("div");
  const gone = empty(
    "Nobody publishes this stream",
    h("p", {}, "The page goes on by itself when it is back."),
    publish,
  );
  const body = h(
    "div.stream",
    {},
    h("div.stream-main", {}, picture.node, h("div.charts", {}, rates.node, frames.node), watched.node),
    h("div.stream-side", {}, about.node, recorded.node, pushed.node, addresses),
  );
  main.append(heading.node, gone, body);
  let shown = null; // what the addresses were made of

  function update() {
    if (!store.streams) return;
    const stream = store.streams.find((each) => each.stream === path);
    show(gone, !stream);
    show(body, Boolean(stream));
    heading.update(stream);
    updateAddresses(stream);
    if (!stream) return picture.pause();
    picture.update(stream);
    badges(picture.badges, stream);
    draw(path, rates, frames);
    show(frames.node, stream.frames_per_s !== undefined && stream.tracks.some((each) => each.kind === "video"));
    for (const each of parts.slice(1)) each.update(stream);
  }

  function updateAddresses(stream) {
    const wanted = JSON.stringify([rtmpBase(), stream?.urls]);
    if (wanted === shown) return;
    shown = wanted;
    publish.replaceChildren(publishHints(path));
    if (!stream) return;
    addresses.replaceChildren(h("h2", {}, "Watch"), watchHints(stream), h("h2", {}, "Publish"), publishHints(path));
  }

  return { update, remove: () => picture.remove() };
}

function head(path) {
  let stream = null;
  const record = button("Record", "record", () => askToRecord(stream));
  const toggle = button("Start push", "push", () => togglePush(stream));
  const cut = button("Disconnect", "cut", () => askToDisconnect(path), {
    kind: "danger",
    title: "Disconnect the publisher",
  });
  const actions = h("div.actions", {}, record, toggle, cut);
  const back = h("a.back", { href: "#/streams", "aria-label": "All streams" }, icon("back"));
  const node = h("header.view", {}, h("div.with-back", {}, back, h("h1.breaks", { tabindex: -1 }, path)), actions);

  function update(now) {
    stream = now;
    show(record, now?.state === "live");
    show(toggle, Boolean(now?.channel_id) || now?.state === "live");
    relabel(toggle, now?.channel_id ? "Stop push" : "Start push", now?.channel_id ? "stop" : "push");
    show(cut, Boolean(now?.publisher));
  }
  return { node, update };
}

function askToDisconnect(path) {
  const act = async () => {
    await api("DELETE", `streams/${encoded(path)}`);
    tell("The publisher was disconnected.", "good");
    await refresh("streams");
  };
  ask("Disconnect the publisher?", "Disconnect", act, {
    content: [h("p", {}, `Who publishes ${path} is thrown out. Most encoders come back by themselves.`)],
    danger: true,
  });
}

function facts(path) {
  const list = h("dl.facts");
  const node = h("section.panel", { "aria-label": `About ${path}` }, list);
  const make = () => {
    const value = h("dd");
    const name = h("dt");
    return {
      node: h("div", {}, name, value),
      update: (fact) => {
        write(name, fact.name);
        write(value, fact.value);
      },
    };
  };
  return { node, update: (stream) => sync(list, factsOf(stream), (fact) => fact.name, make) };
}

function factsOf(stream) {
  const { publisher } = stream;
  const rows = stream.tracks.map((each, at) => [
    each.track_id ? `${capital(each.kind)} ${each.track_id}` : capital(each.kind) + (at > 1 ? ` ${at}` : ""),
    track(each),
  ]);
  if (publisher) {
    rows.push(
      ["Publisher", publisher.address],
      ["Publishes for", since(publisher.since)],
      ["Received", bytes(publisher.bytes_in)],
    );
  } else {
    rows.push(["Publisher", "none"]);
  }
  const kinds = viewersOf(stream).map(([name, number]) => `${number} ${kind(name)}`);
  rows.push(["Players", kinds.length ? kinds.join(", ") : String(stream.players)]);
  if (stream.lag_ms !== undefined) rows.push(["Furthest behind", media(stream.lag_ms)]);
  if (stream.skipped_ms !== undefined) rows.push(["Skipped for slow players", media(stream.skipped_ms)]);
  return rows.map(([name, value]) => ({ name, value }));
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);

function recordings(path) {
  const list = h("ul.rows");
  const none = h("p.dim", {}, "Not recorded now.");
  const link = h(
    "a",
    { href: `#/recordings?stream=${encodeURIComponent(path.toWellFormed())}` },
    "Files of this stream",
  );
  const node = h("section.panel", {}, h("header", {}, h("h2", {}, "Recordings"), link), none, list);

  const make = (record) => {
    const text = h("span.grow");
    const stop = button("Stop", "stop", () => stopRecord(record.task_id));
    return {
      node: h(
        "li",
        {},
        chip(record.origin === "auto" ? "automatic" : "asked for", ""),
        text,
        record.task_id ? stop : null,
      ),
      update: (now) =>
        write(text, `${now.formats.join(", ").toUpperCase()}, ${now.state} for ${since(now.started_at)}`),
    };
  };
  const update = () => {
    const running = store.records.filter((each) => each.stream === path);
    show(none, !running.length);
    sync(list, running, (each) => each.recording_id, make);
  };
  return { node, update };
}

function push(path) {
  const state = h("p");
  const list = h("ul.rows");
  const url = h("input", {
    type: "text",
    name: "url",
    required: true,
    placeholder: "rtmp://server/app/key",
    "aria-label": "URL to relay to",
    spellcheck: "false",
    autocomplete: "off",
  });
  const add = button("Relay there", "add", () => form.requestSubmit());
  const fault = h("p.fault", { role: "alert" });
  const form = h("form.inline", { onsubmit: (event) => submit(event) }, url, add);
  const node = h("section.panel", {}, h("h2", {}, "Push and relays"), state, list, form, fault);
  let channel = null;

  async function submit(event) {
    event.preventDefault();
    try {
      await api("POST", `pushes/${encodeURIComponent(channel)}/targets`, { url: url.value.trim() });
      write(fault, "");
      url.value = "";
      await refresh("pushes");
    } catch (problem) {
      write(fault, problem.message);
    }
  }

  const make = (target) => {
    const badge = chip("");
    const reason = h("span.small.breaks");
    const remove = button(`Remove ${target.url}`, "delete", () => removeTarget(channel, target.target_id), {
      kind: "quiet",
      bare: true,
    });
    return {
      node: h("li.relay", {}, badge, h("span.breaks", {}, target.url), reason, target.target_id ? remove : null),
      update: (now) => {
        badge.className = `chip ${relayKind(now.state)}`;
        write(badge, now.state.replace("_", " "));
        write(reason, now.reason);
      },
    };
  };

  const update = (stream) => {
    const kept = store.pushes.find((each) => each.stream === path);
    channel = kept?.channel_id ?? null;
    write(state, pushInWords(stream, kept));
    const configured = store.relays.filter((each) => each.stream === path && each.kind === "push" && !each.target_id);
    const targets = [...(kept?.targets ?? []), ...configured.map((each) => ({ ...each, target_id: null }))];
    sync(list, targets, (each) => each.target_id ?? `configured ${each.url}`, make);
    show(form, Boolean(channel));
  };
  return { node, update };
}

function pushInWords(stream, kept) {
  if (!kept)
    return stream.public
      ? "Its application pushes every stream. To relay it to other servers, start a push."
      : "Private: nobody can watch it.";
  const name = kept.channel_name ? `“${kept.channel_name}”, ` : "";
  const origin = kept.mode === "auto" ? "automatic" : "asked for";
  return `${name}${origin}, ${kept.state} for ${since(kept.waiting_since ?? kept.started_at)}`;
}

async function removeTarget(channel, id) {
  await api("DELETE", `pushes/${encodeURIComponent(channel)}/targets/${encodeURIComponent(id)}`);
  await refresh("pushes");
}

/** How the state of a relay looks. */
export const relayKind = (state) => ({ live: "good", backing_off: "bad", connecting: "warn" })[state] ?? "";

function audience(path) {
  const made = table(`Clients of ${path}`, columnsOfClients({ withStream: false }), (each) => String(each.client_id));
  made.node.classList.add("as-cards");
  const node = h("section.panel", {}, h("h2", {}, "Clients"), made.node);
  return { node, update: () => made.update(firstOf(store.clients.filter((each) => each.stream === path))) };
}
