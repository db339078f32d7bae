/**
 * Other readings of the same text: what a reader sees or a model decodes, whatever the code points are.
 *
 * Knows nothing of categories or models. Every function is linear in the length of its input.
 */

import { Form } from "./form.js";
import { code, isAscii, isSpace, lengthOf, SPACE_CLASS, split, Text, translate, within, WORD_CLASS } from "./text.js";

/**
 * @typedef {object} NormalizeTables
 * @property {Record<string, string>} pictured
 * @property {Record<string, string>} phonetic
 * @property {Record<string, string>} lookalikes
 * @property {string} joining
 * @property {number} layers
 * @property {number} long
 * @property {number} block
 * @property {number} longest
 * @property {number} around
 */

const SIGN = "\\p{L}\\p{N}";
// Letters that stand apart: in words that stand further or otherwise apart ("h o w  t o", "h.o.w t.o"), evenly (four or more
// with the same between them: "b.o.m.b"), or with any one sign between; each up to a letter that no word goes on behind.
const SPACED_WORDS = apart(`[${SIGN}](?:[ .\\-_*]{1,4}[${SIGN}]){3,}`);
const EVENLY_SPACED = apart(`[${SIGN}]([ .\\-_*]+)[${SIGN}](?:\\1[${SIGN}]){2,}`);
const SPACED = apart(`[${SIGN}](?:[ .\\-_*][${SIGN}]){3,}`);
const LAST_LETTER = new RegExp(`[${SIGN}](?![${WORD_CLASS}])`, "gu");
const SPACES = / {2,}|^ | $/gu;
const ANY_SPACE = new RegExp(`[${SPACE_CLASS}]`, "gu");
const LETTER = /[\p{L}\p{Nl}\p{No}]/u;
const INVISIBLE = /^[\p{Cf}\p{Cc}\p{Co}\p{Cs}]$/u;
// Accents stacked on any letter, variation selectors and empty letters; the marks a script needs are not among them.
const HIDING = new RegExp(
  "^[\\u0300-\\u036f\\u115f\\u1160\\u180b-\\u180f\\u1ab0-\\u1aff\\u1dc0-\\u1dff\\u20d0-\\u20ff\\u2800\\ufe00-\\ufe0f" +
    "\\ufe20-\\ufe2f\\u{e0100}-\\u{e01ef}]$",
  "u",
);
// Characters that NFKC changes by themselves (c), that may join the one before (j), both (b) or neither (.). The runs are
// short: the order of marks is settled in quadratic time.
const COMPATIBLE = /(?:[cb][jb]{0,30}){1,16}|.[jb]{1,30}/gu;
const OTHER_SCRIPT = /[\u0370-\u058f\u13a0-\u13fd\uab70-\uabbf]/;

/** @param {string} pattern */
function apart(pattern) {
  return new RegExp(`(?<![${WORD_CLASS}])${pattern}`, "gu");
}

export class Normalizer {
  /**
   * @param {NormalizeTables} tables
   * @param {number[][]} combining
   * @param {import("./decode.js").Decoder} decoder
   */
  constructor(tables, combining, decoder) {
    this.tables = tables;
    this.pictured = new Map(Object.entries(tables.pictured));
    this.phonetic = new Map(Object.entries(tables.phonetic));
    this.lookalikes = new Map(Object.entries(tables.lookalikes));
    this.joining = new Set(tables.joining);
    this.isCombining = within(combining);
    this.decoder = decoder;
  }

  /**
   * Return the raw text and each other reading of it that is language; the guard judges by the worst of them.
   * They are four at most, and two of a long text: itself and what else can be read in it.
   * @param {string} text
   */
  forms(text) {
    const { layers, long, block } = this.tables;
    const raw = Form.raw(text);
    const isLong = raw.whole.length > long;
    const plain = this.#plain(raw);
    let reading = raw;
    let readings = [raw, plain];
    for (let layer = 0; layer < layers; layer += 1) {
      const shown = reading.edited(this.decoder.hidden(reading.text));
      const bare = shown === raw ? plain : this.#plain(shown);
      reading = bare.edited(this.decoder.encoded(bare.text));
      readings.push(reading);
      if (reading === plain) break;
      reading = isLong ? reading.excerpt(raw, block) : reading;
    }
    if (isLong) readings = [raw, readings[readings.length - 1].excerpt(raw, block)];
    // Spaces alone make no other reading.
    const different = new Map();
    for (const form of readings) {
      const words = split(form.text).join(" ");
      if ((form.text !== "" || form === raw) && !different.has(words)) different.set(words, form);
    }
    return /** @type {Form[]} */ ([...different.values()]);
  }

  /**
   * Return the plain spelling of a text together with where it comes from: compatibility characters, invisible characters,
   * look-alike letters and s p a c e d letters undone.
   * @param {string} text
   */
  plainForm(text) {
    return this.#plain(Form.raw(text));
  }

  /** @param {Form} form */
  #plain(form) {
    const pictured = form.saying(translate(form.text, this.pictured));
    // Only when what is invisible is gone do some neighbours meet.
    const compatible = this.#compatible(pictured);
    let shown = visible(compatible);
    shown = shown === compatible ? shown : this.#compatible(shown);
    shown = shown.saying(shown.text.replace(ANY_SPACE, " "));
    shown = together(together(shown, SPACED_WORDS, parted), EVENLY_SPACED, joined);
    const { length } = shown.whole;
    const spaces = [...shown.whole.matches(SPACES)].map(({ start, end }) => {
      return { start, end, text: start > 0 && end < length ? " " : "", how: "" };
    });
    shown = this.#latin(together(shown.edited(spaces), SPACED, joined));
    if (shown.text === form.text) return form;
    return new Form(shown.text, shown.starts, form.how === "raw" ? "plain" : form.how);
  }

  /**
   * Apply NFKC to the characters that it changes, together with the marks that follow them, and to any with marks.
   * @param {Form} form
   */
  #compatible(form) {
    if (isAscii(form.text)) return form;
    const kinds = new Map([...new Set(form.text)].map((char) => [char, this.#kind(char)]));
    if ([...kinds.values()].every((kind) => kind === ".")) return form;
    const edits = [...new Text(translate(form.text, kinds)).matches(COMPATIBLE)].map(({ start, end }) => {
      return { start, end, text: form.whole.slice(start, end).normalize("NFKC"), how: "" };
    });
    return form.edited(edits);
  }

  /** @param {string} char */
  #kind(char) {
    if (char <= "\x7f") return ".";
    const said = char.normalize("NFKC");
    const first = String.fromCodePoint(code(said));
    const joins = this.isCombining(first) || (first >= "\u1160" && first <= "\u11ff") || this.joining.has(first);
    // What takes many letters is a whole phrase and hides none.
    const changes = said !== char && lengthOf(said) <= this.tables.longest;
    return ".cjb"[Number(changes) + 2 * Number(joins)];
  }

  /**
   * Map look-alikes in words that mix scripts, and words of look-alikes alone unless their neighbours are foreign.
   * @param {Form} form
   */
  #latin(form) {
    const text = translate(form.text, this.phonetic);
    const words = text.split(" ");
    const says = translate(text, this.lookalikes).split(" ");
    const differs = words.map((word, at) => word !== says[at]);
    for (const [at, other] of differs.entries()) {
      if (!other) continue;
      const [first, last] = [Math.max(at - this.tables.around, 0), at + this.tables.around + 1];
      // A letter alone is a word in few places, and a symbol in many.
      const word = lengthOf(words[at]) > 1 || differs.slice(first, last).filter(Boolean).length > 1;
      const foreign = says.slice(first, last).some((each) => OTHER_SCRIPT.test(each));
      if (/[A-Za-z]/.test(words[at]) || (word && !foreign)) words[at] = says[at];
    }
    return form.saying(words.join(" "));
  }
}

/** @param {Form} form */
function visible(form) {
  const chars = new Set(form.text);
  const gone = new Set([...chars].filter((char) => HIDING.test(char) || (INVISIBLE.test(char) && !isSpace(char))));
  if (gone.size === 0) return form;
  const kept = [];
  const starts = [];
  let at = 0;
  for (const char of form.text) {
    if (!gone.has(char)) {
      kept.push(char);
      starts.push(form.starts[at]);
    }
    at += 1;
  }
  return new Form(kept.join(""), Uint32Array.from(starts), form.how);
}

/**
 * Put letters together that stand apart; each run of them is read once.
 * @param {Form} form
 * @param {RegExp} pattern
 * @param {(letters: string) => string} said
 */
function together(form, pattern, said) {
  const edits = [];
  let run = form.whole.matchAt(pattern, 0);
  while (run) {
    const { start, end } = run;
    const behind = [...new Text(form.whole.slice(start, end + 1)).matches(LAST_LETTER)];
    const last = behind.reduce((most, each) => (start + each.end <= end ? start + each.end : most), start);
    const found = new Text(form.whole.slice(start, last)).matchAt(pattern, 0);
    if (found) edits.push({ start, end: last, text: said(found[0]), how: "" });
    // What cannot end a run that begins at its first letter cannot end one that begins at a later.
    run = form.whole.matchAt(pattern, found ? last : end - 1);
  }
  return form.edited(edits);
}

/**
 * Join letters; digits alone are a table or a version.
 * @param {string} letters
 */
function joined(letters) {
  return LETTER.test(letters) ? letters.replace(/[ .\-_*]/g, "") : letters;
}

/**
 * Join the letters of words that have other spaces between them than their letters have.
 * @param {string} run
 */
function parted(run) {
  if (!LETTER.test(run)) return run;
  const spaces = run.match(/[ .\-_*]+/g) ?? [];
  /** @type {Map<number, number>} */
  const lengths = new Map();
  for (const { length } of spaces) lengths.set(length, (lengths.get(length) ?? 0) + 1);
  const [inside] = [...lengths].sort((one, other) => other[1] - one[1] || one[0] - other[0])[0];
  const single = spaces.filter((space) => space === " ").length;
  if (lengths.size === 1 && (single === 0 || 2 * single > spaces.length)) return run;
  const ends = spaces.map((space) => (lengths.size > 1 ? space.length !== inside : space === " "));
  const letters = run.match(/[\p{L}\p{N}]/gu) ?? [];
  return letters.map((letter, at) => (at > 0 && ends[at - 1] ? ` ${letter}` : letter)).join("");
}
