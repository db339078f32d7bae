// @ts-check
/**
 * What the app says of itself: the model's name, what was measured on its safety card (card.json), and where the talk stays.
 *
 * It shows the figures that are there and adds none: what the card lacks is "not measured".
 */

/** @typedef {import('./loader.js').Loaded} Loaded */
/** @typedef {{suite: string, measure: string, hits: number, n: number, low: number, high: number}} Figure shares from 0 to 1 */
/**
 * @typedef {object} About
 * @property {string} name @property {string} id
 * @property {Figure[]} guarded of the model behind its guard @property {Figure[]} alone of the model by itself
 * @property {{outcome: string, reason: string} | null} gate what was decided on its quantization
 * @property {number} threads @property {boolean} kept whether the app stays on this device
 */

const NOTHING_LEAVES = "Nothing leaves this device.";
const NONE = "not measured";

/**
 * Return what the bundle says of its model.
 * @param {Loaded} loaded @param {number} threads @returns {About}
 */
export function about({ manifest, data, kept }, threads) {
  const card = parsed(data.get("card.json"));
  const config = parsed(data.get("model/genai_config.json"));
  const name = [card.name, manifest.facts?.name, config.model?.type].find((each) => typeof each === "string" && each);
  const gate = typeof card.gate?.outcome === "string" ? { reason: "", ...card.gate } : null;
  const [guarded, alone] = [figures(card.figures), figures(card.unguarded)];
  return { name: name ?? "Unnamed model", id: manifest.id, guarded, alone, gate, threads, kept };
}

/**
 * Return the line that always stands in view.
 * @param {About} facts
 */
export function line({ guarded }) {
  const first = guarded.find(({ measure }) => measure === "harmful compliance") ?? guarded[0];
  const safety = first ? `${first.measure} ${percent(first.hits / first.n)} % (${first.suite})` : NONE;
  return `${NOTHING_LEAVES}\nSafety: ${safety}`;
}

/**
 * Draw all that is known.
 * @param {About} facts
 */
export function details({ guarded, alone, gate, threads, kept, id }) {
  const measured = guarded.length + alone.length > 0;
  return [
    element("p", `${NOTHING_LEAVES} The page may ask no other host, and the conversation is gone when it is closed.`),
    measured ? table(guarded, alone) : element("p", "How safe this model is was not measured."),
    element("p", `Safety gate after the model was made smaller: ${gate ? `${gate.outcome}. ${gate.reason}` : `${NONE}.`}`),
    element("p", "A guard checks each question before the model reads it, and each answer before you do. Both can be wrong. The figures were measured on the same weights and guard outside the browser."),
    element("p", kept ? "The app is kept on this device and works offline." : "This browser keeps no app for offline use."),
    element("p", `Threads: ${threads}. Version: ${id.slice(0, 12)}.`, "hint"),
  ];
}

/** @param {Figure[]} guarded @param {Figure[]} alone */
function table(guarded, alone) {
  const node = document.createElement("table");
  node.createCaption().textContent = "Defects in percent of those asked, with 95 % intervals; lower is better";
  const head = node.createTHead().insertRow();
  for (const title of ["Measured", "With the guard", "Model alone"]) {
    const cell = element("th", title);
    cell.setAttribute("scope", "col");
    head.append(cell);
  }
  const body = node.createTBody();
  const keys = new Set([...guarded, ...alone].map(({ suite, measure }) => `${measure}\n${suite}`));
  for (const key of keys) {
    const row = body.insertRow();
    const found = [guarded, alone].map((all) => all.find(({ suite, measure }) => key === `${measure}\n${suite}`));
    for (const text of [key, ...found.map(rate)]) row.insertCell().textContent = text;
  }
  return node;
}

/** @param {Figure | undefined} figure */
function rate(figure) {
  if (!figure) return NONE;
  const { hits, n, low, high } = figure;
  return `${percent(hits / n)} % of ${n}\n${percent(low)} to ${percent(high)}`;
}

/** @param {number} share */
const percent = (share) => (share * 100).toFixed(1);

/** @param {any} list @returns {Figure[]} */
const figures = (list) => (Array.isArray(list) ? list.filter(isFigure) : []);

/** @param {any} figure @returns {figure is Figure} */
function isFigure(figure) {
  const numbers = [figure?.hits, figure?.n, figure?.low, figure?.high];
  const names = [figure?.suite, figure?.measure];
  return numbers.every(Number.isFinite) && figure.n > 0 && names.every((name) => typeof name === "string");
}

/** @param {string} name @param {string} text @param {string} [kind] */
function element(name, text, kind) {
  const node = document.createElement(name);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

/** @param {Uint8Array | undefined} bytes @returns {any} an empty object where there is no such file */
const parsed = (bytes) => (bytes ? JSON.parse(new TextDecoder().decode(bytes)) : {});
