/**
 * Words and word pieces of a text, each with the characters that it stands for, and what of it goes unread.
 *
 * The library in the bundle gives no places, and cuts words otherwise than its namesake in Rust, with which the guard was
 * trained: it lowers the Greek final sigma by its neighbours and leaves ideographs beyond U+FFFF together. So words are cut and
 * matched here, by the tables, and the library keeps the vocabulary. Knows no model.
 */

import { sizeOf, withoutSurrogates } from "./bytes.js";
import { code, isAscii, isSpace, Text, within } from "./text.js";

/** @typedef {{dropped: number[][], punctuation: number[][], apart: number[][], exceptions: Record<string, string>}} TokenizerTables */
/**
 * @typedef {object} Vocabulary
 * @property {(token: string) => number | undefined} token_to_id
 * @property {() => Map<number, {content: string}>} get_added_tokens_decoder
 * @property {(withAdded?: boolean) => Map<string, number>} get_vocab
 */
/**
 * Token ids, the characters of the text that each stands for, and what goes unread of it by script, in weighed bytes.
 * @typedef {{ids: number[], places: [number, number][], unread: (Map<string, number> | null)[]}} Encoded
 */

const CONTINUES = "##";
const MOST_CHARACTERS = 100;
const MOST_CACHED = 4096;
const PRIVATE = /^\p{Co}$/u;
const LETTER = /^\p{L}$/u;
/** The script of a Latin word that one strange letter makes unknown: nobody writes one by chance. */
const MIXED = "MIXED";
/** What scripts count as in which the guard was not taught, though it has words for them. */
const UNTAUGHT = "UNTAUGHT";

export class WordPieces {
  /**
   * @param {Vocabulary} vocabulary
   * @param {TokenizerTables} tables
   * @param {Record<string, number[][]>} scripts
   * @param {{longest_word: number, unread: number, unknown: number, taught: string[]}} limits
   * @param {(text: string) => string} plain
   */
  constructor(vocabulary, tables, scripts, limits, plain) {
    this.limits = limits;
    this.plain = plain;
    this.ids = vocabulary.get_vocab();
    this.unknown = vocabulary.token_to_id("[UNK]") ?? -1;
    this.longest = [...this.ids.keys()].reduce((most, token) => Math.max(most, token.length), 0);
    const added = [...vocabulary.get_added_tokens_decoder().values()].map((token) => token.content);
    const patterns = added.sort((one, other) => other.length - one.length).map((token) => token.replace(/[^\p{L}\p{N}_ ]/gu, "\\$&"));
    this.added = new RegExp(patterns.join("|") || "(?!)", "gu");
    this.isDropped = within(tables.dropped);
    this.isPunctuation = within(tables.punctuation);
    this.isApart = within(tables.apart);
    this.exceptions = new Map(Object.entries(tables.exceptions));
    this.scripts = Object.entries(scripts)
      .flatMap(([name, ranges]) => ranges.map(([first, last]) => ({ first, last, name })))
      .sort((one, other) => one.first - other.first);
    /** @type {Map<string, string>} */
    this.cache = new Map();
  }

  /**
   * @param {string} text
   * @returns {Encoded}
   */
  encode(text) {
    const { chars, origins } = this.#cut(withoutSurrogates(text));
    /** @type {Encoded} */
    const found = { ids: [], places: [], unread: [] };
    const whole = new Text(chars.join(""));
    let at = 0;
    for (const match of whole.matches(this.added)) {
      this.#words(chars, origins, at, match.start, found);
      this.#add(found, this.ids.get(match[0]) ?? this.unknown, origins[match.start], origins[match.end - 1] + 1, match[0]);
      at = match.end;
    }
    this.#words(chars, origins, at, chars.length, found);
    return found;
  }

  /**
   * Return the characters with spaces in words that are too long to be read, and where each comes from.
   * @param {string} text
   */
  #cut(text) {
    const chars = [];
    const origins = [];
    let [run, at] = [0, 0];
    for (const char of text) {
      run = isSpace(char) ? 0 : run + 1;
      if (run > this.limits.longest_word) {
        chars.push(" ");
        origins.push(at);
        run = 1;
      }
      chars.push(char);
      origins.push(at);
      at += 1;
    }
    return { chars, origins };
  }

  /**
   * Cut a stretch into words, at spaces and around punctuation and ideographs, and add their pieces.
   * @param {string[]} chars
   * @param {number[]} origins
   * @param {number} from
   * @param {number} to
   * @param {Encoded} found
   */
  #words(chars, origins, from, to, found) {
    /** @type {{says: string[], ats: number[]}} */
    let word = { says: [], ats: [] };
    const flush = () => {
      if (word.says.length > 0) this.#pieces(word, chars, origins, found);
      word = { says: [], ats: [] };
    };
    for (let at = from; at < to; at += 1) {
      for (const char of this.#normal(chars[at])) {
        const apart = this.isPunctuation(char);
        if (char === " " || apart) flush();
        if (char === " ") continue;
        word.says.push(char);
        word.ats.push(at);
        if (apart) flush();
      }
    }
    flush();
  }

  /**
   * Return what the tokenizer makes of a character: nothing, a space, or small letters without accents.
   * @param {string} char
   */
  #normal(char) {
    const known = this.cache.get(char);
    if (known !== undefined) return known;
    const said = this.#normalized(char);
    if (this.cache.size >= MOST_CACHED) this.cache.clear();
    this.cache.set(char, said);
    return said;
  }

  /** @param {string} char */
  #normalized(char) {
    if (this.isDropped(char) || PRIVATE.test(char)) return "";
    const exception = this.exceptions.get(char);
    if (exception !== undefined) return exception;
    if (isSpace(char)) return " ";
    const parts = [...char.normalize("NFD")].filter((part) => !this.isDropped(part));
    const said = parts.map((part) => part.toLowerCase()).join("");
    return this.isApart(char) ? ` ${said} ` : said;
  }

  /**
   * Add the longest pieces that a word is made of, from its start; the whole word is unknown where one is missing.
   * @param {{says: string[], ats: number[]}} word
   * @param {string[]} chars
   * @param {number[]} origins
   * @param {Encoded} found
   */
  #pieces({ says, ats }, chars, origins, found) {
    /** @type {{id: number, start: number, end: number}[]} */
    const pieces = [];
    const word = new Text(says.join(""));
    for (let start = 0; start < word.length; ) {
      const piece = word.length > MOST_CHARACTERS ? null : this.#longest(word, start);
      if (!piece) {
        pieces.splice(0, pieces.length, { id: this.unknown, start: 0, end: word.length });
        break;
      }
      pieces.push({ ...piece, start });
      start = piece.end;
    }
    for (const { id, start, end } of pieces) {
      const written = chars.slice(ats[start], ats[end - 1] + 1).join("");
      this.#add(found, id, origins[ats[start]], origins[ats[end - 1]] + 1, written);
    }
  }

  /**
   * Return the longest piece that begins at a place of a word; no piece is longer than the longest of the vocabulary.
   * @param {Text} word
   * @param {number} start
   */
  #longest(word, start) {
    for (let end = Math.min(word.length, start + this.longest); end > start; end -= 1) {
      const piece = word.slice(start, end);
      const id = this.ids.get(start ? CONTINUES + piece : piece);
      if (id !== undefined) return { id, end };
    }
    return null;
  }

  /**
   * @param {Encoded} found
   * @param {number} id
   * @param {number} start
   * @param {number} end
   * @param {string} written
   */
  #add(found, id, start, end, written) {
    found.ids.push(id);
    found.places.push([start, end]);
    found.unread.push(this.#unread(written, id === this.unknown));
  }

  /**
   * Count what goes unread of a word; styled and look-alike Latin letters are read in the plain spelling.
   * @param {string} word
   * @param {boolean} unknown
   */
  #unread(word, unknown) {
    if (isAscii(word)) return null;
    const letters = [...(unknown ? this.plain(word) : word)].filter((char) => LETTER.test(char));
    const strange = letters.filter((char) => !isAscii(char));
    if (unknown && strange.length > 0 && strange.length < letters.length) return new Map([[MIXED, this.limits.unread + 1]]);
    /** @type {Map<string, number>} */
    const bytes = new Map();
    for (const char of strange) {
      const script = this.#script(code(char));
      const isRead = this.limits.taught.includes(script);
      const counted = unknown || isRead ? script : UNTAUGHT;
      const weight = unknown ? this.limits.unknown : isRead ? -this.limits.unknown : 1;
      bytes.set(counted, (bytes.get(counted) ?? 0) + sizeOf(char) * weight);
    }
    return bytes;
  }

  /** @param {number} point */
  #script(point) {
    let low = 0;
    let high = this.scripts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.scripts[middle].last < point) low = middle + 1;
      else high = middle;
    }
    const range = this.scripts[low];
    return range && range.first <= point ? range.name : "?";
  }
}
