// Making and updating elements. Data becomes text and attributes, never markup; the page's policy would refuse it, too.

/**
 * Make an element.
 *
 * @param {string} tag its name, with classes: "div.card.live"
 * @param {object} [attributes] by name; a function is a listener ("onclick"), false and null leave one out
 * @param {...(Node|string|null)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((each) => each != null && each !== false));
  return element;
}

/** Make an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A picture of the page's own set, by the name of its symbol. */
export const icon = (name) => svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

/**
 * Make a button.
 *
 * @param {string} label what it does; hidden where `quiet` has an icon alone
 * @param {string|null} picture name of an icon
 * @param {(event: Event) => void|Promise<void>} act a promise disables the button until settled; its failure is told
 * @param {object} [options]
 * @param {string} [options.kind] classes
 * @param {boolean} [options.bare] the icon alone
 */
export function button(label, picture, act, { kind = "", bare = false, title = null } = {}) {
  const element = h("button", {
    type: "button",
    class: `${kind} ${bare ? "icon-only" : ""}`.trim(),
    "aria-label": bare ? label : null,
    title: title ?? (bare ? label : null),
    onclick: (event) => busy(element, () => act(event)),
  });
  if (picture) element.append(icon(picture));
  if (!bare) element.append(h("span", {}, label));
  return element;
}

async function busy(element, act) {
  if (element.ariaBusy === "true") return;
  element.ariaBusy = "true";
  try {
    await act();
  } catch (problem) {
    tell(problem.message, "bad");
  } finally {
    element.ariaBusy = null;
  }
}

/** Change a button's label and icon, only where they differ: a screen reader reads each change. */
export function relabel(element, label, picture) {
  const use = element.querySelector("use");
  if (use && use.getAttribute("href") !== `#i-${picture}`) use.setAttribute("href", `#i-${picture}`);
  if (element.classList.contains("icon-only")) {
    element.ariaLabel = label;
    element.title = label;
  } else {
    write(element.querySelector("span"), label);
  }
}

/** Set a text where it differs, so that selections and screen readers are left alone. */
export function write(element, text) {
  const wanted = text == null ? "" : String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

/** Show or hide. */
export function show(element, shown) {
  element.hidden = !shown;
  return element;
}

/**
 * Keep children like items: those that stay keep their element, with its focus, player and open menus.
 *
 * @param {HTMLElement} parent holds nothing else
 * @param {object[]} items
 * @param {(item: object) => string} keyOf
 * @param {(item: object) => {node: HTMLElement, update: (item: object) => void, remove?: () => void}} make
 */
export function sync(parent, items, keyOf, make) {
  const parts = (parent.parts ??= new Map());
  const wanted = new Set(items.map(keyOf));
  for (const [key, part] of parts) {
    if (wanted.has(key)) continue;
    part.remove?.();
    part.node.remove();
    parts.delete(key);
  }
  let before = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    if (!parts.has(key)) parts.set(key, make(item));
    const part = parts.get(key);
    part.update(item);
    if (part.node === before) before = before.nextElementSibling;
    else parent.insertBefore(part.node, before); // moving what has the focus would lose it, so only what is elsewhere
  }
}

/**
 * A table that lives.
 *
 * @param {string} caption for those who hear it
 * @param {{title: string, kind?: string, text?: Function, make?: Function}[]} columns each a `text` of an item, or what
 *   `make` makes of it once for its row: a node, or `{node, update}`. A cell that were made again with each update
 *   would lose the focus, and what is selected in it
 * @param {(item: object) => string} keyOf
 */
export function table(caption, columns, keyOf) {
  const body = h("tbody");
  const head = h(
    "tr",
    {},
    columns.map((each) => h("th", { scope: "col", class: each.kind }, each.title)),
  );
  const node = h(
    "div.scroll",
    { tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("thead", {}, head), body),
  );
  const make = (item) => {
    const updates = [];
    const cells = columns.map(({ title, kind, text, make: makeCell }) => {
      const cell = h("td", { class: kind, "data-title": title });
      const part = makeCell?.(item);
      if (part) cell.append(part.node ?? part);
      if (text) updates.push((now) => write(cell, text(now)));
      else if (part?.update) updates.push(part.update);
      return cell;
    });
    return { node: h("tr", {}, cells), update: (now) => updates.forEach((each) => each(now)) };
  };
  return { node, update: (items) => sync(body, items, keyOf, make) };
}

/** A cell with something in small letters below. */
export function twoLines(first, second) {
  return () => {
    const [above, below] = [h("div"), h("div.small")];
    const update = (now) => {
      write(above, first(now));
      write(below, second(now));
    };
    return { node: h("div", {}, above, below), update };
  };
}

/** A short text in a coloured pill. */
export const chip = (text, kind = "") => h("span", { class: `chip ${kind}`.trim() }, text);

/** What to show where there is nothing. */
export const empty = (title, ...more) => h("div.empty", {}, h("h2", {}, title), ...more);

const NOTICE_MS = 6000;

/**
 * Tell the result of something, for some seconds.
 *
 * @param {string} text
 * @param {""|"good"|"bad"} kind
 */
export function tell(text, kind = "") {
  const notice = h("div", { class: `notice ${kind}`.trim() }, h("span", {}, text));
  const close = button("Dismiss", "close", () => notice.remove(), { kind: "quiet", bare: true });
  notice.append(close);
  document.getElementById("notices").append(notice);
  setTimeout(() => notice.remove(), kind === "bad" ? 2 * NOTICE_MS : NOTICE_MS);
}

/**
 * Copy a text. Browsers lend the clipboard to pages over HTTPS and on this machine only; elsewhere the old way works.
 *
 * @param {string} text
 */
export async function copy(text) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyBySelection(text);
    tell("Copied.", "good");
  } catch {
    tell("The browser does not let the page copy; select the text instead.", "bad");
  }
}

function copyBySelection(text) {
  const field = h("textarea.unseen", { readonly: true });
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("not copied");
}

/**
 * Open a dialog; Escape and the page behind it close it.
 *
 * @param {string} title
 * @param {Node[]} content
 * @param {object} [options]
 * @param {string} [options.kind] class
 * @param {() => void} [options.onClose]
 * @returns {HTMLDialogElement}
 */
export function openDialog(title, content, { kind = "", onClose = () => {} } = {}) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const close = button("Close", "close", () => dialog.close(), { kind: "quiet", bare: true });
  const dialog = h(
    "dialog",
    { class: kind, "aria-labelledby": "dialog-title" },
    h("header", {}, heading, close),
    content,
  );
  dialog.addEventListener("close", () => {
    onClose();
    dialog.remove();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Ask before something is done; what fails is told in the dialog, which stays.
 *
 * @param {string} title the question
 * @param {string} verb on the button
 * @param {() => Promise<void>} act
 * @param {object} [options]
 * @param {(Node|string)[]} [options.content] what it means; fields
 * @param {boolean} [options.danger] cannot be undone
 */
export function ask(title, verb, act, { content = [], danger = false } = {}) {
  const fault = h("p.fault", { role: "alert" });
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
  const cancel = button("Cancel", null, () => dialog.close());
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        if (go.disabled) return;
        go.disabled = true;
        try {
          await act();
          dialog.close();
        } catch (problem) {
          fault.textContent = problem.message;
          go.disabled = false;
        }
      },
    },
    content,
    fault,
    h("footer", {}, cancel, go),
  );
  const dialog = openDialog(title, [form]);
  (form.querySelector("input, select") ?? (danger ? cancel : go)).focus(); // a second Enter must not delete
}
