/**
 * Phrases to look for in the plain spelling of a text, as whole words in any case, whatever punctuation is between.
 *
 * Knows nothing of policies.
 */

import { lengthOf, WORD_CLASS } from "./text.js";

/** @typedef {import("./normalize.js").Normalizer} Normalizer */
/** @typedef {Map<string, Node>} Node */

// Writing that sets no spaces: every character is a word.
const UNSPACED = "\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3040-\\u30ff\\u3400-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3ffff}";
// The marks that scripts need, and those that stand on any letter.
const MARK = "(?=[\\u0300-\\u1dff\\ua600-\\uabff])\\p{M}";
const WORD = `[${UNSPACED}]|(?:(?![_${UNSPACED}])(?:[${WORD_CLASS}]|${MARK}))+`;
const SIGN = /^[#%&@\p{S}]$/u;
const WRITING = new RegExp(`^(?:[\\p{L}\\p{N}\\p{P}\\p{Z}\\t\\n\\r]|(?=[\\u0591-\\u1aaf])${MARK})$`, "u");
/** What stands in the tree of words where a phrase ends. */
const END = "";

export class PhraseList {
  /**
   * Take the phrases; one without a word or a sign is never found.
   * @param {string[]} phrases
   * @param {Normalizer} normalizer
   * @param {Record<string, string>} casefold
   */
  constructor(phrases, normalizer, casefold) {
    this.normalizer = normalizer;
    this.casefold = new Map(Object.entries(casefold));
    const spelled = phrases.map((phrase) => normalizer.plainForm(phrase).text);
    // A sign counts where it is a part of some phrase: C++ and C# are other words than C.
    this.signs = new Set([...spelled.join("")].filter((char) => SIGN.test(char)));
    this.word = new RegExp([WORD, ...[...this.signs].map(escaped)].join("|"), "gu");
    this.longest = Math.max(0, ...spelled.map(lengthOf));
    /** @type {Node} */
    this.tree = new Map();
    for (const phrase of spelled) this.#plant(phrase);
  }

  /** @param {string} phrase */
  #plant(phrase) {
    let node = this.tree;
    for (const word of phrase.match(this.word) ?? []) {
      const folded = this.#folded(word);
      const next = node.get(folded) ?? new Map();
      node.set(folded, next);
      node = next;
    }
    if (node !== this.tree) node.set(END, new Map());
  }

  /** @param {string} word */
  #folded(word) {
    return [...word].map((char) => this.casefold.get(char) ?? char.toLowerCase()).join("");
  }

  /**
   * Return the span of the first phrase in a text, or null.
   * @param {string} text
   * @returns {[number, number] | null}
   */
  first(text) {
    if (this.tree.size === 0) return null;
    const plain = this.normalizer.plainForm(text);
    const words = [...plain.whole.matches(this.word)].map(({ 0: word, start, end }) => ({ start, end, word: this.#folded(word) }));
    for (let first = 0; first < words.length; first += 1) {
      /** @type {Node | undefined} */
      let node = this.tree;
      for (let at = first; at < words.length; at += 1) {
        node = node.get(words[at].word);
        if (node === undefined) break;
        if (node.has(END)) return plain.span(words[first].start, words[at].end);
      }
    }
    return null;
  }

  /**
   * Tell whether a text is one of the phrases and nothing else, not even anything that a reader does not see.
   * @param {string} text
   */
  matchesWhole(text) {
    if (lengthOf(text) > 2 * this.longest + 64) return false;
    if (![...text].every((char) => this.signs.has(char) || WRITING.test(char))) return false;
    /** @type {Node | undefined} */
    let node = this.tree;
    for (const word of this.normalizer.plainForm(text).text.match(this.word) ?? []) {
      node = node.get(this.#folded(word));
      if (node === undefined) return false;
    }
    return node.has(END);
  }
}

/** @param {string} char */
function escaped(char) {
  return char.replace(/[$^+|\\]/, "\\$&");
}
