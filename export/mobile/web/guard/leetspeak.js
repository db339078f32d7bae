/**
 * Words in which digits and signs stand for letters: h0w, k!ll, 4nsw3r.
 *
 * Knows nothing of categories, models or other codes. A number stays one unless it stands among words of leetspeak.
 */

import { isAscii, lengthOf, SPACE_CLASS, Text, WORD_CLASS } from "./text.js";

/** @typedef {import("./language.js").Language} Language */
/** @typedef {import("./ciphers.js").Edit} Edit */
/** @typedef {import("./ciphers.js").CipherTables} CipherTables */

const SIGNS = "0-9@$!|+(€£¢";
// Digits and signs in a word, or alone. The lookahead with a backreference is a possessive quantifier.
const LEET_WORD = new RegExp(
  `(?<![${WORD_CLASS}@$!|+(€£¢])(?=([a-zA-Z]{0,24}))\\1[${SIGNS}][a-zA-Z${SIGNS}]{0,24}`,
  "gu",
);
// What stands before and after a word by itself, not a part of a name, a number, an address or a line of code.
const BEFORE = new RegExp(`(?<![^${SPACE_CLASS}"'“‘*(\\[>,])`, "yu");
const AFTER = new RegExp(`["'”’*)\\],;:.?!…]{0,3}(?![^${SPACE_CLASS}])`, "yu");
// Letters and signs that take turns, but not as in a hash.
const MIXED = /^(?![0-9a-f]{6,}$).*?(?:[a-zA-Z][0-9@$!]+[a-zA-Z]|[0-9@$!][a-zA-Z]+[0-9@$!])/u;
const MOST_CHOICES = 4;
const WORDS_BESIDE = 5;

export class Leetspeak {
  /**
   * @param {CipherTables} tables
   * @param {Language} language
   */
  constructor(tables, language) {
    this.letters = new Map(Object.entries(tables.leet));
    this.beside = tables.beside;
    this.language = language;
  }

  /**
   * Return the words in which digits and signs stand for letters, and what may be such right beside those.
   * @param {string} text
   * @returns {Edit[]}
   */
  read(text) {
    const whole = new Text(text);
    const found = [...whole.matches(LEET_WORD)].map((match) => {
      const word = match[0].slice(0, 1) + match[0].slice(1).replace(/!+$/, "");
      return { start: match.start, end: match.start + word.length, word };
    });
    // Where l is written as l, or i as i, the signs for both stand for the other.
    const letters = found.map(({ word }) => word.toLowerCase()).join("");
    const forI = 1 + 2 * Number(letters.includes("l")) - 3 * Number(letters.includes("i"));
    const says = found.map(({ word }) => this.#unleeted(word, forI));
    const sure = found.map(({ start, end, word }, at) => {
      if (!this.#isWord(says[at], 0.35) || !MIXED.test(word)) return false;
      return whole.matchAt(BEFORE, start) !== null && whole.matchAt(AFTER, end) !== null;
    });
    return found.flatMap(({ start, end, word }, at) => {
      const near = [];
      for (let other = Math.max(at - WORDS_BESIDE, 0); other < Math.min(at + WORDS_BESIDE + 1, found.length); other += 1) {
        if (sure[other] && Math.abs(found[other].start - start) < this.beside) near.push(other);
      }
      const least = near.length < 2 || /^[0-9]+$/.test(word) ? 0.35 : -0.2;
      const counts = sure[at] || (near.length > 0 && this.#isWord(says[at], least));
      return counts ? [{ start, end, text: says[at], how: "leetspeak" }] : [];
    });
  }

  /**
   * @param {string} word
   * @param {number} least
   */
  #isWord(word, least) {
    const length = lengthOf(word);
    return this.language.isCommon(word) || (length > 2 && this.language.weight(word) > least * (length + 1));
  }

  /**
   * Return the best of what a word may say, in letters alone; empty where there is no such reading.
   * @param {string} word
   * @param {number} forI
   */
  #unleeted(word, forI) {
    let choices = [...word].map((sign) => this.letters.get(sign) ?? sign);
    if (choices.filter((choice) => choice.length > 1).length > MOST_CHOICES) choices = choices.map((choice) => choice[0]);
    let readings = [""];
    for (const choice of choices) readings = readings.flatMap((reading) => [...choice].map((letter) => reading + letter));
    let [best, most] = ["", -Infinity];
    for (const says of readings) {
      const merit = this.language.merit(says) - forI * (says.split("l").length - 1);
      if (merit > most) [best, most] = [says, merit];
    }
    return /^\p{L}+$/u.test(best) && isAscii(best) ? best : "";
  }
}
