// @ts-check
/**
 * Draws a model's answer: paragraphs, headings, lists, bold, code. Whatever else it holds is text.
 *
 * It builds nodes and sets their text, so nothing in an answer can become markup; links stay words, for the page may open none.
 */

/** @typedef {{kind: 'text' | 'bold' | 'code', text: string}} Span */
/** @typedef {{kind: 'p' | 'h' | 'pre' | 'li', text: string, number: number | null}} Block the number is an ordered item's */

const FENCE = /^\s*```/;
const HEADING = /^#{1,6}\s+(.*)$/;
const ITEM = /^\s*(?:[-*+•]|(\d{1,9})[.)])\s+(.*)$/;
const INLINE = /`([^`\n]+)`|\*\*(?=\S)([^\n]*?\S)\*\*/g;

/**
 * Return the nodes of a text, which may still be growing.
 * @param {string} text
 */
export function render(text) {
  const fragment = document.createDocumentFragment();
  /** @type {HTMLElement | null} */
  let list = null;
  for (const block of blocks(text)) {
    const node = drawn(block);
    if (block.kind !== "li") list = null;
    else if (list?.localName !== (block.number === null ? "ul" : "ol")) {
      list = document.createElement(block.number === null ? "ul" : "ol");
      fragment.append(list);
    }
    (list ?? fragment).append(node);
  }
  return fragment;
}

/**
 * Return what a text is made of.
 * @param {string} text
 */
export function blocks(text) {
  /** @type {Block[]} */
  const found = [];
  let open = false;
  let fenced = false;
  for (const line of text.split("\n")) {
    if (FENCE.test(line)) {
      fenced = !fenced;
      if (fenced) found.push({ kind: "pre", text: "", number: null });
      open = false;
      continue;
    }
    const last = found.at(-1);
    const begun = fenced ? null : begins(line);
    if (fenced && last) last.text += (last.text && "\n") + line;
    else if (!line.trim()) open = false;
    else if (begun) found.push(begun);
    else if (open && last) last.text += `\n${line.trim()}`;
    else found.push({ kind: "p", text: line.trim(), number: null });
    // A heading is one line; what follows any other block without a gap belongs to it.
    if (!fenced && line.trim()) open = begun?.kind !== "h";
  }
  return found;
}

/** Return the block that a line begins by its first characters, or null. @param {string} line @returns {Block | null} */
function begins(line) {
  const heading = HEADING.exec(line);
  if (heading) return { kind: "h", text: heading[1], number: null };
  const item = ITEM.exec(line);
  return item && { kind: "li", text: item[2], number: item[1] === undefined ? null : Number(item[1]) };
}

/**
 * Return the spans of a line.
 * @param {string} text
 */
export function spans(text) {
  /** @type {Span[]} */
  const found = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) found.push({ kind: "text", text: text.slice(at, match.index) });
    found.push(match[1] === undefined ? { kind: "bold", text: match[2] } : { kind: "code", text: match[1] });
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push({ kind: "text", text: text.slice(at) });
  return found;
}

/** @param {Block} block */
function drawn({ kind, text, number }) {
  // The page's own headings tell turns apart; a heading inside an answer is but emphasis.
  const node = document.createElement(kind === "h" ? "p" : kind);
  if (number !== null) /** @type {HTMLLIElement} */ (node).value = number;
  if (kind === "pre") {
    node.tabIndex = 0; // wide code scrolls, and a keyboard must reach what scrolls
    node.append(element("code", text));
  } else if (kind === "h") node.append(element("strong", text));
  else node.append(...spans(text).map((span) => (span.kind === "text" ? span.text : inline(span))));
  return node;
}

/** @param {Span} span */
const inline = ({ kind, text }) => element(kind === "bold" ? "strong" : "code", text);

/** @param {string} name @param {string} text */
function element(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}
