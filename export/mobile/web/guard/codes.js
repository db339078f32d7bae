/**
 * The codes that a text may be written in: how to find the runs of each, and what a run says.
 *
 * Knows nothing of where a run stands. A reading counts only if `reads`, the caller's test, finds it worth reading.
 * No expression goes over a place twice.
 */

import { decodeUtf8, fromBase32, fromBase64, fromCodes, fromDigits, unescapeHtml, unquote, wholeUtf8 } from "./bytes.js";
import { code, split, translate } from "./text.js";

/** @typedef {(text: string) => boolean} Reads */
/**
 * How to find the runs of one code and what they say; `run` finds a run, or the first piece of a long one, `more` the next.
 * @typedef {{how: string, run: RegExp, more: RegExp, read: (run: string, reads: Reads) => string | null}} Reader
 */
/**
 * @typedef {object} CodeTables
 * @property {Record<string, string>} morse
 * @property {Record<string, string>} morse_signs
 * @property {import("./bytes.js").References} references
 * @property {number} piece
 */

const SHORT = 64;

/**
 * Return the text in bytes: all of it, or the printable part when that is most of it.
 * @param {Uint8Array} bytes
 * @param {Reads} reads
 */
function textOf(bytes, reads) {
  // A piece of a longer run may begin and end inside a character.
  let begin = 0;
  if (bytes.length > SHORT) while (begin < bytes.length && (bytes[begin] & 0xc0) === 0x80) begin += 1;
  const inside = bytes.subarray(begin);
  const whole = wholeUtf8(inside);
  const text = whole === inside.length || whole > Math.max(SHORT, inside.length - 4) ? decodeUtf8(inside.subarray(0, whole)) : "";
  if (text !== "" && reads(text)) return text;
  const [longest, strange] = printable(bytes);
  if (strange > 0.4 * bytes.length) return null;
  return bytes.length > longest.length && longest.length > 0.6 * bytes.length && reads(longest) ? longest : null;
}

/**
 * Return the longest printable stretch of twelve or more bytes, and how many bytes are not printable.
 * @param {Uint8Array} bytes
 * @returns {[string, number]}
 */
function printable(bytes) {
  let [longest, strange, start] = [new Uint8Array(), 0, 0];
  for (let at = 0; at <= bytes.length; at += 1) {
    const byte = bytes[at];
    if (at < bytes.length && (byte === 9 || byte === 10 || byte === 13 || (byte >= 0x20 && byte < 0x7f))) continue;
    if (at - start > Math.max(longest.length, 11)) longest = bytes.slice(start, at);
    start = at + 1;
    strange += Number(at < bytes.length);
  }
  return [decodeUtf8(longest), strange];
}

/** @type {Reader["read"]} */
function base64(run, reads) {
  if (/[a-z]/.test(run) && !/[A-Z]/.test(run)) return null; // no text comes out of small letters alone
  const digits = run.replace(/=+$/, "").replaceAll("-", "+").replaceAll("_", "/");
  // What stands right before the run may look like a part of it.
  for (let shift = 0; shift < (digits.length > 23 ? 4 : 1); shift += 1) {
    const length = digits.length - shift;
    const text = textOf(fromBase64(digits.slice(shift, digits.length - Number(length % 4 === 1))), reads);
    if (text) return text;
  }
  return null;
}

/** @type {Reader["read"]} */
function base32(run, reads) {
  const digits = run.replace(/=+$/, "").toUpperCase();
  const odd = [1, 3, 6].includes(digits.length % 8);
  return textOf(fromBase32(digits.slice(0, digits.length - Number(odd))), reads);
}

/** @type {Reader["read"]} */
function hex(run, reads) {
  return textOf(fromDigits(run.toLowerCase().replace(/0x|[^0-9a-f]/g, ""), 2, 16), reads);
}

/** @type {Reader["read"]} */
function binary(run, reads) {
  return textOf(fromDigits(run.replace(/[^01]/g, ""), 8, 2), reads);
}

/** @type {Reader["read"]} */
function decimal(run, reads) {
  const codes = (run.match(/[0-9]+/g) ?? []).map(Number);
  return codes.every((each) => each < 256) ? textOf(Uint8Array.from(codes), reads) : null;
}

/** @type {Reader["read"]} */
function octal(run, reads) {
  return textOf(Uint8Array.from(run.slice(1).split("\\"), (digits) => parseInt(digits, 8)), reads);
}

/** @type {Reader["read"]} */
function escapes(run, reads) {
  const codes = (run.toLowerCase().match(/[0-9a-f]+/g) ?? []).map((digits) => parseInt(digits, 16));
  return needless(codes.every((each) => each < 0x110000) ? fromCodes(codes) : "", reads);
}

/**
 * Return what escapes stand for if there are letters among it that need none, or if it is worth reading.
 * @param {string} text
 * @param {Reads} reads
 */
function needless(text, reads) {
  return /[A-Za-z]/.test(text) || reads(text) ? text : null;
}

/** @type {Reader["read"]} */
function url(run, reads) {
  const text = unquote(unquote(unquote(run)));
  const letters = /%(?:25)*(?:4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])/.test(run.toLowerCase());
  // An address with a space or two in it is only an address.
  return letters || (run.split("%").length > 4 && reads(text)) ? text : null;
}

/** @type {Reader["read"]} */
function tags(run) {
  const text = [...run].map((char) => String.fromCodePoint(code(char) - 0xe0000)).join("");
  return text.length === 1 ? text : ` ${text}`;
}

/** @type {Reader["read"]} */
function selectors(run, reads) {
  const bytes = [...run].map(code).map((each) => each - (each < 0xff00 ? 0xfe00 : 0xe0100 - 16));
  return textOf(Uint8Array.from(bytes), reads);
}

/**
 * @param {CodeTables} tables
 * @returns {Reader["read"]}
 */
function morse(tables) {
  const signs = new Map(Object.entries(tables.morse_signs));
  const letters = new Map(Object.entries(tables.morse));
  return (run, reads) => {
    const words = translate(run, signs).split(/ *[/|\n] *| {2,}/).map(split);
    if (words.flat().some((letter) => !letters.has(letter))) return null;
    const text = words.map((word) => word.map((letter) => letters.get(letter)).join("")).join(" ");
    return reads(text) ? text : null;
  };
}

/**
 * @param {string} how
 * @param {Reader["read"]} read
 * @param {string} run
 * @param {string} [before]
 * @returns {Reader}
 */
function reader(how, read, run, before = "") {
  return { how, run: new RegExp(before + run, "gu"), more: new RegExp(run, "yu"), read };
}

/**
 * Return the codes that must be read before anything is made plain.
 * @param {CodeTables} tables
 */
export function hiddenCodes(tables) {
  const sign = "[.\\-_–—…−·•]{1,7}";
  return [
    // The tags after a black flag name a country.
    reader("tags", tags, "[\\u{e0020}-\\u{e007e}]+", "(?<![\\u{1f3f4}\\u{e0020}-\\u{e007e}])"),
    reader("selectors", selectors, "[\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}]{4,512}"),
    reader("morse", morse(tables), `${sign}(?:[ /|\\n]{1,7}${sign}){3,512}`, "(?<![^ \\t-\\r\"'(:])"),
  ];
}

/**
 * Return the codes that are read in plain text, the strictest first.
 * @param {CodeTables} tables
 */
export function plainCodes(tables) {
  const digit = "A-Za-z0-9_+/\\-";
  /** @type {Reader["read"]} */
  const references = (run, reads) => needless(unescapeHtml(unescapeHtml(run, tables.references), tables.references), reads);
  return [
    reader("url", url, "%[0-9A-Fa-f]{2}(?:[^ \\t-\\r%]{0,24}%[0-9A-Fa-f]{2}){0,512}"),
    reader("html", references, "(?:&(?:amp;)?#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});?){1,512}"),
    reader("escapes", escapes, "(?:\\\\(?:u[0-9A-Fa-f]{4}|u\\{[0-9A-Fa-f]{1,6}\\})){1,512}"),
    reader("escapes", escapes, "(?:\\\\[xX][0-9A-Fa-f]{2}){2,512}"),
    reader("escapes", escapes, "(?:U\\+[0-9A-F]{4,6} ?){1,512}"),
    reader("octal", octal, "(?:\\\\[01][0-7]{2}){2,512}"),
    reader("binary", binary, "(?:[01]{8}[ ,]{0,2}){3,512}", "(?<![0-9])"),
    reader("hex", hex, "(?:(?:0x|\\\\x|=|%)?[0-9A-Fa-f]{2}[ ,:;\\-]{0,2}){4,512}", "(?<![0-9A-Za-z])"),
    reader("decimal", decimal, "[0-9]{2,3}(?:[ ,;]{1,2}[0-9]{2,3}){4,512}", "(?<![0-9.])"),
    reader("base32", base32, "(?:[A-Z2-7]{16,512}|[a-z2-7]{16,512}|[A-Za-z2-7]{7,14}(?==))={0,6}", "(?<![A-Za-z0-9])"),
    // The last piece takes what would be too short alone.
    reader("base64", base64, `(?:[${digit}]{512}(?=[${digit}]{8})|[${digit}]{8,519}|[${digit}]{6,7}(?==))={0,2}`, `(?<![${digit}])`),
  ];
}

/**
 * Yield the runs of a code in a text, long ones in pieces.
 * @param {Reader} reader
 * @param {import("./text.js").Text} text
 * @param {number} longest
 */
export function* runs(reader, text, longest) {
  let end = 0;
  for (const found of text.matches(reader.run)) {
    /** @type {import("./text.js").Match | null} */
    let piece = found;
    while (piece && piece.start >= end) {
      yield piece;
      end = piece.end;
      piece = end - piece.start >= longest ? text.matchAt(reader.more, end) : null;
    }
  }
}
