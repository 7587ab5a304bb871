// What happens, as it happens: the server's log from level info on.

import { button, h, relabel, sync, write } from "./dom.js";
import { store } from "./store.js";
import { count, time } from "./words.js";

const MOST_SHOWN = 300;
const ABOUT_ITSELF = new Set(["at", "event", "level", "id", "name"]);

export const lists = [];
export const polled = {};

/** The view of events. */
export function mount(main) {
  let held = null; // what is shown while it is held
  const summary = h("p.dim");
  const search = h("input", {
    type: "search",
    placeholder: "Filter: a word, or -word for all others",
    "aria-label": "Filter events",
    oninput: () => update(),
  });
  const level = h(
    "select",
    { "aria-label": "Which levels", onchange: () => update() },
    [
      ["", "All levels"],
      ["warning", "Warnings and errors"],
    ].map(([value, label]) => h("option", { value }, label)),
  );
  const hold = button("Hold", "stop", () => {
    held = held ? null : [...store.events];
    relabel(hold, held ? "Go on" : "Hold", held ? "play" : "stop");
    update();
  });
  const list = h("ol.events");
  const none = h("p.dim");
  main.append(
    h(
      "header.view",
      {},
      h("div", {}, h("h1", { tabindex: -1 }, "Events"), summary),
      h("div.tools", {}, search, level, hold),
    ),
    none,
    list,
  );

  function update() {
    const events = held ?? store.events;
    const matches = matcher(search.value, level.value);
    const found = events.filter(matches).slice(-MOST_SHOWN).reverse();
    write(summary, `${count(events.length, "event")}${held ? ", held" : ""}`);
    write(none, found.length ? "" : "Nothing that fits has happened lately.");
    sync(list, found, (event) => event.id, make);
  }

  return { update: (name) => (name === undefined || name === "events") && update(), remove: () => {} };
}

function matcher(text, level) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (event) => {
    if (level && event.level !== "warning" && event.level !== "error") return false;
    const whole = Object.entries(event)
      .map(([key, value]) => `${key}=${inWords(value)}`)
      .join(" ")
      .toLowerCase();
    return words.every((word) =>
      word.length > 1 && word[0] === "-" ? !whole.includes(word.slice(1)) : whole.includes(word),
    );
  };
}

function make(event) {
  const values = Object.entries(event).filter(
    ([key, value]) => !ABOUT_ITSELF.has(key) && value !== null && value !== "",
  );
  const node = h(
    "li",
    { class: event.level },
    h("time.dim", {}, event.at ? time(event.at) : ""),
    h("strong", {}, event.event ?? `${event.count} events were lost`),
    h(
      "span.values",
      {},
      values.map(([key, value]) => h("span", {}, h("i", {}, `${key} `), inWords(value))),
    ),
  );
  return { node, update: () => {} };
}

const inWords = (value) => (Array.isArray(value) ? value.join(", ") : String(value));
