/**
 * One reading of a text, with the place in the raw text that each of its characters was read from.
 *
 * Knows how readings are edited and cut, not why.
 */

import { split, Text } from "./text.js";

/** @typedef {import("./ciphers.js").Edit} Edit */

export class Form {
  /**
   * @param {string} text What is read.
   * @param {Uint32Array} starts Where each character of it comes from; falling where the text runs backwards.
   * @param {string} how raw, plain, or what was undone to read it: base64, leetspeak, base64+rot13 ...
   */
  constructor(text, starts, how) {
    this.text = text;
    this.starts = starts;
    this.how = how;
    /** @type {Text | null} */
    this.addressed = null;
  }

  /** @param {string} text */
  static raw(text) {
    const addressed = new Text(text);
    const form = new Form(text, Uint32Array.from({ length: addressed.length }, (_, at) => at), "raw");
    form.addressed = addressed;
    return form;
  }

  /** The text by code points. */
  get whole() {
    this.addressed ??= new Text(this.text);
    return this.addressed;
  }

  /**
   * Return the form with another text of the same length.
   * @param {string} text
   */
  saying(text) {
    return text === this.text ? this : new Form(text, this.starts, this.how);
  }

  /**
   * Return the span of the raw text that a span of this one was read from.
   * @param {number} start
   * @param {number} end
   * @returns {[number, number]}
   */
  span(start, end) {
    const places = this.starts.subarray(start, end);
    if (places.length === 0) return [0, 0];
    return [places.reduce((one, other) => Math.min(one, other)), places.reduce((one, other) => Math.max(one, other)) + 1];
  }

  /**
   * Return the form with runs replaced, and with what was undone in its name; itself where there is nothing to do.
   * @param {Edit[]} edits
   */
  edited(edits) {
    if (edits.length === 0) return this;
    const pieces = [];
    const places = [];
    let at = 0;
    for (const { start, end, text, backwards } of edits) {
      pieces.push(this.whole.slice(at, start), text);
      places.push(this.starts.subarray(at, start), spread(this.starts.subarray(start, end), new Text(text).length, backwards));
      at = end;
    }
    pieces.push(this.whole.slice(at));
    places.push(this.starts.subarray(at));
    return new Form(pieces.join(""), joined(places), this.#named(edits));
  }

  /** @param {Edit[]} edits */
  #named(edits) {
    const before = this.how === "raw" || this.how === "plain" ? [] : this.how.split("+");
    const names = new Set([...before, ...edits.map((edit) => edit.how).filter((how) => how !== "")]);
    return [...names].join("+") || this.how;
  }

  /**
   * Return the blocks of this form that read otherwise than the raw text, and one on either side of each.
   * @param {Form} raw
   * @param {number} size
   */
  excerpt(raw, size) {
    const count = Math.ceil(this.starts.length / size);
    const differs = Array.from({ length: count }, (_, block) => {
      const end = (block + 1) * size < this.starts.length ? this.starts[(block + 1) * size] : raw.whole.length;
      const written = raw.whole.slice(this.starts[block * size], end);
      const says = this.whole.slice(block * size, (block + 1) * size);
      return written !== says && split(written).join("\n") !== split(says).join("\n");
    });
    const keep = differs.map((_, block) => differs.slice(Math.max(block - 1, 0), block + 2).includes(true));
    const pieces = [];
    const places = [];
    for (const [block, kept] of keep.entries()) {
      const start = block * size;
      if (!kept) continue;
      if (pieces.length > 0 && !keep[block - 1]) {
        pieces.push("\n");
        places.push(this.starts.subarray(start, start + 1));
      }
      pieces.push(this.whole.slice(start, start + size));
      places.push(this.starts.subarray(start, start + size));
    }
    return pieces.length > 0 ? new Form(pieces.join(""), joined(places), this.how) : raw;
  }
}

/**
 * Return the places of `count` characters that were read from these: the first from the first, the last from the last.
 * @param {Uint32Array} places
 * @param {number} count
 * @param {boolean} [backwards]
 */
function spread(places, count, backwards) {
  const from = backwards ? places.slice().reverse() : places;
  if (from.length === count) return from;
  const steps = Math.max(count - 1, 1);
  return Uint32Array.from({ length: count }, (_, at) => from[Math.floor((at * (from.length - 1)) / steps)]);
}

/** @param {Uint32Array[]} parts */
function joined(parts) {
  const whole = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
