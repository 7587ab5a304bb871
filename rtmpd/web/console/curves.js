// Curves of the last two minutes, as SVG: sharp at any size, in the page's colours.

import { h, svg, write } from "./dom.js";

export const SHOWN_S = 120;
const GAP_S = 4; // between samples: nobody looked, so that nothing is known of the time in between
const WIDTH = 240;
const HEIGHT = 48;
const MARGIN = 2;

/** Samples of one value, with their times; the oldest go. */
export class Series {
  constructor() {
    this.samples = [];
  }

  /**
   * @param {number} value
   * @param {number} now_s any steady clock
   */
  add(value, now_s) {
    this.samples.push({ value, at_s: now_s });
    while (this.samples[0].at_s < now_s - SHOWN_S) this.samples.shift();
  }

  get highest() {
    return this.samples.reduce((most, each) => Math.max(most, each.value), 0);
  }
}

/**
 * Draw a series.
 *
 * @param {string} label what it is
 * @param {(value: number) => string} inWords
 * @param {object} [options]
 * @param {boolean} [options.small] the line alone
 * @returns {{node: Element, update: (series: Series, now_s: number) => void}}
 */
export function curve(label, inWords, { small = false } = {}) {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  const picture = svg(
    "svg",
    { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    area,
    line,
  );
  const now = h("strong");
  const top = h("span.dim");
  const node = small ? picture : h("figure.chart", {}, h("figcaption", {}, h("span", {}, label), now, top), picture);

  function update(series, now_s) {
    const newest = series.samples.at(-1);
    const { lines, areas } = paths(series, now_s);
    line.setAttribute("d", lines);
    area.setAttribute("d", areas);
    write(now, newest ? inWords(newest.value) : "–");
    write(top, newest ? `at most ${inWords(series.highest)}` : "");
  }

  return { node, update };
}

function paths(series, now_s) {
  const most = series.highest * 1.1 || 1;
  let lines = "";
  let areas = "";
  let run = [];
  const finish = () => {
    if (run.length > 1) {
      const points = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
      lines += `M${points}`;
      areas += `M${run[0][0].toFixed(1)} ${HEIGHT}L${points}L${run.at(-1)[0].toFixed(1)} ${HEIGHT}Z`;
    }
    run = [];
  };
  let before_s = -Infinity;
  for (const { value, at_s } of series.samples) {
    if (at_s - before_s > GAP_S) finish();
    before_s = at_s;
    run.push([WIDTH * (1 - (now_s - at_s) / SHOWN_S), MARGIN + (HEIGHT - 2 * MARGIN) * (1 - value / most)]);
  }
  finish();
  return { lines, areas };
}
