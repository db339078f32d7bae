/**
 * One encoder pass over a window of a text gives its scores. The file is ONNX, int8, on ONNX Runtime Web.
 *
 * Knows nothing of policies.
 */

import { isSpace, Text } from "./text.js";
import { GuardError, UnreadableText } from "./policy.js";

/** @typedef {import("./policy.js").Rail} Rail */
/** @typedef {import("./tokens.js").Encoded} Encoded */
/**
 * What the classifier thinks of one window, and which characters of the text it holds.
 * @typedef {{unsafe: number, jailbreak: number, hazard: string, refusal: number, start: number, end: number}} Scores
 */
/** @typedef {{prompt: string, answer: string | null}} Passage */
/**
 * One model input; `unread`: what of one script goes unread, less what is read of it, in weighed bytes; of the worst.
 * @typedef {{ids: number[], types: number[], start: number, end: number, unread: number}} Window
 */
/** @typedef {Record<string, Record<string, Record<string, number>>>} Thresholds */
/** @typedef {{thresholds: Thresholds, temperatures: Record<string, number>}} Calibration */
/**
 * @typedef {object} ClassifierTables
 * @property {string[]} heads
 * @property {number} own_heads
 * @property {Record<Rail, number>} head_of_rail
 * @property {number} window
 * @property {number} overlap
 * @property {number} prompt_share
 * @property {number} most_windows
 * @property {number} longest_word
 * @property {number} unread
 * @property {number} unknown
 * @property {string[]} taught
 * @property {number} least_log_odds
 * @property {import("./tokens.js").TokenizerTables} tokenizer
 */

const LINE = /[^\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+/gu;

export class Classifier {
  /**
   * @param {any} ort
   * @param {any} session
   * @param {import("./tokens.js").WordPieces} tokenizer
   * @param {Calibration} calibration
   * @param {ClassifierTables} tables
   */
  constructor(ort, session, tokenizer, calibration, tables) {
    this.ort = ort;
    this.session = session;
    this.tokenizer = tokenizer;
    this.thresholds = calibration.thresholds;
    this.temperatures = calibration.temperatures;
    this.tables = tables;
    const [start, end] = [tokenizer.ids.get("[CLS]"), tokenizer.ids.get("[SEP]")];
    if (start === undefined || end === undefined) throw new GuardError("the guard's tokenizer has no [CLS] and [SEP]");
    this.start = start;
    this.end = end;
  }

  /**
   * Score every window of each passage; throws where it cannot, UnreadableText for a script that it cannot read.
   * @param {Passage[]} passages
   */
  async score(passages) {
    const scores = [];
    for (const passage of passages) scores.push(await this.#score(passage));
    return scores;
  }

  /** @param {Passage} passage */
  async #score(passage) {
    const cut = this.windows(passage);
    if (cut.some((window) => window.unread > this.tables.unread)) {
      throw new UnreadableText("the text is in a script that the guard cannot read");
    }
    const scores = [];
    for (const window of cut) scores.push(this.#scores(await this.run(window), passage.answer === null ? "input" : "output", window));
    return scores;
  }

  /**
   * Return the model's own probabilities of a window. One row a pass: in a padded batch the int8 scales of one text would
   * depend on its neighbours.
   * @param {Window} window
   * @returns {Promise<number[]>}
   */
  async run(window) {
    /** @param {number[]} row */
    const tensor = (row) => new this.ort.Tensor("int64", BigInt64Array.from(row, BigInt), [1, row.length]);
    const outputs = await this.session.run({ input_ids: tensor(window.ids), token_type_ids: tensor(window.types) });
    const heads = [...outputs[this.session.outputNames[0]].data].map(Number);
    if (heads.length !== this.tables.heads.length) throw new GuardError("the guard's model gives other scores than it should");
    return heads;
  }

  /**
   * @param {number[]} heads
   * @param {Rail} rail
   * @param {Window} window
   * @returns {Scores}
   */
  #scores(heads, rail, { start, end }) {
    const { heads: names, own_heads: own, head_of_rail: headOf } = this.tables;
    const hazards = heads.slice(own);
    const jailbreak = heads[names.indexOf("jailbreak")];
    return {
      unsafe: this.tempered(heads[headOf[rail]], this.temperatures[rail]),
      jailbreak: this.tempered(jailbreak, this.temperatures.jailbreak),
      hazard: names[own + hazards.indexOf(Math.max(...hazards))],
      refusal: heads[names.indexOf("refusal")],
      start,
      end,
    };
  }

  /**
   * Return the calibrated probability: its logit divided by the temperature. A score that is no number stays none.
   * @param {number} probability
   * @param {number} temperature
   */
  tempered(probability, temperature) {
    if (!(probability > 0 && probability < 1)) return probability;
    const logOdds = (Math.log(probability) - Math.log1p(-probability)) / temperature;
    return logOdds > this.tables.least_log_odds ? 1 / (1 + Math.exp(-logOdds)) : 0;
  }

  /**
   * Cut a passage into model inputs: [CLS] text [SEP], or [CLS] prompt [SEP] answer [SEP].
   *
   * Of a prompt that needs more than one, the first and the last line are read alone as well: a request often stands there,
   * before or after much else, and would be drowned by it.
   * @param {Passage} passage
   * @returns {Window[]}
   */
  windows({ prompt, answer }) {
    const size = this.tables.window;
    const asked = this.tokenizer.encode(prompt);
    if (answer === null) {
      const parts = this.#parts(asked.ids.length, size - 2);
      const ends = parts.length > 1 ? lineEnds(prompt, asked.places, size - 2) : [];
      return [...parts, ...ends].map((part) => this.#window(asked, part, [this.start]));
    }
    const head = [this.start, ...asked.ids.slice(0, this.tables.prompt_share), this.end];
    const said = this.tokenizer.encode(answer);
    return this.#parts(said.ids.length, size - 1 - head.length).map((part) => this.#window(said, part, head));
  }

  /**
   * @param {number} count
   * @param {number} size
   * @returns {[number, number][]}
   */
  #parts(count, size) {
    const { overlap, most_windows: most } = this.tables;
    const windows = Math.ceil(Math.max(count - overlap, 1) / (size - overlap));
    if (windows > most) throw new GuardError("the text is too long to be checked whole; send it in smaller parts");
    return Array.from({ length: windows }, (_, window) => {
      const at = window * (size - overlap);
      return [at, Math.min(at + size, count)];
    });
  }

  /**
   * Return a part of a text behind its head: [CLS], or [CLS] prompt [SEP].
   * @param {Encoded} text
   * @param {[number, number]} part
   * @param {number[]} head
   * @returns {Window}
   */
  #window(text, [a, b], head) {
    const places = text.places.slice(a, b);
    const isAnswer = Number(head.length > 1);
    const ids = [...head, ...text.ids.slice(a, b), this.end];
    const types = ids.map((_, at) => (at < head.length ? 0 : isAnswer));
    /** @type {Map<string, number>} */
    const unread = new Map();
    for (const counted of text.unread.slice(a, b)) {
      for (const [script, bytes] of counted ?? []) unread.set(script, (unread.get(script) ?? 0) + bytes);
    }
    const [start, end] = places.length > 0 ? [places[0][0], places[places.length - 1][1]] : [0, 0];
    return { ids, types, start, end, unread: unread.size > 0 ? Math.max(...unread.values()) : 0 };
  }
}

/**
 * Return which tokens are the first and the last line, where a line of so many tokens fits.
 * @param {string} text
 * @param {[number, number][]} places
 * @param {number} size
 */
function lineEnds(text, places, size) {
  const lines = [...new Text(text).matches(LINE)].filter((line) => !isSpace(line[0]));
  const ends = lines.length > 1 ? [lines[0], lines[lines.length - 1]] : lines;
  return ends
    .map(({ start, end }) => /** @type {[number, number]} */ ([firstFrom(places, start), firstFrom(places, end)]))
    .filter(([a, b]) => a < b && b - a <= Math.min(size, places.length - 1));
}

/**
 * Return the first token that begins at a place or after it.
 * @param {[number, number][]} places
 * @param {number} start
 */
function firstFrom(places, start) {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle][0] < start) low = middle + 1;
    else high = middle;
  }
  return low;
}
