// @ts-check
/**
 * Draws the conversation, and speaks it to screen readers a finished sentence at a time.
 *
 * It decides nothing: what was checked and what was blocked comes from the worker. Texts become nodes' texts, never markup.
 */

import { render } from "./markdown.js";
/** @typedef {import('./session.js').Note} Note */

/** core/hazards.py and guardrails/policy.py, in the words a user reads. @type {Record<string, string>} */
export const CATEGORIES = {
  S1: "violent crimes",
  S2: "non-violent crimes",
  S3: "sex-related crimes",
  S4: "child sexual exploitation",
  S5: "defamation",
  S6: "dangerous specialized advice",
  S7: "privacy",
  S8: "intellectual property",
  S9: "indiscriminate weapons",
  S10: "hate",
  S11: "suicide and self-harm",
  S12: "sexual content",
  S13: "elections and misinformation",
  jailbreak: "an attempt to talk the model out of its rules",
  blocklist: "a phrase that is not allowed here",
  pii: "personal data",
  unread: "a script that cannot be checked",
};
/** What ends a sentence: a mark with a gap after it, or a mark that needs none. */
const SENTENCE_END = /[.!?…:]["'”’)\]*]*\s|[。！？]|\n/g;
/** So near its end (in pixels) the conversation follows what is written. */
const NEAR_END = 80;

/** The conversation on the page. */
export class Chat {
  /** @param {HTMLElement} log @param {HTMLElement} announcer a polite live region, which is all that a screen reader hears */
  constructor(log, announcer) {
    this.log = log;
    this.announcer = new Announcer(announcer);
    /** Whether the end is in view, and is to stay so. */
    this.following = true;
    log.addEventListener("scroll", () => {
      this.following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
    });
    // A phone's keyboard takes half of the page.
    new ResizeObserver(() => this.follow()).observe(log);
  }

  /** Add a question. @param {string} text */
  ask(text) {
    this.#turn("question", "You").append(element("p", text));
  }

  /** Add the place of an answer, and return it. */
  answer() {
    this.announcer.clear();
    const answer = new Answer(this.#turn("answer", "Answer"), this.announcer, () => this.follow());
    this.following = true;
    this.follow();
    return answer;
  }

  clear() {
    this.log.replaceChildren();
    this.announcer.clear();
  }

  /** @param {string} kind @param {string} title */
  #turn(kind, title) {
    const turn = element("article", "", kind);
    turn.append(element("h2", title, "unseen"));
    this.log.append(turn);
    return turn;
  }

  /** Show the end, where the reader has not gone back to read. */
  follow() {
    if (this.following) this.log.scrollTop = this.log.scrollHeight;
  }
}

/** One answer, while it is written and after. */
export class Answer {
  #text = "";
  #drawing = 0;

  /** @param {HTMLElement} turn @param {Announcer} announcer @param {() => void} follow */
  constructor(turn, announcer, follow) {
    this.turn = turn;
    this.announcer = announcer;
    this.follow = follow;
    this.body = element("div", "", "text waiting");
    turn.append(this.body);
  }

  /** Write on. @param {string} text */
  add(text) {
    this.#text += text;
    this.announcer.add(text);
    this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  /** Take back what does not stay, and show why. @param {number} keep characters @param {Note} note */
  block(keep, note) {
    const taken = this.#text.length > keep;
    this.#text = this.#text.slice(0, keep);
    if (taken) this.announcer.clear();
    else this.announcer.drop();
    const box = element("div", "", "note");
    box.append(element("h3", title(note, keep > 0, taken)));
    if (note.category) box.append(element("p", `Reason: ${named(note.category)}`, "reason"));
    box.append(element("p", note.message, "message"));
    this.#finish(box);
  }

  get empty() {
    return !this.#text;
  }

  /** Take the whole answer off the page, to write another in its place. */
  remove() {
    this.turn.remove();
  }

  /** End the answer, with what there is to say below it. @param {string[]} remarks */
  end(remarks) {
    this.announcer.flush();
    this.#finish(...remarks.map((remark) => element("p", remark, "remark")));
  }

  /** @param {HTMLElement[]} below */
  #finish(...below) {
    cancelAnimationFrame(this.#drawing);
    this.#draw();
    this.body.classList.remove("waiting");
    this.body.hidden = !this.#text;
    this.turn.append(...below);
    for (const node of below) this.announcer.say(node.innerText);
    this.follow();
  }

  #draw() {
    this.#drawing = 0;
    this.body.classList.toggle("waiting", !this.#text);
    this.body.replaceChildren(render(this.#text));
    this.follow();
  }
}

/** Says finished sentences, so that a screen reader is not interrupted by every token. */
class Announcer {
  #rest = "";

  /** @param {HTMLElement} region */
  constructor(region) {
    this.region = region;
  }

  /** @param {string} text */
  add(text) {
    this.#rest += text;
    const end = [...this.#rest.matchAll(SENTENCE_END)].at(-1);
    if (!end) return;
    const at = end.index + end[0].length;
    this.say(this.#rest.slice(0, at));
    this.#rest = this.#rest.slice(at);
  }

  /** @param {string} text */
  say(text) {
    const words = text.replaceAll(/\*\*|`+/g, "").trim();
    if (words) this.region.append(element("p", words));
  }

  flush() {
    this.say(this.#rest);
    this.drop();
  }

  /** Leave what is not said yet unsaid. */
  drop() {
    this.#rest = "";
  }

  clear() {
    this.drop();
    this.region.replaceChildren();
  }
}

/** @param {Note} note @param {boolean} stays whether part of the answer stays @param {boolean} taken whether part does not */
function title({ rail, failed, action }, stays, taken) {
  // A policy replaces where its message matters more than what was stopped: a helpline.
  if (action === "replace") return "Please read this";
  if (failed) return rail === "input" ? "This question could not be checked" : "This answer could not be checked";
  if (rail === "input") return "This question was stopped";
  if (taken) return stays ? "The end of this answer was taken back" : "This answer was taken back";
  return stays ? "This answer was stopped here" : "This answer was stopped";
}

/**
 * Return what to say of a verdict that let a text pass.
 * @param {Note} note
 */
export function remark({ failed, action, rail, category }) {
  const subject = rail === "input" ? "question" : "answer";
  if (failed) return `The guard could not check this ${subject}.`;
  if (action === "redact") return `Personal data were taken out of the ${subject}.`;
  return `The guard let this ${subject} pass with a warning: ${category ? named(category) : "unknown"}.`;
}

/** @param {string} category */
const named = (category) =>
  (category.startsWith("S") ? `${CATEGORIES[category]} (${category})` : CATEGORIES[category]) ?? category;

/** @param {string} name @param {string} text @param {string} [kind] */
function element(name, text, kind) {
  const node = document.createElement(name);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
}
