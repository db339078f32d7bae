// @ts-check
/**
 * What a bundle must be: a manifest whose id fits its files, and that lists every file the app loads.
 *
 * It reads and fetches nothing; a file comes to it as bytes.
 */

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */
/** @typedef {{sha256: string, bytes: number}} Entry */
/** @typedef {{id: string, kind: string, format: number, files: Record<string, Entry>, facts?: Record<string, unknown>}} Manifest */

/** What keeps the app from starting, in a sentence: what, which file, the remedy. */
export class LoadError extends Error {}

export const MANIFEST = "manifest.json";
const KIND = "bundle";
const FORMAT = 1;
/** The folder of the bundle; loader.js and all of its kind lie at its top. */
export const ROOT = new URL("./", import.meta.url).href;

/** What is loaded by name; what these scripts import is found in them. */
const NEEDED = [
  ...["index.html", "style.css", "chat.css", "app.webmanifest", "icon.svg", "icon-512.png", "app.js", "worker.js", "sw.js"],
  ...["vendor/ort.wasm.min.mjs", "vendor/ort-wasm-simd-threaded.mjs", "vendor/ort-wasm-simd-threaded.wasm"],
  ...["vendor/tokenizers.mjs", "vendor/jinja.mjs", "model/model.onnx", "model/genai_config.json", "model/tokenizer.json"],
  ...["model/tokenizer_config.json", "model/chat_template.jinja", "guard-model/model.onnx", "guard-model/tokenizer.json"],
  ...["guard-model/calibration.json", "guard-model/policy.json", "guard-model/tables.json"],
];
/** Vendored scripts name files in ways that only they understand; all they load stands above. */
const OWN_CODE = /^(?!vendor\/).*\.m?js$/;
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*['"](\.[^'"]+)['"]/g;

/**
 * Return a manifest if it is whole. Raises LoadError.
 * @param {Manifest} manifest
 */
export async function checked(manifest) {
  const { id, kind, format, files } = manifest ?? {};
  if (typeof id !== "string" || typeof kind !== "string" || typeof files !== "object" || !files) {
    throw new LoadError(`${MANIFEST} is damaged; export the bundle again.`);
  }
  if (kind !== KIND || format !== FORMAT) throw new LoadError(`${MANIFEST} is of no bundle that this page reads; export it again.`);
  for (const [name, entry] of Object.entries(files)) {
    if (!isPlain(name) || !Number.isInteger(entry?.bytes) || typeof entry.sha256 !== "string") {
      throw new LoadError(`${MANIFEST} lists ${name}, which is no file of a bundle; export the bundle again.`);
    }
  }
  NEEDED.forEach((name) => assertListed(name, files));
  if (id !== (await contentId(kind, files))) {
    throw new LoadError(`${MANIFEST} was edited: its id does not fit its files; export the bundle again.`);
  }
  return manifest;
}

/**
 * Tell whether these are the bytes that the manifest lists.
 * @param {Bytes} bytes @param {Entry} entry
 */
export async function fits(bytes, entry) {
  return bytes.length === entry.bytes && (await sha256(bytes)) === entry.sha256;
}

/**
 * Refuse a script that imports what is not listed, before anything of it runs. Raises LoadError with the name of that file.
 * @param {string} name @param {Bytes} bytes @param {Record<string, Entry>} files
 */
export function assertImportsListed(name, bytes, files) {
  if (!OWN_CODE.test(name)) return;
  for (const [, path] of new TextDecoder().decode(bytes).matchAll(IMPORT)) {
    assertListed(new URL(path, address(name)).href.slice(ROOT.length), files);
  }
}

/** @param {string} name */
export const address = (name) => new URL(name, ROOT).href;

/** @param {string} name @param {Record<string, Entry>} files */
function assertListed(name, files) {
  if (!Object.hasOwn(files, name)) {
    throw new LoadError(`${name} would be loaded, and ${MANIFEST} does not list it; export the bundle again.`);
  }
}

/** A name that stays inside the bundle, whatever reads it. @param {string} name */
const isPlain = (name) => name.split("/").every((part) => /^[\w.+@ -]+$/.test(part) && !/^\.+$/.test(part));

/**
 * Return the id that an artifact of this kind has with these files: core/artifact.py, `content_id`.
 * @param {string} kind @param {Record<string, Entry>} files
 */
async function contentId(kind, files) {
  const listing = Object.keys(files)
    .sort()
    .map((name) => `"${name}": ${JSON.stringify(files[name].sha256)}`);
  return sha256(new TextEncoder().encode(`[${JSON.stringify(kind)}, {${listing.join(", ")}}]`));
}

/** @param {Bytes} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
