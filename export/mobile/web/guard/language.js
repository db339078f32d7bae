/**
 * Tells English from letters in any other order, by common words and by which letters follow each other.
 *
 * Knows nothing of codes and ciphers. Other scripts count as language where they keep to themselves.
 */

import { code, isAscii, isPrintable, lengthOf, SPACE_CLASS, split, WORD_CLASS } from "./text.js";

export const LETTERS = "abcdefghijklmnopqrstuvwxyz";
/** A word: letters alone. */
export const WORD = /[\p{L}\p{Nl}\p{No}]+/gu;
const STOP_AFTER = new RegExp(`[${WORD_CLASS}][.,;:?!](?![^${SPACE_CLASS}])`, "gu");
const STOP_BEFORE = new RegExp(`(?<![^${SPACE_CLASS}])[.,;:?!][${WORD_CLASS}]`, "gu");

/** @typedef {{common: string[], sequences: string[], pairs: string[]}} LanguageTables */

export class Language {
  /** @param {LanguageTables} tables */
  constructor(tables) {
    /** Words that English text of any length has some of. */
    this.common = new Set(tables.common);
    this.sequences = new Set(tables.sequences);
    /** @type {Map<string, number>} The weight of two neighbouring letters; those of other alphabets say nothing. */
    this.pairs = new Map();
    const edge = `${LETTERS} `;
    tables.pairs.forEach((row, first) => {
      [...row].forEach((digit, second) => this.pairs.set(edge[first] + edge[second], (Number(digit) - 6) * 0.7));
    });
  }

  /**
   * Tell whether a text reads as English, or as writing in a script that English does not use.
   * @param {string} text
   */
  isLanguage(text) {
    const seen = text.replace(/[ \t\r\n]/g, "");
    const length = lengthOf(seen);
    const words = text.match(WORD) ?? [];
    const letters = words.reduce((sum, word) => sum + lengthOf(word), 0);
    const marks = isAscii(seen) ? 0 : (seen.match(/\p{M}/gu) ?? []).length;
    if (length < 4 || !isPrintable(seen) || letters + marks < (letters < 12 ? 0.8 : 0.5) * length) return false;
    const foreign = isAscii(seen) ? [] : (seen.match(/[\p{L}\p{M}]/gu) ?? []).filter((char) => code(char) > 0x240);
    if (foreign.length > length / 2) return foreign.length >= 4 && mostInOneBlock(foreign) > 0.8 * foreign.length;
    // Words of some language in Latin letters: chance sets no spaces.
    const vowels = (seen.toLowerCase().match(/[aeiou]/g) ?? []).length;
    const each = letters / words.length;
    if (letters > 19 && letters > 0.8 * length && 2 < each && each < 12) {
      if (0.2 < vowels / letters && vowels / letters < 0.6) return true;
    }
    const pairs = letters + words.length;
    const known = words.reduce((sum, word) => sum + (this.isCommon(word) ? lengthOf(word) + 1 : 0), 0);
    const weight = words.reduce((sum, word) => sum + this.weight(word), 0);
    const least = pairs * (letters > 11 ? 0.25 : 0.4);
    return weight + known / 2 > least && least > 0;
  }

  /** @param {string} word */
  isCommon(word) {
    return this.common.has(word.toLowerCase());
  }

  /**
   * Return how much likelier these letters make an English word than by chance, as a logarithm.
   * @param {string} word
   */
  weight(word) {
    const padded = ` ${word.toLowerCase()} `;
    let sum = 0;
    for (let at = 0; at + 1 < padded.length; at += 1) sum += this.pairs.get(padded.slice(at, at + 2)) ?? 0;
    return sum;
  }

  /**
   * Return the weight of a word, common ones set above the rest: e to this is how likely it is English.
   * @param {string} word
   */
  merit(word) {
    return this.weight(word) + (this.isCommon(word) ? 2 : 0);
  }

  /**
   * Return how well the words of a text follow each other; the same words the other way round have less of it.
   * @param {string} text
   */
  order(text) {
    const words = (text.match(WORD) ?? []).map((word) => word.toLowerCase());
    const sequences = words.filter((word, at) => at > 0 && this.sequences.has(`${words[at - 1]} ${word}`)).length;
    const stops = (text.match(STOP_AFTER) ?? []).length - (text.match(STOP_BEFORE) ?? []).length;
    const last = split(text).at(-1) ?? "";
    return 2 * sequences + 2 * stops + Number(isUpper(first(text))) - Number(isUpper(first(last)));
  }
}

/**
 * Chance hits every script in turn; a writer keeps to one, or to the many blocks of East Asia.
 * @param {string[]} chars
 */
function mostInOneBlock(chars) {
  /** @type {Map<number, number>} */
  const blocks = new Map();
  for (const char of chars) {
    const block = Math.min(code(char) >> 8, 0x2e);
    blocks.set(block, (blocks.get(block) ?? 0) + 1);
  }
  return Math.max(...blocks.values());
}

/** @param {string} text */
function first(text) {
  return text === "" ? "" : String.fromCodePoint(code(text));
}

/** @param {string} char */
function isUpper(char) {
  return /^\p{Uppercase}$/u.test(char);
}
