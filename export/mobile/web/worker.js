// @ts-check
/// <reference lib="webworker" />
/**
 * The Web Worker that owns the engine and the guard; all model work is done here, and none of it on the page's thread.
 *
 * The page sends `ToWorker` and gets `FromWorker`: `opened` or `unopened` once, then for each `ask` its events (session.js),
 * each with the number of its turn, the last of them an end. `stop` ends the turn under way within a token, and its end still
 * comes; all else is done in the order it was sent. The worker fetches nothing: the files it reads came verified with `open`.
 *
 * @typedef {{type: 'open', data: Map<string, Bytes>, threads: number}
 *   | {type: 'ask', turn: number, text: string, again: boolean} | {type: 'stop', turn: number} | {type: 'reset'}} ToWorker
 * @typedef {{type: 'opened'} | {type: 'unopened', why: string}
 *   | {type: 'event', turn: number, event: import('./session.js').TurnEvent}} FromWorker
 * @typedef {import('./manifest.js').Bytes} Bytes
 */

import { Engine } from "./engine.js";
import { Guard } from "./guard/guard.js";
import { Session } from "./session.js";

const scope = /** @type {DedicatedWorkerGlobalScope} */ (/** @type {unknown} */ (self));
/** @type {Session | null} */
let session = null;
/** @type {Map<number, AbortController>} the turns that were asked and have not ended, so that a stop finds one that still waits */
const turns = new Map();
/** What was sent before and is not done yet. */
let queue = Promise.resolve();

/** @param {FromWorker} message */
const post = (message) => scope.postMessage(message);

scope.onmessage = (/** @type {MessageEvent<ToWorker>} */ { data: message }) => {
  if (message.type === "stop") return turns.get(message.turn)?.abort();
  if (message.type === "ask") turns.set(message.turn, new AbortController());
  queue = queue.then(() => take(message));
};

/** @param {Exclude<ToWorker, {type: 'stop'}>} message */
async function take(message) {
  if (message.type === "open") await open(message.data, message.threads);
  else if (message.type === "ask") await ask(message.turn, message.text, message.again);
  else session?.reset();
}

/** @param {Map<string, Bytes>} data @param {number} threads */
async function open(data, threads) {
  try {
    const ort = await runtime(data, threads);
    const { Tokenizer } = await import(vendored("tokenizers.mjs"));
    const { Template } = await import(vendored("jinja.mjs"));
    const guard = await openGuard(data, { ort, Tokenizer, Template, threads });
    session = await openEngine(data, guard, { ort, Tokenizer, Template, threads });
    post({ type: "opened" });
  } catch (error) {
    post({ type: "unopened", why: said(error) });
  }
}

/** Return onnxruntime-web, set to use the WASM that was verified. @param {Map<string, Bytes>} data @param {number} threads */
async function runtime(data, threads) {
  const ort = await import(vendored("ort.wasm.min.mjs"));
  Object.assign(ort.env.wasm, {
    wasmBinary: taken(data, "vendor/ort-wasm-simd-threaded.wasm").buffer,
    wasmPaths: { mjs: vendored("ort-wasm-simd-threaded.mjs") },
    numThreads: threads,
  });
  return ort;
}

/** @typedef {{ort: any, Tokenizer: any, Template: any, threads: number}} Runtime the vendored libraries */

/** @param {Map<string, Bytes>} data @param {Runtime} runtime */
function openGuard(data, runtime) {
  const [tokenizer, calibration, policy, tables] = ["tokenizer", "calibration", "policy", "tables"].map((name) =>
    JSON.parse(text(data, `guard-model/${name}.json`)),
  );
  return Guard.open({ ...runtime, model: taken(data, "guard-model/model.onnx"), tokenizer, calibration, policy, tables });
}

/** @param {Map<string, Bytes>} data @param {Guard} guard @param {Runtime} runtime */
async function openEngine(data, guard, runtime) {
  const config = JSON.parse(text(data, "model/genai_config.json"));
  const engine = await Engine.open({
    ...runtime,
    config,
    tokenizer: JSON.parse(text(data, "model/tokenizer.json")),
    tokenizerConfig: JSON.parse(text(data, "model/tokenizer_config.json")),
    chatTemplate: text(data, "model/chat_template.jinja"),
    model: taken(data, "model/model.onnx"),
    // What lies beside the graph is its weights, under the names that the graph calls them by.
    external: weights(data),
  });
  return new Session(engine, guard, Math.min(config.model.context_length, config.search?.max_length ?? Infinity));
}

/** @param {Map<string, Bytes>} data @returns {Record<string, Bytes> | undefined} */
function weights(data) {
  const names = [...data.keys()].filter((name) => name.startsWith("model/model.onnx") || /^model\/.*\.(data|bin)$/.test(name));
  if (!names.length) return undefined;
  return Object.fromEntries(names.map((name) => [name.slice("model/".length), taken(data, name)]));
}

/** @param {number} number @param {string} text @param {boolean} again */
async function ask(number, text, again) {
  const { signal } = /** @type {AbortController} */ (turns.get(number));
  try {
    for await (const event of /** @type {Session} */ (session).ask(text, { again, signal })) {
      post({ type: "event", turn: number, event: event.type === "broken" ? { ...event, why: said(event.why) } : event });
    }
  } catch (error) {
    // Whatever breaks a turn ends that turn, and not those after it.
    post({ type: "event", turn: number, event: { type: "broken", why: said(error) } });
  } finally {
    turns.delete(number);
  }
}

/**
 * Return a file and let go of it, so that its memory can be had again.
 * @param {Map<string, Bytes>} data @param {string} name
 */
function taken(data, name) {
  const bytes = /** @type {Bytes} */ (data.get(name));
  data.delete(name);
  return bytes;
}

/** @param {Map<string, Bytes>} data @param {string} name */
const text = (data, name) => new TextDecoder().decode(taken(data, name));

/** @param {string} name */
const vendored = (name) => new URL(`vendor/${name}`, import.meta.url).href;

/** Say in a sentence why a model could not be opened or go on. @param {unknown} error */
function said(error) {
  const why = String(error);
  if (/memory|OOM|bad_alloc|allocat|RangeError|^\d+$/i.test(why)) {
    return "This device has too little free memory for the model; close other tabs and apps and reload.";
  }
  return `The model could not be run (${why.slice(0, 200)}); reload, or update this browser.`;
}
