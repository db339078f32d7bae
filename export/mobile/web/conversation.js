// @ts-check
/**
 * What goes on between the user and the worker once all is open: asking, stopping, asking again, a new chat, and their keys.
 *
 * It judges nothing and stores nothing; the conversation is the worker's, and what is seen of it is chat.js.
 */

import { remark } from "./chat.js";
/** @typedef {import('./chat.js').Answer} Answer */
/** @typedef {import('./chat.js').Chat} Chat */
/** @typedef {import('./session.js').TurnEvent} TurnEvent */
/** @typedef {import('./worker.js').FromWorker} FromWorker */
/** @typedef {import('./worker.js').ToWorker} ToWorker */
/**
 * @typedef {object} Page
 * @property {HTMLElement} app its `data-state` is loading, refused, empty, idle or answering
 * @property {HTMLFormElement} composer
 * @property {HTMLTextAreaElement} question
 * @property {HTMLButtonElement} send sends, or stops while an answer is written: one button, so that focus stays where it was
 * @property {HTMLButtonElement} restart
 */

/** A second tap within this time means the first thing again, and not to stop it. */
const DOUBLE_MS = 400;

/** One conversation at a time, over one worker. */
export class Conversation {
  /** @type {Answer | null} the answer that is being written */
  #writing = null;
  /** @type {Answer | null} */
  #last = null;
  #turn = 0;
  #asked = "";
  #askedAt = 0;
  #stopped = false;
  #again = document.createElement("button");

  /** @param {Worker} worker opened @param {Chat} chat @param {Page} page */
  constructor(worker, chat, page) {
    this.worker = worker;
    this.chat = chat;
    this.page = page;
    this.#again.type = "button";
    this.#again.className = "again";
    this.#again.textContent = "Ask again";
    worker.onmessage = (/** @type {MessageEvent<FromWorker>} */ { data }) => {
      // What an abandoned turn still says is nobody's.
      if (data.type === "event" && data.turn === this.#turn) this.#hear(data.event);
    };
    worker.onerror = () => this.#hear({ type: "broken", why: "The model stopped working; reload." });
    this.#listen();
    page.send.disabled = page.restart.disabled = false;
    this.#rest("empty");
    if (document.activeElement === document.body) page.question.focus({ preventScroll: true });
  }

  ask() {
    const text = this.page.question.value.trim();
    if (!text || this.#writing) return;
    this.page.question.value = "";
    this.#asked = text;
    this.chat.ask(text);
    this.#begin(false);
  }

  /** Have the last question answered anew, in the old answer's place. */
  again() {
    if (this.#writing || !this.#last) return;
    this.page.send.focus();
    this.#last.remove();
    this.#begin(true);
  }

  stop() {
    if (!this.#writing || this.#stopped) return;
    this.#stopped = true;
    this.#post({ type: "stop", turn: this.#turn });
  }

  restart() {
    this.stop();
    this.#post({ type: "reset" });
    this.#turn += 1;
    this.#writing = this.#last = null;
    this.chat.clear();
    this.#rest("empty");
    this.page.question.focus();
  }

  #listen() {
    const { composer, question, restart } = this.page;
    composer.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.#writing) this.ask();
      else if (Date.now() - this.#askedAt > DOUBLE_MS) this.stop();
    });
    question.addEventListener("keydown", (event) => {
      // Enter that picks a word of an input method sends nothing.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.ask();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stop();
    });
    restart.addEventListener("click", () => this.restart());
    this.#again.addEventListener("click", () => this.again());
  }

  /** @param {boolean} again */
  #begin(again) {
    this.#again.remove();
    this.#writing = this.#last = this.chat.answer();
    this.#askedAt = Date.now();
    this.#stopped = false;
    this.page.app.dataset.state = "answering";
    this.page.send.ariaLabel = "Stop";
    this.#post({ type: "ask", turn: ++this.#turn, text: this.#asked, again });
  }

  /** @param {TurnEvent} event */
  #hear(event) {
    const answer = this.#writing;
    if (!answer) return;
    if (event.type === "text") return answer.add(event.text);
    if (event.type === "blocked") answer.block(event.keep, event.note);
    else answer.end(this.#remarks(event, answer));
    // A question that was blocked would be blocked again.
    if (event.type !== "toolong" && !(event.type === "blocked" && event.note.rail === "input" && !event.note.failed)) {
      answer.turn.append(this.#again);
    }
    if (event.type === "toolong") this.page.question.value ||= this.#asked;
    this.#writing = null;
    this.#rest("idle");
    this.chat.follow();
  }

  /** @param {Exclude<TurnEvent, {type: 'text'} | {type: 'blocked'}>} event @param {Answer} answer */
  #remarks(event, answer) {
    if (event.type === "toolong") return ["This message alone is longer than the model can read; send a shorter one."];
    if (event.type === "broken") return [event.why];
    const turns = event.forgotten === 1 ? "turn is" : `${event.forgotten} turns are`;
    return [
      ...(event.note ? [remark(event.note)] : []),
      ...(event.forgotten ? [`The conversation outgrew the model: its oldest ${turns} forgotten.`] : []),
      ...(event.cut ? ["The answer ends here because it reached its longest length."] : []),
      ...(this.#stopped ? ["Stopped."] : answer.empty ? ["The model gave no answer."] : []),
    ];
  }

  /** @param {'empty' | 'idle'} state */
  #rest(state) {
    this.page.app.dataset.state = state;
    this.page.send.ariaLabel = "Send";
  }

  /** @param {ToWorker} message */
  #post(message) {
    this.worker.postMessage(message);
  }
}
