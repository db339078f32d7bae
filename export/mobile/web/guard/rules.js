/**
 * Personal data and credentials by their form. A finding has a form that hardly anything else has: what could as well be a
 * date, a version or an order number is none.
 *
 * Knows nothing of categories or policies. Every function is linear in the length of its input.
 */

import { isIPv6 } from "./address.js";
import { Text, WORD_CLASS } from "./text.js";

/** @typedef {import("./policy.js").Finding} Finding */
/** @typedef {import("./text.js").Match} Match */
/** @typedef {{iban_lengths: Record<string, number>, issuers: [string, string, number[]][], files: string[]}} RuleTables */
/** @typedef {[number, number] | null} Span */
/** @typedef {(found: Match, text: Text, tables: RuleTables) => Span} Valid */

const W = WORD_CLASS;
const EDGE = `(?:(?<=[${W}])(?![${W}])|(?<![${W}])(?=[${W}]))`;

const KEY = new RegExp(
  "(?<![A-Za-z0-9_-])(?:" +
    [
      "(?:AKIA|ASIA)[A-Z0-9]{16}",
      "gh[pousr]_[A-Za-z0-9]{36,255}",
      "github_pat_[A-Za-z0-9_]{22,255}",
      "sk-(?=[A-Za-z0-9_-]{0,40}[A-Za-z0-9]{16})(?=[A-Za-z0-9_-]{0,60}[0-9])[A-Za-z0-9_-]{20,200}",
      "[sr]k_(?:live|test)_[A-Za-z0-9]{16,200}",
      "xox[abeoprs]-(?=[A-Za-z-]{0,8}[0-9])[A-Za-z0-9-]{10,200}",
      "AIza[A-Za-z0-9_-]{35}",
      // A lookahead with a backreference is a possessive quantifier.
      "eyJ(?=([A-Za-z0-9_-]{8,}))\\1\\.eyJ(?=([A-Za-z0-9_-]{8,}))\\2\\.(?=([A-Za-z0-9_-]{8,}))\\3",
    ].join("|") +
    ")(?![A-Za-z0-9_-])" +
    "|-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----" +
    "(?:(?=((?:[^-]|-(?!----)){0,16384}))\\4-----END [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----" +
    "|(?:[ \\t-\\r]?[A-Za-z0-9+/=]{32,})*)",
  "gu",
);

/** @type {Valid} */
function asItIs(found) {
  return [found.start, found.end];
}

const EMAIL = new RegExp(
  `(?<![${W}.%+-])[${W}](?=([${W}.%+-]{0,63}))\\1@(?:[${W}-]{1,63}\\.){1,8}([\\p{L}\\p{Nl}\\p{No}]{2,24})(?![${W}@-]|:[${W}/~])`,
  "gu",
);

/** @type {Valid} */
function email(found, _, { files }) {
  return files.includes((found.groups[1] ?? "").toLowerCase()) ? null : [found.start, found.end];
}

const IBAN = /(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}(?=[ -]?[A-Za-z0-9])/gu;

/** @type {Valid} */
function iban(found, text, tables) {
  const country = (found.groups[0] ?? "").toUpperCase();
  const left = Object.hasOwn(tables.iban_lengths, country) ? tables.iban_lengths[country] - 4 : 0;
  const rest = left > 0 ? text.matchAt(new RegExp(`(?:[ -]?[A-Za-z0-9]){${left}}(?![A-Za-z0-9])`, "yu"), found.end) : null;
  if (!rest) return null;
  const account = (rest[0] + found[0]).replace(/[ -]/g, "");
  const number = [...account].map((char) => parseInt(char, 36)).join("");
  return BigInt(number) % 97n === 1n ? [found.start, rest.end] : null;
}

// Looks ahead, so that a number in front of the first four digits hides nothing.
const CARD = new RegExp(
  `(?<![${W}.])(?=((?:[0-9]{4}([ -])[0-9]{4}\\2[0-9]{4}\\2[0-9]{4}(?:\\2[0-9]{3})?|3[0-9]{3}([ -])[0-9]{6}\\3[0-9]{4,5}` +
    `|[0-9]{13,19}))(?![${W}]|[.-][0-9]))`,
  "gu",
);

/** @type {Valid} */
function card(found, _, { issuers }) {
  const written = found.groups[0] ?? "";
  const digits = written.replace(/[ -]/g, "");
  const issued = issuers.some(([low, high, lengths]) => {
    const head = digits.slice(0, low.length);
    return low <= head && head <= high && lengths.includes(digits.length);
  });
  if (!issued || new Set(digits).size === 1) return null;
  const sum = [...digits].reverse().reduce((total, digit, at) => {
    const doubled = 2 * Number(digit);
    return total + (at % 2 ? Math.floor(doubled / 10) + (doubled % 10) : Number(digit));
  }, 0);
  return sum % 10 === 0 ? [found.start, found.start + written.length] : null;
}

const OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const IPV4 = new RegExp(
  `(?<![${W}.-])(?<![A-Za-z]/)(?<![=<>~^!]=)${OCTET}(?:\\.${OCTET}){3}(?![${W}-]|\\.[${W}-])`,
  "gu",
);
const IPV6 = new RegExp(
  `(?<![${W}:.])(?<![${W}]\\[)(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9.]{7,15}|[0-9A-Fa-f]{1,4})?(?![${W}:])`,
  "gu",
);
const NO_ADDRESS = new RegExp(
  `${EDGE}(?:${anyCase("v|ver|version|release|build|firmware|update|section|chapter|clause|§|rule|article|item")})[^${W}]{0,3}$`,
  "iu",
);

/** @type {Valid} */
function ipv4(found, text) {
  return NO_ADDRESS.test(text.slice(Math.max(found.start - 12, 0), found.start)) ? null : [found.start, found.end];
}

/** @type {Valid} */
function ipv6(found) {
  const address = found[0].replace(/\.+$/, "");
  // A slice such as 1::2 is an address by its form.
  if (address !== "::1" && (address.length < 6 || !/[0-9]/.test(address))) return null;
  return isIPv6(address) ? [found.start, found.start + address.length] : null;
}

const AFTER_PHONE = `(?![${W}%€£$]|[.,:/\\-][0-9])`;
const PHONE = new RegExp(
  `(?<![${W}.,:/+$€£#\\-])(` +
    "\\+[1-9](?:[ ./()\\-]{0,2}[0-9]){8,14}" + // international
    "|(?<![0-9] )(?:" + // not the end of a longer number in groups
    "00[1-9](?:[ ./\\-]?[0-9]){8,13}" +
    "|(?:1[\\-. ])?(?:\\([2-9][0-9]{2}\\) ?|[2-9][0-9]{2}(?=([\\-.])[^\\n]{3}\\2))[\\-.]?[2-9][0-9]{2}[\\-. ][0-9]{4}" + // North America
    "|\\(?0[1-9][0-9]{0,4}\\)?[ /\\-]?[0-9]{2,8}(?:[ \\-][0-9]{2,8}){0,4}|0[1-9](?:\\.[0-9]{2}){4}" + // trunk zero
    "|1[3-9][0-9]([ \\-])[0-9]{4}\\3[0-9]{4}" + // China
    `))${AFTER_PHONE}`,
  "gu",
);
const SAID_PHONE = new RegExp(
  `${EDGE}(?:${anyCase("(?:tele)?(?:phone|fon)|tel|t[ée]l|fax|mobile|cell|handy|whatsapp|call|dial|sms|text")})${EDGE}` +
    `[^0-9\\n+]{0,20}(?<![${W}.,$€£#])(\\(?[0-9](?:[ ().\\-]{0,2}[0-9]){6,13})${AFTER_PHONE}`,
  "giu",
);
const OTHER_NUMBER = new RegExp(
  `${EDGE}(?:${anyCase("order|invoice|ticket|tracking|isbn|issn|sku|serial|case|part|item|ref|reference|id|doi")})` +
    `${EDGE}[^\\p{Nd}\\n]{0,12}$`,
  "iu",
);
const DATE = new RegExp(
  "^(?:(?:19|20)[0-9]{2}[\\-. ]|[0-3]?[0-9]([\\-. /])[0-3]?[0-9]\\1(?:19|20)[0-9]{2}(?![0-9])" +
    `|(?:19|20)[0-9]{2}(?![${W}]))`,
  "u",
);

/**
 * Return a pattern that Python matches in any case: its i is also the dotless one and the dotted capital.
 * @param {string} pattern
 */
function anyCase(pattern) {
  return pattern.replaceAll("i", "[iıİ]");
}

/** @type {Valid} */
function phone(found, text) {
  return number(found, text, false);
}

/** @type {Valid} */
function saidPhone(found, text) {
  return number(found, text, true);
}

/**
 * @param {Match} found
 * @param {Text} text
 * @param {boolean} said Whether a word before the number says that it is one.
 * @returns {Span}
 */
function number(found, text, said) {
  const written = found.groups[0] ?? "";
  const start = found.end - written.length;
  const digits = (written.match(/[0-9]/g) ?? []).length;
  if (!written.startsWith("+") && !written.startsWith("00")) {
    const groups = (written.match(/[0-9]+/g) ?? []).map((group) => group.length);
    // Ten or eleven digits in one piece; not four and four and four, which is how orders are numbered.
    const inFours = groups.every((length) => length === 4);
    const plausible = groups.length === 1 ? 10 <= digits && digits <= 11 : 9 <= digits && digits <= 12 && !inFours;
    if (!plausible && !(said && digits < 12)) return null;
    if (DATE.test(written) || OTHER_NUMBER.test(text.slice(Math.max(start - 24, 0), start))) return null;
  }
  return [start + Number(written[0] === "(" && !written.includes(")")), found.end];
}

/** @type {[string, RegExp, Valid][]} */
const KINDS = [
  ["key", KEY, asItIs],
  ["email", EMAIL, email],
  ["iban", IBAN, iban],
  ["card", CARD, card],
  ["ip", IPV6, ipv6],
  ["ip", IPV4, ipv4],
  ["phone", PHONE, phone],
  ["phone", SAID_PHONE, saidPhone],
];

/**
 * Return the personal data and credentials in a text, in order and without overlaps.
 * @param {string} text
 * @param {RuleTables} tables
 * @returns {Finding[]}
 */
export function findPii(text, tables) {
  const whole = new Text(text);
  const taken = new Uint8Array(whole.length);
  /** @type {Finding[]} */
  const found = [];
  for (const [kind, pattern, valid] of KINDS) {
    for (const match of whole.matches(pattern)) {
      const span = valid(match, whole, tables);
      if (!span || taken.subarray(...span).includes(1)) continue;
      taken.fill(1, ...span);
      found.push({ kind, start: span[0], end: span[1] });
    }
  }
  return found.sort((one, other) => one.start - other.start);
}

/**
 * Replace each finding by its kind in brackets: [email].
 * @param {string} text
 * @param {Finding[]} findings
 */
export function redact(text, findings) {
  const whole = new Text(text);
  const pieces = [];
  let at = 0;
  for (const { kind, start, end } of [...findings].sort((one, other) => one.start - other.start)) {
    if (start < at) continue;
    pieces.push(whole.slice(at, start), `[${kind}]`);
    at = end;
  }
  return pieces.join("") + whole.slice(at);
}
