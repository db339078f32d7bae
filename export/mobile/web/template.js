// @ts-check
/**
 * From a conversation to token ids and back, as runtime/template.py: the tokenizer and chat template that lie beside the weights.
 *
 * Special tokens inside a message are not markup but text somebody typed; a space takes their place, so that nobody can close
 * a turn and open another one from inside a message. It knows no model.
 */

/** @typedef {{role: string, content: string}} Message */
/**
 * The part of `@huggingface/tokenizers` that is used.
 * @typedef {{encode(text: string, options: object): {ids: number[]}, decode(ids: number[], options: object): string,
 *   get_added_tokens_decoder(): Map<number, {content: string, special: boolean}>}} TokenizerLike
 */
/** @typedef {{render(values: Record<string, unknown>): string}} TemplateLike the class `Template` of `@huggingface/jinja` */

/** What a decoder writes for bytes that are no whole character. */
const BROKEN = "\ufffd";

/** The tokenizer and the chat template of one model. */
export class ChatTemplate {
  /** @param {TokenizerLike} tokenizer @param {TemplateLike} template @param {Record<string, any>} config tokenizer_config.json */
  constructor(tokenizer, template, config) {
    this.tokenizer = tokenizer;
    this.template = template;
    this.variables = variables(config);
    const added = [...tokenizer.get_added_tokens_decoder().values()].filter((token) => token.special && token.content);
    const words = added.map((token) => token.content.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.special = words.length ? new RegExp(words.join("|"), "g") : null;
  }

  /** Return the token ids of a conversation, ready for the model's answer. @param {Message[]} messages @returns {number[]} */
  encode(messages) {
    const cleaned = messages.map(({ role, content }) => ({ role, content: this.#clean(content) }));
    const text = this.template.render({ messages: cleaned, add_generation_prompt: true, ...this.variables });
    return [...this.tokenizer.encode(text, { add_special_tokens: false }).ids];
  }

  /** Return a function from one token to the text it completes; an unfinished character is kept back. */
  decodeStream() {
    /** @type {number[]} */
    let ids = [];
    let shown = 0;
    const text = (/** @type {number[]} */ some) => (some.length ? this.tokenizer.decode(some, { skip_special_tokens: true }) : "");
    return (/** @type {number | null} */ token) => {
      if (token !== null) ids.push(token);
      // What came before decides whether a space is written, so the tokens shown last are decoded along.
      const [before, now] = [text(ids.slice(0, shown)), text(ids)];
      if (now.length <= before.length || (now.endsWith(BROKEN) && token !== null)) return "";
      ids = ids.slice(shown);
      shown = ids.length;
      return now.slice(before.length);
    };
  }

  /** @param {string} text */
  #clean(text) {
    let cleaned = text.replace(/\p{Surrogate}/gu, "?");
    for (let last = ""; this.special && last !== cleaned; ) {
      last = cleaned;
      cleaned = cleaned.replace(this.special, " ");
    }
    return cleaned;
  }
}

/**
 * Return what else a template may ask for: the special tokens by name (`bos_token`), and that there are no tools.
 * @param {Record<string, any>} config
 */
function variables(config) {
  const named = Object.entries(config).map(([name, value]) => [name, value?.content ?? value]);
  const tokens = named.filter(([name, value]) => name.endsWith("_token") && typeof value === "string");
  return { tools: null, documents: null, ...Object.fromEntries(tokens) };
}
