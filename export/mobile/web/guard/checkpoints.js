/**
 * Where the output rail looks at an answer, and how much of it: at sentence ends, and at gaps or words where none comes.
 *
 * It depends on the text alone, never on how the text arrives. All lengths are in UTF-8 bytes, all places in code points: a text
 * is a list of characters here, for it grows. Knows no guard.
 */

import { sizeOf } from "./bytes.js";
import { isSpace, strip, Text } from "./text.js";

/** @typedef {import("./policy.js").Finding} Finding */
/**
 * @typedef {object} CheckpointTables
 * @property {number} least
 * @property {number} most
 * @property {number} longest
 * @property {number} reach
 * @property {number} lookback
 * @property {number} run
 * @property {number} key
 * @property {number} group
 * @property {string} stops
 * @property {string} wide_stops
 * @property {string} wide_gaps
 * @property {string} closers
 */

const WORD = /[!-~]+/gu;
const ONE_WITH_BEFORE = /^[\p{Mn}\p{Mc}\p{Me}\p{Cf}\p{Cs}\u{1f3fb}-\u{1f3ff}]$/u;
const FLAG = /^[\u{1f1e6}-\u{1f1ff}]$/u;
const SOON = 32;

/** Finds the places to check at in a text that grows. */
export class Scanner {
  /** @param {CheckpointTables} tables */
  constructor(tables) {
    this.tables = tables;
    /** How far the text was scanned. */
    this.at = 0;
    /** How many places were found. */
    this.found = 0;
    this.weight = 0;
  }

  /**
   * Return the next place, or null where the text has none yet; `final`: no more text comes, and its end is the last place.
   * Whether a place is one depends on the text up to the one character behind it. An empty text has one place.
   * @param {string[]} text
   * @param {boolean} final
   */
  next(text, final) {
    while (this.at + 1 < text.length) {
      this.weight += sizeOf(text[this.at]);
      this.at += 1;
      if (this.weight >= this.tables.least && isPlace(text, this.at, this.weight, this.tables)) return this.#place(this.at);
    }
    if (final && (this.at < text.length || this.weight > 0 || this.found === 0)) return this.#place(text.length);
    return null;
  }

  /** @param {number} at */
  #place(at) {
    this.at = at;
    this.weight = 0;
    this.found += 1;
    return at;
  }
}

/**
 * Return where the excerpt that ends at a place begins: within reach, and at a word if one begins soon.
 * @param {string[]} text
 * @param {number} place
 * @param {CheckpointTables} tables
 */
export function excerptStart(text, place, tables) {
  const start = reach(text, place, tables);
  if (start === 0) return 0;
  for (let at = start; at < Math.min(start + SOON, place); at += 1) if (isSpace(text[at - 1])) return at;
  return start;
}

/**
 * Return the earliest character that an excerpt which ends at a place may begin with.
 * @param {string[]} text
 * @param {number} place
 * @param {CheckpointTables} tables
 */
export function reach(text, place, tables) {
  let start = place;
  let left = tables.reach;
  while (start > 0 && left > 0) {
    start -= 1;
    left -= sizeOf(text[start]);
  }
  return start;
}

/**
 * Tell whether a sentence ends right before the character at `at`.
 * @param {string[]} text
 * @param {number} at
 * @param {CheckpointTables} tables
 */
export function endsSentence(text, at, { lookback, closers, stops, wide_stops: wideStops }) {
  let end = at;
  while (at - end < Math.floor(lookback / 2) && end > 1 && closers.includes(text[end - 1])) end -= 1;
  if (text[at - 1] === "\n" || (stops.includes(text[end - 1]) && isSpace(text[at]))) return true;
  return wideStops.includes(text[end - 1]) && !closers.includes(text[at]);
}

/**
 * Return up to where no personal data can grow or begin with what comes next; `inside`: the text ends inside a word.
 *
 * Numbers are written in groups, some of them of letters; an address is one word; a key may have many lines.
 * @param {string[]} chars
 * @param {Finding[]} found
 * @param {boolean} inside
 * @param {CheckpointTables} tables
 */
export function settled(chars, found, inside, tables) {
  let end = chars.length;
  let at = chars.length;
  const first = Math.max(0, at - tables.run);
  const words = [...new Text(chars.slice(first).join("")).matches(WORD)].reverse();
  for (const word of words) {
    const [start, last] = [first + word.start, first + word.end];
    if (isMoreThanSpace(chars.slice(last, at))) break;
    if (/[0-9]/.test(word[0]) || (inside && last === chars.length)) end = start;
    else if (word[0].length > tables.group) break;
    at = start;
  }
  const grown = found.filter((each) => each.start < end && !isMoreThanSpace(chars.slice(each.end, end)));
  end = grown.reduce((least, each) => Math.min(least, each.start), end);
  const text = new Text(chars.join(""));
  const key = text.string.lastIndexOf("-----BEGIN");
  if (key >= 0 && !text.string.includes("-----END", key)) end = Math.min(end, text.place(key));
  return chars.length - end < tables.key ? end : chars.length;
}

/** @param {string[]} chars */
function isMoreThanSpace(chars) {
  return strip(chars.join("")) !== "";
}

/**
 * @param {string[]} text
 * @param {number} at
 * @param {number} weight
 * @param {CheckpointTables} tables
 */
function isPlace(text, at, weight, tables) {
  if (endsSentence(text, at, tables)) return true;
  if (weight >= tables.most && (isSpace(text[at]) || tables.wide_gaps.includes(text[at - 1]))) return true;
  return weight >= tables.longest && (weight >= 2 * tables.longest || !isOneCharacter(text[at - 1], text[at]));
}

/**
 * Tell whether two may be one on the screen: marks, joiners, skin tones, flags, halves of a surrogate pair.
 * @param {string} before
 * @param {string} after
 */
function isOneCharacter(before, after) {
  return (FLAG.test(before) && FLAG.test(after)) || before === "\u200d" || ONE_WITH_BEFORE.test(after);
}
