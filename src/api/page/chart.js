// Waiting and talking over the last five minutes, as two step lines: one solid and filled, one dashed.

import { h, s } from "./dom.js";
import { word } from "./words.js";

const SECONDS = 300;
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [900, 170, 22, 70, 10, 20];

export class Chart {
  samples = [];

  /** One sample a second. */
  add(second, { waiting, ringing, talking }) {
    this.samples.push({ second, waiting: waiting + ringing, talking });
    while (this.samples.length && this.samples[0].second <= second - SECONDS) this.samples.shift();
  }

  draw(figure) {
    const last = this.samples.at(-1);
    if (!last) return;
    const most = Math.max(4, ...this.samples.map((sample) => Math.max(sample.waiting, sample.talking)));
    const width = Math.max(320, figure.clientWidth || WIDTH);
    const x = (second) => LEFT + (width - LEFT - RIGHT) * (1 - (last.second - second) / SECONDS);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
    const line = (what) => this.samples.map((sample, place) => {
      const [across, up] = [x(sample.second).toFixed(1), y(sample[what]).toFixed(1)];
      return place ? `H${across}V${up}` : `M${across} ${up}`;
    }).join("");
    const step = Math.ceil(most / 4);
    const grid = Array.from({ length: Math.floor(most / step) + 1 }, (_, place) => place * step).flatMap((value) => [
      s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      s("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)),
    ]);
    const times = [5, 4, 3, 2, 1, 0].map((minutes) => s("text",
      { x: x(last.second - minutes * 60), y: HEIGHT - 4, "text-anchor": minutes === 5 ? "start" : "middle" },
      minutes ? `${minutes} ${word("ago")}` : word("now"))).filter((_, place) => width > 560 || place % 5 === 0);
    const first = x(this.samples[0].second).toFixed(1);
    const area = `${line("talking")}V${y(0)}H${first}Z`;
    // Labels at the lines' ends must not lie on each other.
    const apart = Math.abs(y(last.talking) - y(last.waiting)) < 14 ? (last.talking >= last.waiting ? -7 : 7) : 0;
    const label = (what, shift) => s("text", { class: what, x: width - RIGHT + 8, y: y(last[what]) + 4 + shift }, `${word(what)} ${last[what]}`);
    const picture = s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${word("waiting")} ${last.waiting}, ${word("talking")} ${last.talking}` },
      ...grid, ...times,
      s("path", { class: "area", d: area }),
      s("path", { class: "line talking", d: line("talking") }),
      s("path", { class: "line waiting", d: line("waiting") }),
      label("talking", apart), label("waiting", -apart));
    const legend = h("figcaption", {},
      h("span", { class: "talking" }, h("i", { class: "talking" }), word("talking")),
      h("span", { class: "waiting" }, h("i", { class: "waiting" }), word("waiting")));
    figure.replaceChildren(picture, legend);
  }
}
