// The player: a recording and its peaks fetched with the token, both channels drawn, and the browser's own audio controls.

import { at, h, s } from "./dom.js";
import { word } from "./words.js";

const COLUMNS = 400;
const LOUDEST = 32_256;

/** Windows a second that give a recording of this length no more columns than are drawn. */
export const fineness = (ms) => Math.min(100, Math.max(1, Math.floor((COLUMNS * 1_000) / Math.max(ms, 1))));

export class Player {
  #url = null;
  #title = () => "";
  /** The recording that is loaded, and whether somebody chose it. */
  recording = null;
  chosen = false;

  constructor() {
    const audio = at("audio");
    const move = () => {
      const head = at("wave").querySelector(".head");
      if (head && audio.duration > 0) head.style.left = `${(100 * audio.currentTime) / audio.duration}%`;
      if (!audio.paused) requestAnimationFrame(move);
    };
    for (const event of ["play", "seeked", "timeupdate", "loadedmetadata"]) audio.addEventListener(event, move);
  }

  get isPlaying() {
    return !at("audio").paused;
  }

  /** Says what is loaded, in the language of the page. */
  name() {
    at("playing").textContent = this.#title();
    at("lanes").textContent = `${word("left")} · ${word("right")}`;
  }

  /** Loads a recording; plays it when somebody asked for that. A picture that cannot be had leaves the sound alone. */
  async load(fetchBytes, fetchPeaks, recording, title, play) {
    at("player").hidden = false;
    at("unplayed").hidden = true;
    this.recording = recording;
    try {
      const [bytes, picture] = await Promise.all([fetchBytes(), fetchPeaks().catch(() => ({ peaks: [] }))]);
      if (this.recording !== recording) return;
      if (this.#url) URL.revokeObjectURL(this.#url);
      this.#url = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
      this.#title = title;
      this.name();
      at("audio").src = this.#url;
      at("wave").replaceChildren(wave(picture), h("span", { class: "head" }));
      if (play) await at("audio").play();
    } catch (error) {
      if (error.name === "NotAllowedError" || error.name === "AbortError") return;
      at("unplayed").textContent = `${word("unplayable")} (${error.message})`;
      at("unplayed").hidden = false;
    }
  }

  clear() {
    at("audio").removeAttribute("src");
    at("player").hidden = true;
    [this.recording, this.chosen] = [null, false];
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}

/** Both channels from the middle: the citizen grows up, the others down. Of several windows a column shows the loudest. */
function wave({ peaks }) {
  const column = Math.max(1, Math.ceil(peaks.length / COLUMNS));
  const columns = Math.max(1, Math.ceil(peaks.length / column));
  const height = (place, side) => {
    const most = Math.max(...peaks.slice(place * column, (place + 1) * column).map((peak) => peak[side]));
    return Math.max(0.4, 38 * Math.sqrt(most / LOUDEST)).toFixed(1);
  };
  const bars = (side, sign) => {
    let path = "";
    for (let place = 0; place * column < peaks.length; place++) path += `M${place} 42v${sign}${height(place, side)}h.7v${sign ? "" : "-"}${height(place, side)}z`;
    return path;
  };
  return s("svg", { viewBox: `0 0 ${columns} 84`, preserveAspectRatio: "none" },
    s("path", { class: "left", d: bars(0, "-") }), s("path", { class: "right", d: bars(1, "") }),
    s("line", { class: "middle", x1: 0, x2: columns, y1: 42, y2: 42 }));
}
