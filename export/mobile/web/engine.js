// @ts-check
/**
 * A chat model on onnxruntime-web's WebAssembly: conversations in, text out, token by token.
 *
 * The graph is the one that web_graph.py wrote. What a conversation shares with the one before is not read again. It knows
 * nothing of guards, pages and files; the libraries it needs are handed to it.
 */

import { Cache } from "./cache.js";
import { ChatTemplate } from "./template.js";

/** @typedef {import('./template.js').Message} Message */
/** @typedef {{maxTokens?: number, temperature?: number, topP?: number, seed?: number, signal?: AbortSignal}} Sampling */
/**
 * How the latest answer went: tokens of the prompt, how many of them were read, tokens of the answer, milliseconds of both.
 * @typedef {{promptTokens: number, readTokens: number, newTokens: number, prefillMs: number, decodeMs: number}} Stats
 */
/**
 * The libraries, and the files of a bundle's model/ folder, JSON parsed.
 * @typedef {{ort: any, Tokenizer: any, Template: any, threads: number, model: Uint8Array,
 *   external?: Record<string, Uint8Array>, config: any, tokenizer: object, tokenizerConfig: Record<string, any>,
 *   chatTemplate: string}} Opened
 */

/** Tokens of a prompt that are read at once: more take more memory, and a stop is heard only in between. */
const CHUNK = 64;
/** What web_graph.py counts on: that nothing takes its two bytes for one, or keeps its weights twice. */
const OPTIONS = { session: { disable_quant_qdq: "1", disable_prepacking: "1" } };

export class Engine {
  /** @param {any} ort @param {any} session @param {any} config @param {ChatTemplate} template */
  constructor(ort, session, config, template) {
    this.ort = ort;
    this.session = session;
    this.template = template;
    this.decoder = config.model.decoder;
    /** The most tokens of prompt and answer together. */
    this.context = Math.min(config.model.context_length, config.search?.max_length ?? Infinity);
    /** @type {Set<number>} */
    this.ends = new Set([config.model.eos_token_id].flat());
    this.cache = new Cache(this.decoder);
    /** @type {Stats} */
    this.stats = { promptTokens: 0, readTokens: 0, newTokens: 0, prefillMs: 0, decodeMs: 0 };
  }

  /** Open a model; its files can be let go of afterwards. @param {Opened} opened @returns {Promise<Engine>} */
  static async open({ ort, Tokenizer, Template, threads, model, external = {}, ...files }) {
    ort.env.wasm.numThreads = threads;
    const externalData = Object.entries(external).map(([path, data]) => ({ path, data }));
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], externalData, extra: OPTIONS });
    const tokenizer = new Tokenizer(files.tokenizer, files.tokenizerConfig);
    const template = new ChatTemplate(tokenizer, new Template(files.chatTemplate), files.tokenizerConfig);
    return new Engine(ort, session, files.config, template);
  }

  /** Return the token ids that an answer is begun behind. @param {Message[]} messages @returns {number[]} */
  encode(messages) {
    return this.template.encode(messages);
  }

  /**
   * Yield an answer in whole characters, until the model ends it, `maxTokens` or the context are full, or `signal` is aborted.
   * Throws RangeError for a conversation that leaves no room for an answer.
   * @param {Message[]} messages @param {Sampling} [sampling] @returns {AsyncGenerator<string>}
   */
  async *generate(messages, { maxTokens = Infinity, temperature = 0, topP = 1, seed, signal } = {}) {
    const text = this.template.decodeStream();
    const draw = temperature > 0 ? sampler(temperature, topP, seed ?? Math.floor(Math.random() * 2 ** 32)) : likeliest;
    for await (const token of this.#tokens(this.encode(messages), maxTokens, draw, signal)) {
      const piece = this.ends.has(token) ? "" : text(token);
      if (piece) yield piece;
    }
    // A character that was never finished.
    const rest = signal?.aborted ? "" : text(null);
    if (rest) yield rest;
  }

  /**
   * Return at most `count` greedy tokens behind `ids`, an end token included, computed from nothing.
   * @param {number[]} ids @param {number} count @returns {Promise<number[]>}
   */
  async greedy(ids, count) {
    this.cache.keep([]);
    const found = [];
    for await (const token of this.#tokens(ids, count, likeliest)) found.push(token);
    return found;
  }

  /**
   * @param {number[]} ids @param {number} most @param {(scores: Float32Array) => number} draw @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<number>}
   */
  async *#tokens(ids, most, draw, signal) {
    const room = Math.min(most, this.context - ids.length);
    if (room < 1) throw new RangeError(`the conversation has ${ids.length} tokens, the model reads ${this.context}; shorten it`);
    const shared = this.cache.keep(ids);
    this.stats = { promptTokens: ids.length, readTokens: ids.length - shared, newTokens: 0, prefillMs: 0, decodeMs: 0 };
    const began = performance.now();
    let scores = await this.#read(ids.slice(shared), signal);
    this.stats.prefillMs = performance.now() - began;
    for (let count = 1; scores; count++) {
      const token = draw(scores);
      if (!this.ends.has(token)) this.stats.newTokens++;
      yield token;
      if (this.ends.has(token) || count >= room) return;
      const asked = performance.now();
      scores = await this.#read([token], signal);
      this.stats.decodeMs += performance.now() - asked;
    }
  }

  /**
   * Read tokens; returns the scores of what comes next, or null where a stop came first.
   * @param {number[]} ids @param {AbortSignal} [signal] @returns {Promise<Float32Array | null>}
   */
  async #read(ids, signal) {
    let scores = null;
    for (let at = 0; at < ids.length; at += CHUNK) {
      if (signal?.aborted) return null;
      const outputs = await this.#run(ids.slice(at, at + CHUNK));
      scores = outputs.logits.data.slice(-outputs.logits.dims[2]);
      outputs.logits.dispose();
    }
    return scores;
  }

  /** @param {number[]} ids @returns {Promise<Record<string, any>>} */
  async #run(ids) {
    const { Tensor } = this.ort;
    const { input_ids, attention_mask } = this.decoder.inputs;
    const total = this.cache.ids.length + ids.length;
    const feeds = this.cache.feeds(this.ort);
    feeds[input_ids] = new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
    feeds[attention_mask] = new Tensor("int64", new BigInt64Array(total).fill(1n), [1, total]);
    const outputs = await this.session.run(feeds, [this.decoder.outputs.logits, ...this.cache.parts.map((part) => part.output)]);
    this.cache.add(ids, outputs);
    return { logits: outputs[this.decoder.outputs.logits] };
  }
}

/** @param {Float32Array} scores */
function likeliest(scores) {
  let best = 0;
  for (let at = 1; at < scores.length; at++) if (scores[at] > scores[best]) best = at;
  return best;
}

/**
 * Return a function that draws a token from the likeliest ones that make up `topP`; the same seed draws the same tokens.
 * @param {number} temperature @param {number} topP @param {number} seed @returns {(scores: Float32Array) => number}
 */
export function sampler(temperature, topP, seed) {
  const random = mulberry32(seed);
  return (scores) => {
    const most = scores[likeliest(scores)];
    const weights = Float64Array.from(scores, (score) => Math.exp((score - most) / temperature));
    const all = weights.reduce((sum, weight) => sum + weight, 0);
    // Tokens below this make up less than 1 - topP, all together: the others hold the nucleus, and few are left to sort.
    const least = ((1 - topP) * all) / weights.length;
    const tokens = Array.from(weights.keys()).filter((token) => weights[token] > 0 && weights[token] >= least);
    tokens.sort((a, b) => weights[b] - weights[a] || a - b);
    let nucleus = 0;
    let kept = 0;
    while (kept < tokens.length && (kept === 0 || nucleus < topP * all)) nucleus += weights[tokens[kept++]];
    let left = random() * nucleus;
    return tokens.slice(0, kept).find((token) => (left -= weights[token]) < 0) ?? tokens[0];
  };
}

/** Return a generator of numbers from 0 up to 1 (mulberry32, 32 bits of state). @param {number} seed */
function mulberry32(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
