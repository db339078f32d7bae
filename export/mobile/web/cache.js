// @ts-check
/**
 * The keys and values of the tokens that the model has read, in JavaScript's memory: a session of onnxruntime-web keeps none.
 *
 * Each run takes them in and gives back the newest rows alone (web_graph.py), which are written behind the others. Room is made
 * in steps, so that rows seldom move; the graph is told by the attention mask how much of the room counts. Forgetting is
 * counting less. It knows no text.
 */

/** Tokens by which the room grows; more would be copied into WebAssembly at every token for nothing. */
const STEP = 64;

/** @typedef {{num_hidden_layers: number, num_key_value_heads: number, head_size: number, inputs: Record<string, string>}} Decoder */
/** @typedef {{input: string, output: string, rows: Float32Array}} Part one layer's keys or values, heads outermost */

export class Cache {
  /** @param {Decoder} decoder of genai_config.json */
  constructor(decoder) {
    this.heads = decoder.num_key_value_heads;
    this.size = decoder.head_size;
    this.room = 0;
    /** @type {number[]} the tokens whose keys and values these are */
    this.ids = [];
    /** @type {Part[]} */
    this.parts = [];
    for (let layer = 0; layer < decoder.num_hidden_layers; layer++) {
      for (const kind of ["key", "value"]) {
        const input = decoder.inputs[`past_${kind}_names`].replace("%d", String(layer));
        this.parts.push({ input, output: `new.${layer}.${kind}`, rows: new Float32Array(0) });
      }
    }
  }

  /** Forget all but what a prompt begins with; returns how many tokens that are. @param {number[]} prompt */
  keep(prompt) {
    let shared = 0;
    // The last token is always read again: what comes next is told from it.
    while (shared < this.ids.length && shared < prompt.length - 1 && this.ids[shared] === prompt[shared]) shared++;
    this.ids.length = shared;
    return shared;
  }

  /** Return the inputs of a run. @param {any} ort @returns {Record<string, any>} */
  feeds(ort) {
    const shape = [1, this.heads, this.room, this.size];
    return Object.fromEntries(this.parts.map((part) => [part.input, new ort.Tensor("float32", part.rows, shape)]));
  }

  /** Write what a run gave behind the rest. @param {number[]} ids @param {Record<string, {data: any, dispose(): void}>} outputs */
  add(ids, outputs) {
    const [at, row] = [this.ids.length, this.size];
    if (at + ids.length > this.room) this.#grow(at + ids.length);
    for (const part of this.parts) {
      const rows = outputs[part.output].data;
      for (let head = 0; head < this.heads; head++) {
        const one = rows.subarray(head * ids.length * row, (head + 1) * ids.length * row);
        part.rows.set(one, (head * this.room + at) * row);
      }
      outputs[part.output].dispose();
    }
    this.ids.push(...ids);
  }

  /** @param {number} tokens */
  #grow(tokens) {
    const [before, row] = [this.room, this.size];
    this.room = Math.ceil(tokens / STEP) * STEP;
    for (const part of this.parts) {
      const rows = new Float32Array(this.heads * this.room * row);
      for (let head = 0; head < this.heads; head++) {
        const one = part.rows.subarray(head * before * row, (head * before + this.ids.length) * row);
        rows.set(one, head * this.room * row);
      }
      part.rows = rows;
    }
  }
}
