// @ts-check
/**
 * One guarded conversation: input rail, engine, output rail, as runtime/session.py. Nothing is said that was not checked.
 *
 * It keeps the conversation in memory only, and knows no page, no worker and no model file.
 */

import { redact } from "./guard/rules.js";

/** @typedef {import('./engine.js').Engine} Engine */
/** @typedef {import('./engine.js').Stats} Stats */
/** @typedef {import('./guard/guard.js').Guard} Guard */
/** @typedef {{role: 'system' | 'user' | 'assistant', content: string}} Message */
/**
 * What the page is told of a verdict.
 * @typedef {{action: string, rail: string, category: string | null, message: string, failed: boolean}} Note
 */
/** @typedef {{tokens: number, forgotten: number}} Room */
/**
 * What a turn leads to, in this order: any texts, then one end.
 * `blocked`: `keep` is how many characters of the texts stay (UTF-16 units); the rest is taken back.
 * `done`: `note` is there where the guard let a text pass and has something to tell; `forgotten` counts dropped oldest
 * turns, and `stats` says how fast it went.
 * @typedef {{type: 'text', text: string} | {type: 'blocked', keep: number, note: Note} | {type: 'toolong'}
 *   | {type: 'done', note: Note | null, forgotten: number, cut: boolean, stats: Stats} | {type: 'broken', why: string}} TurnEvent
 */

/** The longest answer, in tokens. */
const ANSWER = 512;
/** With less room than this an answer is not begun; older turns are forgotten for it. */
const ROOM = 192;
/** What the user reads when the guard broke so that it could not even say so. */
const LAST_WORD = "I couldn't check that safely, so I won't answer it.";

/** A conversation with a guarded engine. */
export class Session {
  /** @param {Engine} engine @param {Guard} guard @param {number} context tokens of question and answer together */
  constructor(engine, guard, context) {
    this.engine = engine;
    this.guard = guard;
    this.context = context;
    /** @type {Message[]} */
    this.history = [];
    /** @type {Message[]} the conversation as it stood before the last turn, to ask that again */
    this.before = [];
  }

  reset() {
    this.history = [];
    this.before = [];
  }

  /**
   * Yield the checked answer and how the turn ended. A blocked turn leaves no history; a stopped one leaves what was shown.
   * @param {string} text @param {{again: boolean, signal: AbortSignal}} options `again` asks in place of the last turn, sampled
   * @returns {AsyncGenerator<TurnEvent>}
   */
  async *ask(text, { again, signal }) {
    if (again) this.history = this.before;
    this.before = [...this.history];
    const verdict = await this.#checkInput(text);
    if (isBlocked(verdict)) {
      yield { type: "blocked", keep: 0, note: told(verdict) };
      return;
    }
    const asked = verdict.action === "redact" ? redact(text, verdict.findings) : text;
    const room = this.#makeRoom(asked);
    if (room === null) yield { type: "toolong" };
    else yield* this.#answer(asked, { room, again, signal, noted: notable(verdict) });
  }

  /**
   * @param {string} text @param {{room: Room, again: boolean, signal: AbortSignal, noted: Note | null}} turn
   * @returns {AsyncGenerator<TurnEvent>}
   */
  async *#answer(text, { room, again, signal, noted }) {
    const engine = new Pieces(this.engine, [...this.history, { role: "user", content: text }], room.tokens, again, signal);
    let shown = "";
    let last = noted;
    try {
      for await (const event of this.guard.stream(text, engine)) {
        if (event.kind === "stopped") {
          // The guard counts code points.
          const kept = Array.from(shown).slice(0, event.keep).join("");
          yield { type: "blocked", keep: kept.length, note: told(event.verdict) };
          return;
        }
        last = noted ?? notable(event.verdict);
        shown += event.text;
        if (event.text) yield { type: "text", text: event.text };
      }
    } catch {
      yield { type: "blocked", keep: 0, note: failure("output") };
      return;
    }
    if (shown) this.history.push({ role: "user", content: text }, { role: "assistant", content: shown });
    if (engine.broken) yield { type: "broken", why: engine.broken };
    else yield this.#done(last, room);
  }

  /** @param {Note | null} note @param {Room} room @returns {TurnEvent} */
  #done(note, { tokens, forgotten }) {
    const { stats } = this.engine;
    return { type: "done", note, forgotten, cut: stats.newTokens >= tokens, stats };
  }

  /** @param {string} text */
  async #checkInput(text) {
    const said = this.history.filter((message) => message.role === "user").map((message) => message.content);
    try {
      return await this.guard.checkInput(text, said);
    } catch {
      // The guard itself fails closed; should even that fail, nothing passes.
      return { ...failure("input"), action: "block", findings: [] };
    }
  }

  /**
   * Forget the oldest turns until an answer fits; null where the question alone is too long.
   * @param {string} text @returns {Room | null}
   */
  #makeRoom(text) {
    const history = [...this.history];
    for (let forgotten = 0; ; forgotten++) {
      const left = this.context - this.engine.encode([...history, { role: "user", content: text }]).length;
      if (left >= ROOM) {
        this.history = history;
        return { tokens: Math.min(ANSWER, left), forgotten };
      }
      if (!history.length) return null;
      history.splice(0, 2);
    }
  }
}

/** The engine's pieces, in a form that the guard can drain: they end where the user stops, and where the engine breaks. */
class Pieces {
  /**
   * @param {Engine} engine @param {Message[]} messages @param {number} maxTokens
   * @param {boolean} again @param {AbortSignal} signal
   */
  constructor(engine, messages, maxTokens, again, signal) {
    this.engine = engine;
    this.messages = messages;
    this.signal = signal;
    // Greedy would say the same again.
    const sampling = again ? { temperature: 0.7, topP: 0.95, seed: Math.floor(Math.random() * 2 ** 31) } : { temperature: 0 };
    this.options = { maxTokens, signal, ...sampling };
    /** Why the engine broke off, if it did. */
    this.broken = "";
  }

  async *[Symbol.asyncIterator]() {
    try {
      for await (const piece of this.engine.generate(this.messages, this.options)) {
        // A worker hears of a stop between two tasks only, and an engine's awaits need not leave the task.
        await nextTask();
        if (this.signal.aborted) return;
        yield piece;
      }
    } catch (error) {
      if (!this.signal.aborted) this.broken = String(error);
    }
  }
}

const nextTask = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve(undefined);
    };
    port2.postMessage(null);
  });

/** @param {{action: string}} verdict */
const isBlocked = (verdict) => verdict.action === "block" || verdict.action === "replace";

/** @param {string} rail @returns {Note} */
const failure = (rail) => ({ action: "block", rail, category: null, message: LAST_WORD, failed: true });

/** @param {Note} verdict @returns {Note} */
const told = ({ action, rail, category, message, failed }) => ({ action, rail, category, message, failed });

/** Return the verdict on a text that passed if the user should hear of it. @param {Note} verdict */
const notable = (verdict) => (verdict.action !== "allow" || verdict.failed ? told(verdict) : null);
