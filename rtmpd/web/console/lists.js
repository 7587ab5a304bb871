// Clients, relays and callbacks: a table each.

import { api } from "./api.js";
import { ask, button, empty, h, show, table, tell, twoLines, write } from "./dom.js";
import { refresh, store } from "./store.js";
import { bytes, count, date, kind, media, since, time } from "./words.js";

const CALLBACKS = {
  0: "publishing ended",
  1: "publishing began",
  100: "file recorded",
  321: "publisher abnormal",
  332: "recording changed",
  341: "recording abnormal",
  1001: "relay changed",
};

const MOST_ROWS = 200; // more are found by filtering; a browser would be busy with nothing else

/** What a table of clients has; in the view of a stream without the stream, and with what matters for it alone. */
export function columnsOfClients({ withStream }) {
  return [
    { title: "Client", text: (each) => String(each.client_id) },
    { title: "Does", text: (each) => ({ publish: "publishes", play: "plays", "-": "nothing yet" })[each.role] },
    { title: "By", text: (each) => kind(each.kind) },
    withStream && { title: "Stream", kind: "wide", text: (each) => each.stream || "–" },
    { title: "Address", text: (each) => each.address },
    { title: "For", kind: "number", text: (each) => since(each.connected_at) },
    withStream && { title: "In", kind: "number", text: (each) => bytes(each.bytes_in) },
    withStream && { title: "Out", kind: "number", text: (each) => bytes(each.bytes_out) },
    !withStream && {
      title: "Media",
      kind: "number",
      text: (each) => bytes(each.role === "publish" ? each.bytes_in : each.bytes_out),
    },
    { title: "Behind", kind: "number", text: (each) => media(each.lag_ms) },
    { title: "Skipped", kind: "number", text: (each) => media(each.skipped_ms) },
    { title: "Actions", kind: "end", make: kickButton },
  ].filter(Boolean);
}

/** As many of a list as a table shows. */
export const firstOf = (items) => items.slice(0, MOST_ROWS);

function kickButton(client) {
  const act = async () => {
    await api("DELETE", `clients/${client.client_id}`);
    tell(`Client ${client.client_id} was disconnected.`, "good");
    await refresh("clients");
  };
  const content = [h("p", {}, `From ${client.address}. It may come back, if it is let in again.`)];
  const question = () => ask(`Disconnect client ${client.client_id}?`, "Disconnect", act, { content, danger: true });
  return button(`Disconnect client ${client.client_id}`, "cut", question, { kind: "quiet", bare: true });
}

/**
 * Make a view that is a heading, a line in short, and a table.
 *
 * @param {object} what
 * @param {string} what.title
 * @param {object[]} what.columns
 * @param {(item: object) => string} what.keyOf
 * @param {() => object[]} what.items
 * @param {(items: object[]) => string} what.inShort
 * @param {(Node|string)[]} what.none said where there are none
 * @param {() => HTMLElement} [what.tool] beside the filter
 */
function listing({ title, columns, keyOf, items, inShort, none, tool }) {
  return (main) => {
    const summary = h("p.dim");
    const rest = h("p.dim.below");
    const search = h("input", {
      type: "search",
      placeholder: "Filter",
      "aria-label": `Filter ${title.toLowerCase()}`,
      oninput: () => update(),
    });
    const made = table(title, columns, keyOf);
    made.node.classList.add("as-cards");
    const nothing = empty(...none);
    const heading = h("div", {}, h("h1", { tabindex: -1 }, title), summary);
    main.append(h("header.view", {}, heading, h("div.tools", {}, search, tool?.())), nothing, made.node, rest);
    const update = () => {
      const all = items();
      const wanted = search.value.trim().toLowerCase();
      const found = wanted ? all.filter((each) => Object.values(each).join(" ").toLowerCase().includes(wanted)) : all;
      const shown = firstOf(found);
      write(summary, inShort(all));
      write(
        rest,
        shown.length < found.length ? `${shown.length} of ${found.length} are shown; a filter finds the others.` : "",
      );
      show(search, all.length > 0);
      show(nothing, !all.length);
      show(made.node, shown.length > 0);
      made.update(shown);
    };
    return { update, remove: () => made.update([]) };
  };
}

/** What keeps a relay from its place; of a pull that is live, what kept it from the sources before this one. */
const whyNot = (each) => (each.reason && each.state === "live" ? `Not in use: ${each.reason}` : each.reason);

const withRole = (clientsFound, role) => clientsFound.filter((each) => each.role === role).length;

export const clients = {
  lists: ["clients"],
  polled: { clients: 2000 },
  mount: listing({
    title: "Clients",
    columns: columnsOfClients({ withStream: true }),
    keyOf: (each) => String(each.client_id),
    items: () => store.clients,
    inShort: (all) => `${count(withRole(all, "publish"), "publisher")}, ${count(withRole(all, "play"), "player")}`,
    none: ["Nobody is connected", h("p", {}, "Whoever publishes or plays is listed here.")],
  }),
};

export const relays = {
  lists: ["relays"],
  polled: { relays: 2000 },
  mount: listing({
    title: "Relays",
    columns: [
      { title: "State", text: (each) => each.state.replace("_", " ") },
      {
        title: "Stream",
        kind: "wide",
        make: twoLines(
          (each) => each.stream,
          (each) => ({ push: "to another server", pull: "from another server" })[each.kind],
        ),
      },
      {
        title: "Other end",
        kind: "wide",
        make: twoLines(
          (each) => each.url || "–",
          whyNot,
        ),
      },
      { title: "For", kind: "number", text: (each) => since(each.since) },
      { title: "Tries", kind: "number", text: (each) => String(each.attempts) },
      { title: "Media", kind: "number", text: (each) => bytes(each.bytes) },
      { title: "Behind", kind: "number", text: (each) => media(each.lag_ms) },
      { title: "Skipped", kind: "number", text: (each) => media(each.skipped_ms) },
    ],
    keyOf: (each) => `${each.kind} ${each.stream} ${each.target_id ?? each.url}`,
    items: () => store.relays,
    inShort: (all) => (all.length ? `${all.filter((each) => each.state === "live").length} of ${all.length} live` : ""),
    none: [
      "No relay",
      h("p", {}, "A stream that is pushed can be sent on to other servers: open it, and add a target."),
    ],
  }),
};

export const callbacks = {
  lists: ["callbacks"],
  polled: {},
  mount: listing({
    title: "Callbacks",
    columns: [
      { title: "State", text: (each) => ({ pending: "to be delivered", dead: "given up" })[each.state] },
      {
        title: "About",
        kind: "wide",
        make: twoLines(
          (each) => CALLBACKS[each.event_type] ?? `event ${each.event_type}`,
          (each) => each.stream,
        ),
      },
      {
        title: "Receiver",
        kind: "wide",
        make: twoLines(
          (each) => each.url,
          (each) => each.last_error,
        ),
      },
      { title: "Since", text: (each) => date(each.created_at) },
      { title: "Tries", kind: "number", text: (each) => String(each.attempts) },
      { title: "Next try", text: (each) => (each.next_try_at ? time(each.next_try_at) : "–") },
      { title: "Actions", kind: "end", make: callbackActions },
    ],
    keyOf: (each) => `${each.event_id} ${each.url}`,
    items: () => store.callbacks.callbacks,
    inShort: () => `${store.callbacks.pending} to be delivered, ${store.callbacks.dead} given up`,
    none: [
      "No callback is owed",
      h("p", {}, "What the receivers in callbacks.urls have not taken yet is listed here."),
    ],
    tool: callbackTools,
  }),
};

function callbackTools() {
  const choice = h(
    "select",
    {
      "aria-label": "Which callbacks",
      onchange: () => {
        store.callbacksState = choice.value;
        refresh("callbacks").catch((problem) => tell(problem.message, "bad"));
      },
    },
    [
      ["", "All"],
      ["pending", "To be delivered"],
      ["dead", "Given up"],
    ].map(([value, label]) => h("option", { value, selected: store.callbacksState === value }, label)),
  );
  return choice;
}

function callbackActions(callback) {
  const retry = async () => {
    await api("POST", `callbacks/${encodeURIComponent(callback.event_id)}/retry`);
    tell("It is delivered now, or tried again later.", "good");
    await refresh("callbacks");
  };
  return button("Deliver now", "retry", retry, { kind: "quiet", bare: true });
}
