/**
 * Bytes and the text in them: UTF-8 read as Python reads it, base64, base32, percent signs and character references.
 *
 * Knows nothing of language. Whether what comes out is worth reading is for the caller to say.
 */

import { code } from "./text.js";

const LENIENT = new TextDecoder("utf-8", { ignoreBOM: true });
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const REFERENCE = /&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu;

/** @typedef {{named: Record<string, string>, numbered: Record<string, string>}} References */

/** @param {Uint8Array} bytes */
export function decodeUtf8(bytes) {
  return LENIENT.decode(bytes);
}

/**
 * Return how many bytes from the start are whole characters.
 * @param {Uint8Array} bytes
 */
export function wholeUtf8(bytes) {
  let at = 0;
  while (at < bytes.length) {
    const length = characterAt(bytes, at);
    if (length === 0) return at;
    at += length;
  }
  return at;
}

/**
 * Return the length of the character that begins here, 0 where none does.
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function characterAt(bytes, at) {
  const lead = bytes[at];
  if (lead < 0x80) return 1;
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  // Neither longer than need be, nor a surrogate, nor beyond the last code point.
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (bytes[at + 1] < least || bytes[at + 1] > most) return 0;
  for (let next = at + 2; next < at + length; next += 1) if ((bytes[next] & 0xc0) !== 0x80) return 0;
  return length;
}

/**
 * Read base64 without padding, of a length that base64 can have.
 * @param {string} run
 */
export function fromBase64(run) {
  return Uint8Array.from(atob(run), (char) => char.charCodeAt(0));
}

/**
 * Read base32 in capitals without padding; bits left over at the end are dropped.
 * @param {string} run
 */
export function fromBase32(run) {
  const bytes = [];
  let [bits, count] = [0, 0];
  for (const char of run) {
    bits = ((bits << 5) | BASE32.indexOf(char)) & 0xfff;
    count += 5;
    if (count >= 8) {
      count -= 8;
      bytes.push((bits >> count) & 0xff);
    }
  }
  return Uint8Array.from(bytes);
}

/**
 * Read numbers of a fixed count of digits each.
 * @param {string} digits
 * @param {number} each
 * @param {number} base
 */
export function fromDigits(digits, each, base) {
  if (digits.length % each) throw new Error("a run of digits ends inside a byte");
  const bytes = new Uint8Array(digits.length / each);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = parseInt(digits.slice(at * each, (at + 1) * each), base);
  return bytes;
}

/**
 * Undo percent signs; bytes that are no UTF-8 become U+FFFD.
 * @param {string} text
 */
export function unquote(text) {
  return text.replace(/[\x00-\x7f]+/g, (ascii) => {
    if (!ascii.includes("%")) return ascii;
    const bytes = [];
    for (let at = 0; at < ascii.length; at += 1) {
      const hex = ascii[at] === "%" ? /^[0-9A-Fa-f]{2}/.exec(ascii.slice(at + 1, at + 3)) : null;
      bytes.push(hex ? parseInt(hex[0], 16) : ascii.charCodeAt(at));
      if (hex) at += 2;
    }
    return decodeUtf8(Uint8Array.from(bytes));
  });
}

/**
 * Undo HTML's character references as HTML 5 does.
 * @param {string} text
 * @param {References} references
 */
export function unescapeHtml(text, references) {
  return text.replace(REFERENCE, (whole, /** @type {string} */ reference) => {
    if (reference[0] === "#") {
      const digits = reference.slice(1).replace(/;$/, "");
      return numbered(/^[xX]/.test(digits) ? parseInt(digits.slice(1), 16) : parseInt(digits, 10), references);
    }
    for (let end = reference.length; end > 1; end -= 1) {
      const name = reference.slice(0, end);
      if (Object.hasOwn(references.named, name)) return references.named[name] + reference.slice(end);
    }
    return whole;
  });
}

/**
 * @param {number} number
 * @param {References} references
 */
function numbered(number, references) {
  if (Object.hasOwn(references.numbered, String(number))) return references.numbered[number];
  return (number >= 0xd800 && number < 0xe000) || number > 0x10ffff ? "\ufffd" : String.fromCodePoint(number);
}

/**
 * Put code points together, halves of surrogate pairs too; a half alone becomes U+FFFD.
 * @param {number[]} codes
 */
export function fromCodes(codes) {
  return withoutSurrogates(codes.map((each) => String.fromCodePoint(each)).join(""), "\ufffd");
}

/**
 * Replace lone surrogates, which no tokenizer can read.
 * @param {string} text
 */
export function withoutSurrogates(text, by = "?") {
  return text.replace(/\p{Cs}/gu, by);
}

/**
 * Return the length of a character in UTF-8.
 * @param {string} char
 */
export function sizeOf(char) {
  const point = code(char);
  return 1 + Number(point > 0x7f) + Number(point > 0x7ff) + Number(point > 0xffff);
}
