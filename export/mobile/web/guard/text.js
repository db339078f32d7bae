/**
 * Text addressed by code points, and what Python says of characters, so that places and decisions are those of the Python guard.
 *
 * JavaScript counts UTF-16 units. Whatever this guard counts, cuts or reports is in code points; units appear nowhere else.
 * Knows nothing of readings, categories or models.
 */

/**
 * A match of a regular expression: what it matched, its groups, and its places in code points.
 * @typedef {{0: string, groups: (string | undefined)[], start: number, end: number}} Match
 */

/** The class `\w` of Python, to stand inside brackets of an expression with the flag `u`. */
export const WORD_CLASS = "\\p{L}\\p{N}_";
/** The class `\s` of Python, likewise: without U+FEFF, with the separators U+001C to U+001F and U+0085. */
export const SPACE_CLASS = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const SPACES = new RegExp(`[${SPACE_CLASS}]+`, "u");
const ONLY_SPACES = new RegExp(`^[${SPACE_CLASS}]+$`, "u");
const EDGES = new RegExp(`^[${SPACE_CLASS}]+|[${SPACE_CLASS}]+$`, "gu");
const SPACES_AT_END = new RegExp(`[${SPACE_CLASS}]+$`, "u");

/** A text whose places are code points. */
export class Text {
  /** @param {string} string */
  constructor(string) {
    this.string = string;
    /** @type {Uint32Array | null} Where each code point begins, in units; null where both count alike. */
    this.units = /[\ud800-\udbff][\udc00-\udfff]/.test(string) ? unitsOf(string) : null;
    this.length = this.units ? this.units.length - 1 : string.length;
  }

  /**
   * Return the text between two places; negative ones are not taken.
   * @param {number} start
   * @param {number} [end]
   */
  slice(start, end = this.length) {
    return this.string.slice(this.unit(start), this.unit(end));
  }

  /** @param {number} place */
  unit(place) {
    return this.units ? this.units[Math.min(place, this.length)] : place;
  }

  /** @param {number} unit */
  place(unit) {
    if (!this.units) return unit;
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.units[middle] < unit) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Yield the matches of an expression with the flags `gu`, in order.
   * @param {RegExp} pattern
   * @returns {Generator<Match>}
   */
  *matches(pattern) {
    for (const found of this.string.matchAll(pattern)) yield this.#match(found);
  }

  /**
   * Return the match of an expression that begins at a place (with the flags `yu`), or the first from there on (`gu`), or null.
   * @param {RegExp} pattern
   * @param {number} start
   */
  matchAt(pattern, start) {
    pattern.lastIndex = this.unit(start);
    const found = pattern.exec(this.string);
    return found && this.#match(found);
  }

  /**
   * @param {RegExpMatchArray} found
   * @returns {Match}
   */
  #match(found) {
    const unit = /** @type {number} */ (found.index);
    return { 0: found[0], groups: found.slice(1), start: this.place(unit), end: this.place(unit + found[0].length) };
  }
}

/** @param {string} string */
function unitsOf(string) {
  const units = new Uint32Array(string.length + 1);
  let count = 0;
  for (let unit = 0; unit < string.length; count += 1) {
    units[count] = unit;
    unit += (string.codePointAt(unit) ?? 0) > 0xffff ? 2 : 1;
  }
  units[count] = string.length;
  return units.slice(0, count + 1);
}

/**
 * Return how many code points a string has.
 * @param {string} string
 */
export function lengthOf(string) {
  return string.length - (string.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}

/** @param {string} char */
export function code(char) {
  return /** @type {number} */ (char.codePointAt(0));
}

/** @param {string} string */
export function isAscii(string) {
  return !/[^\x00-\x7f]/.test(string);
}

/**
 * Tell whether a text is spaces alone, at least one.
 * @param {string} string
 */
export function isSpace(string) {
  return ONLY_SPACES.test(string);
}

/**
 * Tell whether every character can be seen, or is a space.
 * @param {string} string
 */
export function isPrintable(string) {
  return !/[\p{C}\p{Z}]/u.test(string.replaceAll(" ", ""));
}

/**
 * Return the words between spaces of any kind, as Python's `split()`.
 * @param {string} string
 */
export function split(string) {
  return string.split(SPACES).filter((word) => word !== "");
}

/** @param {string} string */
export function strip(string) {
  return string.replace(EDGES, "");
}

/** @param {string} string */
export function stripEnd(string) {
  const last = string.at(-1);
  return last !== undefined && isSpace(last) ? string.replace(SPACES_AT_END, "") : string;
}

/** @param {string} string */
export function reversed(string) {
  return [...string].reverse().join("");
}

/**
 * Return the text with single characters replaced, as Python's `translate`.
 * @param {string} string
 * @param {ReadonlyMap<string, string>} table
 */
export function translate(string, table) {
  let said = "";
  for (const char of string) said += table.get(char) ?? char;
  return said;
}

/**
 * Return a test whether a character lies in one of these ranges, [first, last] in ascending order.
 * @param {number[][]} ranges
 * @returns {(char: string) => boolean}
 */
export function within(ranges) {
  return (char) => {
    const wanted = code(char);
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ranges[middle][1] < wanted) low = middle + 1;
      else high = middle;
    }
    return low < ranges.length && ranges[low][0] <= wanted;
  };
}
