/**
 * The guard: scores and a policy make a verdict. It fails closed: whatever goes wrong inside, the text does not pass.
 *
 * Only the policy's shadow mode lets a failure pass, because it is a trial run that changes nothing; the verdict still says that
 * the guard failed. It keeps no text and logs none. What it decides is specified in guardrails/SPEC.md.
 */

import { Classifier } from "./classifier.js";
import { Decoder } from "./decode.js";
import { Language } from "./language.js";
import { Normalizer } from "./normalize.js";
import { PhraseList } from "./phrases.js";
import { BLOCKLIST, GuardError, isBlocked, JAILBREAK, PII, ruleOf, say, UNREAD, UnreadableText, verdict, worst } from "./policy.js";
import { findPii } from "./rules.js";
import { OutputRail } from "./stream.js";
import { lengthOf, Text } from "./text.js";
import { WordPieces } from "./tokens.js";
import { assertWhole } from "./whole.js";

/** @typedef {import("./policy.js").Verdict} Verdict */
/** @typedef {import("./policy.js").Rail} Rail */
/** @typedef {import("./policy.js").Finding} Finding */
/** @typedef {import("./policy.js").Policy} Policy */
/** @typedef {import("./classifier.js").Scores} Scores */
/** @typedef {import("./stream.js").Released} Released */
/** @typedef {import("./stream.js").Stopped} Stopped */

/** The version of the tables that this port reads. */
const FORMAT = 2;

/** Checks the user's text before the model sees it, and the model's text before the user does. */
export class Guard {
  /**
   * @param {Pick<Classifier, "score" | "thresholds">} classifier
   * @param {Policy} policy
   * @param {any} tables
   * @param {Normalizer} normalizer
   */
  constructor(classifier, policy, tables, normalizer) {
    this.classifier = classifier;
    this.policy = policy;
    this.tables = tables;
    this.normalizer = normalizer;
    this.limits = tables.guard;
    this.harmless = new PhraseList(policy.allow, normalizer, tables.unicode.casefold);
    this.forbidden = new PhraseList(policy.block, normalizer, tables.unicode.casefold);
  }

  /**
   * Open a guard from the files of a bundle.
   * @param {object} files
   * @param {any} files.ort ONNX Runtime Web.
   * @param {Uint8Array} files.model
   * @param {object} files.tokenizer tokenizer.json, parsed.
   * @param {import("./classifier.js").Calibration} files.calibration
   * @param {Policy} files.policy
   * @param {any} files.tables
   * @param {new (tokenizer: object, config: object) => import("./tokens.js").Vocabulary} files.Tokenizer
   * @param {number} [files.threads] Of the whole runtime: it counts for the first session that is made.
   */
  static async open({ ort, model, tokenizer, calibration, policy, tables, Tokenizer, threads }) {
    if (tables.format !== FORMAT) throw new GuardError("the guard's tables are of another version; make the bundle again");
    assertWhole(tables, calibration, policy);
    if (threads) ort.env.wasm.numThreads = threads;
    const language = new Language(tables.language);
    const decoder = new Decoder(tables.decode, tables.ciphers, language);
    const normalizer = new Normalizer(tables.normalize, tables.unicode.combining, decoder);
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    /** @param {string} text */
    const plain = (text) => normalizer.plainForm(text).text;
    const vocabulary = new Tokenizer(tokenizer, {});
    const { classifier } = tables;
    const pieces = new WordPieces(vocabulary, classifier.tokenizer, tables.unicode.scripts, classifier, plain);
    return new Guard(new Classifier(ort, session, pieces, calibration, classifier), policy, tables, normalizer);
  }

  /**
   * Judge what a user wrote, alone and together with their last turns (`context`, oldest first).
   * @param {string} text
   * @param {string[]} [context]
   * @returns {Promise<Verdict>}
   */
  async checkInput(text, context = []) {
    const started = performance.now();
    let seen;
    try {
      seen = await this.#judgeInput(text, context);
    } catch (error) {
      // Fail closed: no failure of any library may let a text through.
      seen = this.refusal("input", error);
    }
    return this.published({ ...seen, milliseconds: performance.now() - started });
  }

  /**
   * Judge what a model answered to a prompt: the very checks of `stream`, so their verdicts are the same.
   * @param {string} prompt
   * @param {string} answer
   * @returns {Promise<Verdict>}
   */
  async checkOutput(prompt, answer) {
    let last = this.refusal("output", new GuardError("nobody has judged the answer"));
    for await (const event of this.stream(prompt, [answer])) last = event.verdict;
    return last;
  }

  /**
   * Yield checked text while a model writes it; after `stopped` nothing comes and no further piece is taken.
   * @param {string} prompt
   * @param {AsyncIterable<string> | Iterable<string>} pieces
   * @returns {AsyncGenerator<Released | Stopped>}
   */
  async *stream(prompt, pieces) {
    const rail = new OutputRail(this, prompt);
    for await (const piece of pieces) {
      yield* await rail.feed(piece);
      if (rail.over) return;
    }
    yield* await rail.finish();
  }

  /**
   * Return the worst of what the policy makes of an excerpt of an answer. Throws when it cannot be judged.
   * @param {string} prompt
   * @param {string} excerpt
   */
  async judgeAnswer(prompt, excerpt) {
    return worst(await this.#judge("output", excerpt, new Text(prompt).slice(0, this.limits.prompt)));
  }

  /**
   * Return what the policy makes of personal data that were found, at least one.
   * @param {Rail} rail
   * @param {Finding[]} findings
   */
  judgePii(rail, findings) {
    const action = this.policy.pii[rail];
    const message = action === "block" ? say(this.policy, this.policy.pii.message) : "";
    const [{ start, end }] = findings;
    return verdict(action, rail, { category: PII, score: 1, span: [start, end], message, hard: true, findings });
  }

  /**
   * Return the verdict of a guard that could not judge; a text that it cannot read is no failure of its own.
   * @param {Rail} rail
   * @param {unknown} why
   */
  refusal(rail, why) {
    const unread = why instanceof UnreadableText;
    const message = this.#words(unread ? UNREAD : "failed");
    return verdict("block", rail, { category: unread ? UNREAD : null, message, failed: !unread, hard: true });
  }

  /** @param {string} name */
  #words(name) {
    for (const known of [name, "failed"]) {
      try {
        return say(this.policy, known);
      } catch {
        // A policy made by hand may lack even this one.
      }
    }
    return /** @type {string} */ (this.limits.last_word);
  }

  /**
   * Return the verdict as it counts outside: in shadow mode everything passes, and the verdict says what would not.
   * @param {Verdict} seen
   * @returns {Verdict}
   */
  published(seen) {
    if (!this.policy.shadow || seen.action === "allow") return seen;
    return { ...seen, action: "allow", would: seen.action, message: "" };
  }

  /**
   * @param {string} text
   * @param {string[]} context
   * @returns {Promise<Verdict>}
   */
  async #judgeInput(text, context) {
    if (lengthOf(text) > this.limits.longest) throw new GuardError("the text is too long to be checked whole; send it in smaller parts");
    if (this.harmless.matchesWhole(text)) return verdict("allow", "input");
    const found = await this.#judge("input", text, null);
    if (context.length > 0) found.push(...(await this.#judgeJoined(text, context)));
    const pii = this.policy.pii.input === "allow" ? [] : findPii(text, this.tables.rules);
    if (pii.length > 0) found.push(this.judgePii("input", pii));
    return { ...worst(found), findings: pii };
  }

  /**
   * Judge the text as the end of what the user said before, where a request may be split over turns.
   *
   * Thresholds are calibrated on texts that stand alone; this second look must not add its own false alarms, and an earlier
   * turn that passed must not taint the next. So it counts only from the hard threshold on, and only where the new text takes
   * part. A split request, joined, is as plain as an unsplit one.
   * @param {string} text
   * @param {string[]} context
   */
  async #judgeJoined(text, context) {
    const { turns, joined } = this.limits;
    const last = context.slice(-turns).map((turn) => new Text(turn));
    const before = last.map((turn) => `${turn.slice(Math.max(turn.length - joined, 0))}\n`).join("");
    const length = lengthOf(before);
    const found = await this.#judge("input", before + new Text(text).slice(0, joined), null);
    return found
      .filter((seen) => isBlocked(seen) && seen.hard && seen.span[1] > length)
      .map((seen) => ({ ...seen, span: /** @type {[number, number]} */ ([Math.max(seen.span[0] - length, 0), seen.span[1] - length]) }));
  }

  /**
   * Return what the policy makes of every window of every spelling of a text; a prompt makes it an answer.
   * @param {Rail} rail
   * @param {string} text
   * @param {string | null} prompt
   */
  async #judge(rail, text, prompt) {
    const forms = this.normalizer.forms(text);
    const passages = forms.map((form) => (prompt === null ? { prompt: form.text, answer: null } : { prompt, answer: form.text }));
    const scored = await this.classifier.score(passages);
    const found = [];
    for (const [at, form] of forms.entries()) {
      if (!scored[at]?.length) throw new GuardError("a spelling of the text was not judged");
      const phrase = this.forbidden.first(form.text);
      if (phrase) found.push(this.#weigh(rail, BLOCKLIST, 1, 0, form.span(...phrase)));
      for (const window of scored[at]) {
        const span = window.end ? form.span(window.start, window.end) : /** @type {[number, number]} */ ([0, lengthOf(text)]);
        found.push(...this.#judgeWindow(rail, window, span));
      }
    }
    return found;
  }

  /**
   * Return what the policy makes of one window. That it refuses excuses nothing: a refusal score beside harm is what an answer
   * looks like that refuses first and complies after; a plain refusal is for the classifier to score as harmless.
   * @param {Rail} rail
   * @param {Scores} window
   * @param {[number, number]} span
   */
  #judgeWindow(rail, window, span) {
    // A score that is no number is no proof of harmlessness.
    if (![window.unsafe, window.jailbreak, window.refusal].every(isProbability)) {
      throw new GuardError("the classifier gave what is no probability; make the bundle again");
    }
    const calibrated = this.classifier.thresholds[rail][this.policy.level];
    const found = [this.#weigh(rail, window.hazard, window.unsafe, calibrated[window.hazard], span)];
    if (rail === "output") return found; // an answer attacks no model
    const attack = this.#weigh(rail, JAILBREAK, window.jailbreak, calibrated[JAILBREAK], span);
    // What an allowed text scored is how harmful it is.
    return attack.action === "allow" ? found : [...found, attack];
  }

  /**
   * @param {Rail} rail
   * @param {string} category
   * @param {number} score
   * @param {number} calibrated
   * @param {[number, number]} span
   */
  #weigh(rail, category, score, calibrated, span) {
    const rule = ruleOf(this.policy, category);
    const threshold = rule[rail] ?? calibrated;
    if (!isProbability(threshold)) throw new GuardError("a threshold is no probability; mend the policy");
    if (score < threshold || rule.action === "allow") return verdict("allow", rail, { score, span });
    const hard = score >= threshold + this.policy.hard * (1 - threshold);
    const message = rule.action === "warn" ? "" : say(this.policy, rule.message);
    return verdict(rule.action, rail, { category, score, span, message, hard });
  }
}

/** @param {number} value */
function isProbability(value) {
  return typeof value === "number" && value >= 0 && value <= 1;
}
