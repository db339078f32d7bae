/**
 * What is written in code: base64, hex, Morse, escapes, leetspeak, ciphers, each run read in place where it stands.
 *
 * Knows nothing of categories or models. A reading counts only if it is language, or once more in code that says something.
 */

import { Ciphers } from "./ciphers.js";
import { hiddenCodes, plainCodes, runs } from "./codes.js";
import { Leetspeak } from "./leetspeak.js";
import { isAscii, isPrintable, lengthOf, stripEnd, Text } from "./text.js";

/** @typedef {import("./ciphers.js").Edit} Edit */
/** @typedef {import("./codes.js").Reader} Reader */

/** The least characters of what may be written in code again. */
const LEAST_NESTED = 12;
/** A run longer than this, broken into lines, goes on behind a space. */
const LINE = 40;

export class Decoder {
  /**
   * @param {import("./codes.js").CodeTables} tables
   * @param {import("./ciphers.js").CipherTables} ciphers
   * @param {import("./language.js").Language} language
   */
  constructor(tables, ciphers, language) {
    this.language = language;
    this.ciphers = new Ciphers(ciphers, language);
    this.leetspeak = new Leetspeak(ciphers, language);
    this.piece = tables.piece;
    this.hiddenCodes = hiddenCodes(tables);
    this.plainCodes = plainCodes(tables);
  }

  /**
   * Return what must be read before anything is made plain: tags, variation selectors, Morse, upside-down letters.
   * What comes out may be written in code again, `nested` times.
   * @param {string} text
   * @returns {Edit[]}
   */
  hidden(text, nested = 1) {
    const { edits, rest } = this.#read(text, this.hiddenCodes, nested);
    return [...edits, ...this.ciphers.upsideDown(rest)].sort(inOrder);
  }

  /**
   * Return what a plain text says in codes, ciphers and leetspeak, in order and without overlaps.
   * @param {string} text
   * @returns {Edit[]}
   */
  encoded(text, nested = 1) {
    const { edits, rest } = this.#read(text, this.plainCodes, nested);
    const found = this.leetspeak.read(rest);
    return [...edits, ...found, ...this.ciphers.read(blanked(new Text(rest), found))].sort(inOrder);
  }

  /**
   * Return what these codes read, and the text with blanks in its place.
   * @param {string} text
   * @param {Reader[]} readers
   * @param {number} nested
   */
  #read(text, readers, nested) {
    /** @param {string} says */
    const reads = (says) => {
      if (this.language.isLanguage(says)) return true;
      if (nested < 1 || says.length < LEAST_NESTED || !isAscii(says) || !isPrintable(says)) return false;
      return this.hidden(says, nested - 1).length > 0 || this.encoded(says, nested - 1).length > 0;
    };
    /** @type {Edit[]} */
    const edits = [];
    let rest = text;
    for (const reader of readers) {
      const whole = new Text(rest);
      const found = this.#found(whole, reader, reads);
      rest = blanked(whole, found);
      edits.push(...found);
    }
    return { edits, rest };
  }

  /**
   * @param {Text} text
   * @param {Reader} reader
   * @param {import("./codes.js").Reads} reads
   */
  #found(text, reader, reads) {
    /** @type {Edit[]} */
    const found = [];
    for (const match of runs(reader, text, this.piece)) {
      const says = reader.read(match[0], reads);
      if (says === null) continue;
      const last = found.at(-1);
      // A long run was broken into lines, which plain spelling joined by spaces.
      if (last && last.end === match.start - 1 && last.end - last.start >= LINE && text.slice(last.end, match.start) === " ") {
        last.end = match.start;
      }
      found.push({ start: match.start, end: match.start + lengthOf(stripEnd(match[0])), text: says, how: reader.how });
    }
    return found;
  }
}

/**
 * @param {Text} text
 * @param {Edit[]} edits
 */
function blanked(text, edits) {
  if (edits.length === 0) return text.string;
  const pieces = [];
  let at = 0;
  for (const edit of [...edits].sort(inOrder)) {
    pieces.push(text.slice(at, edit.start), "\n".repeat(edit.end - edit.start));
    at = edit.end;
  }
  return pieces.join("") + text.slice(at);
}

/**
 * @param {Edit} one
 * @param {Edit} other
 */
function inOrder(one, other) {
  return one.start - other.start || one.end - other.end;
}
