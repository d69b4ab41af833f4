// The player: a recording fetched with the token, its two channels drawn, and the browser's own audio controls.

import { at, h, s } from "./dom.js";
import { word } from "./words.js";

const COLUMNS = 400;

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

  /** Loads a recording; plays it when somebody asked for that. */
  async load(fetchBytes, recording, title, play) {
    at("player").hidden = false;
    at("unplayed").hidden = true;
    this.recording = recording;
    try {
      const bytes = await fetchBytes();
      if (this.recording !== recording) return;
      if (this.#url) URL.revokeObjectURL(this.#url);
      this.#url = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
      this.#title = title;
      this.name();
      at("audio").src = this.#url;
      at("wave").replaceChildren(wave(bytes), h("span", { class: "head" }));
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

/** Peaks of both channels: the citizen grows up from the middle, the others down. */
function wave(buffer) {
  const sound = samples(new DataView(buffer));
  const frames = Math.floor(sound.length / 2);
  const column = Math.max(1, Math.ceil(frames / COLUMNS));
  const peak = (from, side) => {
    let most = 0;
    for (let frame = from; frame < Math.min(from + column, frames); frame++) most = Math.max(most, loudness(sound[2 * frame + side]));
    return Math.max(0.4, 38 * Math.sqrt(most)).toFixed(1);
  };
  const bars = (side, sign) => {
    let path = "";
    for (let place = 0; place * column < frames; place++) path += `M${place} 42v${sign}${peak(place * column, side)}h.7v${sign ? "" : "-"}${peak(place * column, side)}z`;
    return path;
  };
  return s("svg", { viewBox: `0 0 ${COLUMNS} 84`, preserveAspectRatio: "none" },
    s("path", { class: "left", d: bars(0, "-") }), s("path", { class: "right", d: bars(1, "") }),
    s("line", { class: "middle", x1: 0, x2: COLUMNS, y1: 42, y2: 42 }));
}

/** The data chunk of a RIFF file; its size may be of a file still being written. */
function samples(view) {
  const name = (place) => String.fromCharCode(...new Uint8Array(view.buffer, place, 4));
  for (let place = 12; place + 8 <= view.byteLength;) {
    const size = view.getUint32(place + 4, true);
    if (name(place) === "data") return new Uint8Array(view.buffer, place + 8, Math.min(size, view.byteLength - place - 8));
    place += 8 + size + (size % 2);
  }
  return new Uint8Array();
}

/** G.711 A-law, 0 to 1. */
function loudness(byte) {
  const code = byte ^ 0x55;
  const [segment, step] = [(code >> 4) & 7, code & 15];
  return (segment ? ((step << 4) + 0x108) << (segment - 1) : (step << 4) + 8) / 32768;
}
