/**
 * Words that are English when their letters stand for others: ROT13 and its like, Atbash, reversed and upside-down words.
 *
 * Knows nothing of categories, models or encodings. Nothing is read but stretches that are clearly more English then.
 */

import { LETTERS, WORD } from "./language.js";
import { isAscii, lengthOf, reversed, SPACE_CLASS, Text, translate, WORD_CLASS } from "./text.js";

/** @typedef {import("./language.js").Language} Language */
/**
 * One run of a text and what it says: `how` it was written, and whether its last character is the first of what it says.
 * @typedef {{start: number, end: number, text: string, how: string, backwards?: boolean}} Edit
 */
/**
 * A way to write every letter as another one, or from the end. `shortest`: letters of the shortest common word that is a
 * sign of it.
 * @typedef {{how: string, table: Map<string, string>, backwards: boolean, shortest: number}} Cipher
 */
/** @typedef {{ciphers: Cipher[], signs: Map<string, number[]>}} Family */
/** @typedef {{text: string, start: number, end: number}} Word */
/**
 * @typedef {object} CipherTables
 * @property {Record<string, string>} turned
 * @property {Record<string, string>} leet
 * @property {number} gain
 * @property {number} gain_each
 * @property {number} drop
 * @property {number} gap
 * @property {number} around
 * @property {number} most_scored
 * @property {number} beside
 */

const TURNED = "upside-down";
const TURNED_SIGNS = /[ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ]/;
const WHOLE_WORD = new RegExp(`(?<![${WORD_CLASS}@$])[\\p{L}\\p{Nl}\\p{No}]+(?![${WORD_CLASS}@$])`, "gu");
const NO_SPACES = new RegExp(`[^${SPACE_CLASS}]+`, "gu");

export class Ciphers {
  /**
   * @param {CipherTables} tables
   * @param {Language} language
   */
  constructor(tables, language) {
    this.tables = tables;
    this.language = language;
    const turned = new Map(Object.entries(tables.turned));
    this.turned = this.#family([
      { how: TURNED, table: turned, backwards: true, shortest: 2 },
      { how: TURNED, table: turned, backwards: false, shortest: 2 },
    ]);
    const shifts = [...LETTERS].keys();
    this.rotated = this.#family([
      { how: "reversed", table: new Map(), backwards: true, shortest: 2 },
      alphabet("rot13", rotate(13), 2),
      alphabet("atbash", reversed(LETTERS), 2),
      // By chance two letters are a word in one or other of the many shifts.
      ...[...shifts].filter((by) => by > 0 && by !== 13).map((by) => alphabet(`rot${by}`, rotate(by), 3)),
    ]);
  }

  /**
   * Return the stretches of words that read better in ROT13, another shift, Atbash or backwards.
   * @param {string} text
   */
  read(text) {
    return this.#ciphered(text, this.rotated);
  }

  /**
   * Return the stretches of words that are written in turned letters, the lines turned with them or not.
   * @param {string} text
   */
  upsideDown(text) {
    return TURNED_SIGNS.test(text) ? this.#ciphered(text, this.turned) : [];
  }

  /**
   * Gather ciphers with the common words as they write them, but for those that are words again.
   * @param {Cipher[]} ciphers
   * @returns {Family}
   */
  #family(ciphers) {
    /** @type {Map<string, number[]>} */
    const signs = new Map();
    ciphers.forEach((cipher, number) => {
      const writes = new Map([...cipher.table].map(([written, says]) => [says, written]));
      for (const word of this.language.common) {
        const letters = translate(word, writes);
        const written = cipher.backwards ? reversed(letters) : letters;
        // Of the upside-down letters half are letters as they stand: only the others are a sign.
        const plain = this.language.common.has(written) || (cipher.how === TURNED && isAscii(written));
        if (word.length >= cipher.shortest && !plain) signs.set(written, [...(signs.get(written) ?? []), number]);
      }
    });
    return { ciphers, signs };
  }

  /**
   * Return the stretches of words that read better in one of these ciphers, the clearest where they overlap.
   * @param {string} text
   * @param {Family} family
   * @returns {Edit[]}
   */
  #ciphered(text, family) {
    const whole = new Text(text);
    const words = [...whole.matches(WHOLE_WORD)].map((found) => ({ text: found[0], start: found.start, end: found.end }));
    const found = this.#found(words, family).sort(clearest);
    const taken = new Uint8Array(words.length);
    const kept = [];
    for (const { first, last, number } of found) {
      if (taken.subarray(first, last).includes(1)) continue;
      taken.fill(1, first, last);
      kept.push(this.#deciphered(whole, words[first].start, words[last - 1].end, family.ciphers[number]));
    }
    return kept;
  }

  /**
   * @param {Word[]} words
   * @param {Family} family
   */
  #found(words, family) {
    /** @type {Map<number, number[]>} */
    const places = new Map();
    words.forEach((word, at) => {
      for (const number of family.signs.get(word.text.toLowerCase()) ?? []) {
        const known = places.get(number);
        if (known) known.push(at);
        else places.set(number, [at]);
      }
    });
    let scored = 0;
    const found = [];
    for (const [number, at] of [...places].sort((one, other) => other[1].length - one[1].length)) {
      for (const [first, last] of around(at, words.length, this.tables.around)) {
        scored += last - first;
        if (scored > this.tables.most_scored) continue;
        for (const { gain, begin, end } of this.#stretches(words.slice(first, last), family.ciphers[number])) {
          found.push({ gain, first: first + begin, last: first + end, number });
        }
      }
    }
    return found;
  }

  /**
   * Yield the stretches of words that gain from a cipher, two or more, a fifth of them common.
   * @param {Word[]} words
   * @param {Cipher} cipher
   */
  *#stretches(words, cipher) {
    const { gap, drop } = this.tables;
    const says = words.map((word) => read(cipher, word.text));
    const gains = words.map((word, at) => this.language.merit(says[at]) - this.language.merit(word.text));
    let [begin, end, least, gain, most] = [0, 0, 0, 0, 0];
    for (let at = 0; at <= words.length; at += 1) {
      const cut = at === words.length || (at > 0 && words[at].start - words[at - 1].end > gap);
      if (cut || gain < Math.max(0, most - drop)) {
        if (this.#isClear(says.slice(begin, end), most)) {
          // Words at the edges that could be either belong to it as well.
          while (begin > least && this.#either(gains[begin - 1], words[begin - 1].text, says[begin - 1])) begin -= 1;
          while (end < at && this.#either(gains[end], words[end].text, says[end])) end += 1;
          yield { gain: most, begin, end };
          least = end;
        }
        gain = most = 0;
        least = cut ? at : least;
      }
      if (at === words.length) return;
      begin = gain === 0 ? at : begin;
      gain += gains[at];
      if (gain > most) [most, end] = [gain, at + 1];
    }
  }

  /**
   * @param {string[]} says
   * @param {number} gain
   */
  #isClear(says, gain) {
    const count = says.length;
    if (gain < Math.max(this.tables.gain, this.tables.gain_each * count) || count < 2) return false;
    return 5 * says.filter((word) => this.language.isCommon(word)).length >= count;
  }

  /**
   * @param {number} gain
   * @param {string} word
   * @param {string} says
   */
  #either(gain, word, says) {
    return gain > -lengthOf(word) && (this.language.isCommon(says) || !this.language.isCommon(word));
  }

  /**
   * @param {Text} text
   * @param {number} start
   * @param {number} end
   * @param {Cipher} cipher
   * @returns {Edit}
   */
  #deciphered(text, start, end, cipher) {
    const written = text.slice(start, end);
    const readings = [read(cipher, written)];
    if (cipher.how === "reversed") {
      // Words may be reversed where they stand, with what is written on to them or without.
      readings.push(...[NO_SPACES, WORD].map((each) => written.replace(each, reversed)));
    }
    const orders = readings.map((reading) => this.language.order(reading));
    const best = orders.indexOf(Math.max(...orders));
    return { start, end, text: readings[best], how: cipher.how, backwards: cipher.backwards && best === 0 };
  }
}

/**
 * @param {string} how
 * @param {string} letters
 * @param {number} shortest
 * @returns {Cipher}
 */
function alphabet(how, letters, shortest) {
  const written = LETTERS + LETTERS.toUpperCase();
  const says = letters + letters.toUpperCase();
  return { how, table: new Map([...written].map((letter, at) => [letter, says[at]])), backwards: false, shortest };
}

/** @param {number} by */
function rotate(by) {
  return LETTERS.slice(by) + LETTERS.slice(0, by);
}

/**
 * @param {Cipher} cipher
 * @param {string} text
 */
function read(cipher, text) {
  const says = translate(text, cipher.table);
  return cipher.backwards ? reversed(says) : says;
}

/**
 * Yield the ranges of words around these places, joined where they meet.
 * @param {number[]} places
 * @param {number} count
 * @param {number} reach
 * @returns {Generator<[number, number]>}
 */
function* around(places, count, reach) {
  let first = Math.max(places[0] - reach, 0);
  let last = first;
  for (const at of places) {
    if (at - reach > last) {
      yield [first, last];
      first = at - reach;
    }
    last = Math.min(at + reach + 1, count);
  }
  yield [first, last];
}

/**
 * The greatest gain first, then the last in the text, then the last of the ciphers.
 * @typedef {{gain: number, first: number, last: number, number: number}} Found
 * @param {Found} one
 * @param {Found} other
 */
function clearest(one, other) {
  return other.gain - one.gain || other.first - one.first || other.last - one.last || other.number - one.number;
}
