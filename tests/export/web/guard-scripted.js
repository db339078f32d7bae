// @ts-check
/**
 * A guard that needs no model, served in place of guard/guard.js: it blocks what its words name, and releases word by word.
 *
 * Its events and verdicts have the form of the real one's; what it decides is scripted.
 */

/**
 * @typedef {object} Verdict
 * @property {string} action @property {string} rail @property {string | null} category @property {number} score
 * @property {number[]} span @property {string} message @property {boolean} failed @property {boolean} hard
 * @property {string | null} would @property {any[]} findings
 */

const REFUSAL = "I can't help with that. I'm glad to help with something else.";
const CRISIS = "Please call 988 or 116 123.\nfindahelpline.com lists one for your country.";
/** @type {[string, Partial<Verdict>][]} */
const INPUT = [
  ["bomb", { action: "block", category: "S9", message: REFUSAL }],
  ["hurt myself", { action: "replace", category: "S11", message: CRISIS }],
  ["ignore your rules", { action: "warn", category: "jailbreak" }],
  ["fail the guard", { action: "block", failed: true, message: "I couldn't check that." }],
];
const UNSAFE = /UNSAFE-TEXT/;

export class Guard {
  /** @param {{policy: any, tables: any, calibration: any, tokenizer: any, model: Uint8Array}} files */
  static async open({ policy, tables, calibration, tokenizer }) {
    if (!policy || !tables || !calibration || !tokenizer) throw new Error("a file of the guard is missing");
    return new Guard();
  }

  /** @param {string} text @param {string[]} [_context] @returns {Promise<Verdict>} */
  async checkInput(text, _context = []) {
    if (text.includes("throw in the guard")) throw new Error("scripted");
    const found = INPUT.find(([words]) => text.toLowerCase().includes(words));
    return verdict({ rail: "input", ...found?.[1] });
  }

  /**
   * Release a word when the next one has come, so that what is unsafe was never shown.
   * @param {string} _prompt @param {AsyncIterable<string>} pieces
   */
  async *stream(_prompt, pieces) {
    let text = "";
    let shown = 0;
    for await (const piece of pieces) {
      text += piece;
      if (UNSAFE.test(text)) {
        const stop = verdict({ action: "block", category: "S9", message: REFUSAL });
        yield { kind: /** @type {const} */ ("stopped"), verdict: stop, keep: sentences(text.slice(0, shown)) };
        return;
      }
      const end = text.lastIndexOf(" ");
      if (end <= shown) continue;
      yield released(text.slice(shown, end), end);
      shown = end;
    }
    yield released(text.slice(shown), text.length);
  }
}

/** @param {string} text @param {number} end */
const released = (text, end) => ({ kind: /** @type {const} */ ("released"), text, end, verdict: verdict({}) });

/** Return how many code points the whole sentences of a text are. @param {string} text */
const sentences = (text) => [...(/^[\s\S]*[.!?](?=\s|$)/.exec(text)?.[0] ?? "")].length;

/** @param {Partial<Verdict>} seen @returns {Verdict} */
const verdict = (seen) => ({
  action: "allow",
  rail: "output",
  category: null,
  score: seen.category ? 0.99 : 0.01,
  span: [0, 0],
  message: "",
  failed: false,
  hard: false,
  would: null,
  findings: [],
  ...seen,
});
