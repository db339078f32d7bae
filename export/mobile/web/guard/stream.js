/**
 * The output rail on text that is still being written: nothing is released that was not checked.
 *
 * Pieces may arrive in any sizes, or all at once: the checks are the same, and so is the verdict. A score over the threshold
 * holds the text back; a later check that reads all of it again may clear it, and the end confirms it. A score over the hard
 * threshold stops the answer at once. It knows no engine: pieces come in, checked text goes out.
 */

import { endsSentence, excerptStart, reach, Scanner, settled } from "./checkpoints.js";
import { GuardError, isBlocked, worst } from "./policy.js";
import { findPii, redact } from "./rules.js";
import { isSpace } from "./text.js";

/** @typedef {import("./policy.js").Verdict} Verdict */
/** @typedef {import("./policy.js").Finding} Finding */
/** @typedef {import("./policy.js").Rail} Rail */
/**
 * Checked text, and how many characters (code points) of the answer, as the model wrote it, are shown with it.
 * @typedef {{kind: "released", text: string, end: number, verdict: Verdict}} Released
 */
/**
 * The end of an answer that must not go on: show the verdict's message. `keep` characters of what was shown stay.
 * @typedef {{kind: "stopped", verdict: Verdict, keep: number}} Stopped
 */
/**
 * What the rail asks of a guard.
 * @typedef {object} Judge
 * @property {import("./policy.js").Policy} policy
 * @property {any} tables
 * @property {(prompt: string, excerpt: string) => Promise<Verdict>} judgeAnswer
 * @property {(rail: Rail, findings: Finding[]) => Verdict} judgePii
 * @property {(rail: Rail, why: unknown) => Verdict} refusal
 * @property {(verdict: Verdict) => Verdict} published
 */

/** The state of one answer. Places are counted from where `text` begins; `base` is where that is in the answer. */
export class OutputRail {
  /**
   * @param {Judge} judge
   * @param {string} prompt
   */
  constructor(judge, prompt) {
    /** True once the answer is stopped. */
    this.over = false;
    this.judge = judge;
    this.prompt = prompt;
    this.limits = judge.tables.stream;
    this.checkpoints = judge.tables.checkpoints;
    /** @type {string[]} */
    this.text = [];
    this.base = 0;
    this.scanner = new Scanner(this.checkpoints);
    this.cleared = 0;
    this.released = 0;
    this.shown = 0;
    this.keep = 0;
    /** @type {Verdict[]} */
    this.passed = [];
    /** @type {Verdict[]} */
    this.held = [];
    /** @type {Finding[]} */
    this.findings = [];
    /** @type {Verdict | null} */
    this.passing = null;
    this.spent = 0;
    this.started = 0;
    this.half = "";
  }

  /**
   * Take the next piece and return what it leads to. Half a surrogate pair at its end waits for the other half.
   * @param {string} piece
   */
  async feed(piece) {
    const text = this.half + piece;
    this.half = /[\ud800-\udbff]$/.exec(text)?.[0] ?? "";
    return this.#step(text.slice(0, text.length - this.half.length), false);
  }

  /** Take the end of the answer and return what it leads to. */
  async finish() {
    return this.#step(this.half, true);
  }

  /**
   * @param {string} piece
   * @param {boolean} final
   */
  async #step(piece, final) {
    this.started = performance.now();
    /** @type {(Released | Stopped)[]} */
    const events = [];
    try {
      for (const char of piece) this.text.push(char);
      for await (const event of this.#advance(final)) events.push(event); // what was released before a failure was released
      this.#forget();
    } catch (error) {
      // Fail closed: no failure of any library may let a text through.
      events.push(this.#stop(this.judge.refusal("output", error)));
    }
    this.spent += performance.now() - this.started;
    return events;
  }

  /**
   * @param {boolean} final
   * @returns {AsyncGenerator<Released | Stopped>}
   */
  async *#advance(final) {
    while (!this.passing && !this.over) {
      const place = this.scanner.next(this.text, final);
      if (place === null) break;
      yield* this.#check(place);
    }
    const left = this.released < this.text.length;
    if (this.passing && left) {
      this.scanner.at = this.text.length;
      yield this.#show(this.text.length, this.text.slice(this.released).join(""), this.passing);
    } else if (final && this.held.length > 0 && !this.over) {
      yield this.#stop(worst(this.held));
    } else if (final && left && !this.over) {
      yield* this.#release(this.text.length, true);
    }
  }

  /**
   * @param {number} place
   * @returns {AsyncGenerator<Released | Stopped>}
   */
  async *#check(place) {
    if (this.scanner.found > this.limits.most_checks) throw new GuardError("the answer is too long to be checked whole");
    // Whatever is held back is read again, whole: only a check that reads it can clear it.
    const start = Math.min(excerptStart(this.text, place, this.checkpoints), this.cleared);
    const judged = await this.judge.judgeAnswer(this.prompt, this.text.slice(start, place).join(""));
    const at = this.base + start;
    /** @type {Verdict} */
    const seen = { ...judged, span: [judged.span[0] + at, judged.span[1] + at] };
    if (isBlocked(seen)) {
      this.held.push(seen);
      if (seen.hard || this.held.length >= this.limits.most_held) yield this.#stop(worst(this.held));
    } else {
      this.held = [];
      this.cleared = place;
      this.passed.push(seen);
      yield* this.#release(place, false);
    }
  }

  /**
   * Release the text up to a place, but not an end of it that may become a finding with what comes next.
   * @param {number} place
   * @param {boolean} final
   * @returns {Generator<Released | Stopped>}
   */
  *#release(place, final) {
    const { policy } = this.judge;
    const action = policy.pii.output;
    const before = this.released;
    const { end, found } = action === "allow" ? { end: place, found: [] } : this.#settled(place, final);
    let text = this.text.slice(before, end).join("");
    if (found.length > 0) {
      const at = this.base + before;
      const placed = found.map((each) => ({ ...each, start: each.start + at, end: each.end + at }));
      const seen = this.judge.judgePii("output", placed);
      if (isBlocked(seen)) {
        yield this.#stop(seen);
        return;
      }
      text = action === "redact" && !policy.shadow ? redact(text, found) : text;
      this.findings.push(...seen.findings);
      this.passed.push(seen);
    }
    this.passed = [worst(this.passed)];
    if (end === place && place < this.text.length && endsSentence(this.text, place, this.checkpoints)) {
      this.keep = this.shown + [...text].length;
    }
    yield this.#show(end, text, this.#outside(this.passed[0]));
  }

  /**
   * Return how far text may be released, and the personal data in what is not yet, counted from there.
   * @param {number} place
   * @param {boolean} final
   */
  #settled(place, final) {
    // What stands before them is read too: a word may tell what a number is.
    const start = Math.max(this.released - this.limits.context, 0);
    const before = this.released - start;
    const found = findPii(this.text.slice(start, place).join(""), this.judge.tables.rules)
      .filter((each) => each.end > before)
      .map((each) => ({ ...each, start: Math.max(each.start - before, 0), end: each.end - before }));
    const text = this.text.slice(this.released, place);
    const inside = place >= this.text.length || !isSpace(this.text[place]);
    const end = final ? text.length : settled(text, found, inside, this.checkpoints);
    const blocks = this.judge.policy.pii.output === "block";
    return { end: this.released + end, found: found.filter((each) => each.end <= end || blocks) };
  }

  /**
   * @param {number} end
   * @param {string} text
   * @param {Verdict} verdict
   * @returns {Released}
   */
  #show(end, text, verdict) {
    this.released = end;
    this.shown += [...text].length;
    return { kind: "released", text, end: this.base + end, verdict };
  }

  /**
   * @param {Verdict} seen
   * @returns {Released | Stopped}
   */
  #stop(seen) {
    const verdict = this.#outside(seen);
    if (this.judge.policy.shadow) {
      this.passing = verdict;
      return this.#show(this.text.length, this.text.slice(this.released).join(""), verdict);
    }
    this.over = true;
    return { kind: "stopped", verdict, keep: verdict.action === "replace" ? 0 : this.keep };
  }

  /** @param {Verdict} verdict */
  #outside(verdict) {
    const milliseconds = this.spent + performance.now() - this.started;
    return this.judge.published({ ...verdict, findings: [...this.findings], milliseconds });
  }

  /** Keep no more of a long answer than later checks read, so that time and memory stay linear. */
  #forget() {
    if (this.text.length < this.limits.buffer) return;
    const seen = reach(this.text, this.scanner.at, this.checkpoints) - this.checkpoints.lookback;
    const cut = Math.min(this.released - this.limits.context, seen);
    if (cut <= 0) return;
    this.text = this.text.slice(cut);
    this.base += cut;
    this.scanner.at -= cut;
    this.cleared -= cut;
    this.released -= cut;
  }
}
