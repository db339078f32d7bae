// @ts-check
/**
 * An engine that needs no model, served in place of engine.js: its answer is its script for the question, else an echo of it.
 *
 * Like a real one it computes for a while without ever leaving the task, so a stop is heard only where its user lets it.
 */

/** @typedef {{role: string, content: string}} Message */

const TOKEN_MS = 15;
const LIST =
  "Plants need **three** things:\n\n1. Light\n2. Water\n3. Air\n\n" +
  "In code, `grow(plant)`:\n\n```js\ngrow(plant);\n```\n\nThat is all.";
/** @type {Record<string, string>} */
const SCRIPT = {
  "What do plants need?": LIST,
  "Tell me something safe, then something harmful.":
    "Here is a safe sentence 🌱. Here is another one. Now comes UNSAFE-TEXT and more.",
  "Break off.": "This much was said. BREAK and no more.",
  "Say markup.": '<img src=x onerror="document.title=1"> is **<b>text</b>** and `</code><script>`.',
  "Count to a thousand.": Array.from({ length: 1000 }, (_, at) => String(at + 1)).join(" "),
};

export class Engine {
  /** @param {{threads: number, external?: Record<string, Uint8Array>, model: Uint8Array} & Record<string, any>} files */
  static async open(files) {
    if (files.config.refuse) throw new RangeError("Array buffer allocation failed");
    return new Engine(files);
  }

  /** @param {{threads: number, external?: Record<string, Uint8Array>, model: Uint8Array}} files */
  constructor({ threads, external, model }) {
    this.facts = `threads ${threads}, model ${model.length}, external ${Object.keys(external ?? {})}`;
    this.stats = { promptTokens: 0, readTokens: 0, newTokens: 0, prefillMs: 0, decodeMs: 0 };
  }

  /** A character is a token. @param {Message[]} messages */
  encode(messages) {
    return [...messages.map(({ content }) => content).join("\n")].map((char) => char.codePointAt(0) ?? 0);
  }

  /** @param {Message[]} messages @param {{maxTokens: number, temperature?: number, signal?: AbortSignal}} options */
  async *generate(messages, { maxTokens, temperature = 0, signal }) {
    this.stats = { ...this.stats, promptTokens: this.encode(messages).length, newTokens: 0, decodeMs: 0 };
    const pieces = (await this.#answer(messages, temperature)).match(/\s*\S+/g) ?? [];
    for (const piece of pieces.slice(0, maxTokens)) {
      for (const until = performance.now() + TOKEN_MS; performance.now() < until;);
      if (signal?.aborted) return;
      this.stats.newTokens++;
      this.stats.decodeMs++;
      if (piece.includes("BREAK")) throw new Error("a broken engine");
      yield piece;
    }
  }

  /** @param {number[]} ids @param {number} count */
  async greedy(ids, count) {
    return ids.slice(0, count);
  }

  /** @param {Message[]} messages @param {number} temperature */
  async #answer(messages, temperature) {
    const last = messages[messages.length - 1].content;
    if (last === "What are you?") return this.facts;
    if (last.startsWith("Ask a foreign host: ")) return asked(last.slice("Ask a foreign host: ".length));
    const turns = messages.filter(({ role }) => role === "user").length;
    return SCRIPT[last] ?? `Turn ${turns}${temperature ? ", sampled" : ""}: you said "${last}".`;
  }
}

/** What a worker gets that is not content with its own origin. @param {string} address */
const asked = (address) =>
  fetch(address, { mode: "no-cors" }).then(
    () => "It was asked.",
    () => "It was not asked.",
  );
