// @ts-check
/**
 * Brings the bundle onto the device: every listed file verified, from what is kept here or else from the server.
 *
 * After the first load it needs no server. It does not know what the files mean, nor who draws the progress.
 */

import { download } from "./download.js";
import { LoadError, MANIFEST, address, assertImportsListed, checked, fits } from "./manifest.js";
import { Version, canKeep, completeVersions } from "./store.js";
/** @typedef {import('./manifest.js').Bytes} Bytes */
/** @typedef {import('./manifest.js').Entry} Entry */
/** @typedef {import('./manifest.js').Manifest} Manifest */
/**
 * @typedef {object} Loaded
 * @property {Manifest} manifest What the bundle says of itself.
 * @property {Map<string, Bytes>} data The verified files that are no code: models, tokenizers, settings, WASM.
 * @property {boolean} updated True where another version was served until now: the page that runs belongs to that one.
 * @property {boolean} kept False where this browser keeps nothing, so that the next start needs the server again.
 */

export { LoadError };

/** The first load may meet a slow line; where a version is kept, a dead line must not hold up the start. */
const PATIENCE_MS = { first: 60_000, later: 5_000 };
const DATA = /^(model|guard-model)\/|\.wasm$|^card\.json$/;

/**
 * Return the verified bundle. Run it under a lock: two loads at once would fetch everything twice.
 * @param {(done: number, all: number) => void} onProgress called with bytes
 * @returns {Promise<Loaded>} Raises LoadError.
 */
export async function load(onProgress) {
  if (!globalThis.crypto?.subtle) {
    throw new LoadError("This browser verifies files on secure pages only; open the app over https, or on localhost.");
  }
  const complete = await completeVersions();
  const manifest = await newest(complete);
  const version = canKeep() ? await Version.open(manifest.id) : null;
  const others = complete.filter(({ id }) => id !== manifest.id);
  const older = await Promise.all(others.map(({ id }) => Version.open(id)));
  await version?.assertRoom(manifest);
  const data = await collect(manifest, version, older, onProgress);
  await version?.publish(manifest);
  return { manifest, data, updated: complete.length > 0 && others.length === complete.length, kept: version !== null };
}

/**
 * Return the manifest that the server has, or the newest kept one where the server gives none.
 * @param {Manifest[]} complete
 */
async function newest(complete) {
  const last = complete.at(-1);
  try {
    const signal = AbortSignal.timeout(last ? PATIENCE_MS.later : PATIENCE_MS.first);
    const response = await fetch(address(MANIFEST), { cache: "no-store", signal });
    if (!response.ok) {
      throw new LoadError(`${MANIFEST} is missing on the server (HTTP ${response.status}); export the bundle again.`);
    }
    return await checked(await response.json());
  } catch (error) {
    if (last) return last;
    if (error instanceof LoadError) throw error;
    if (error instanceof SyntaxError) throw new LoadError(`${MANIFEST} is damaged; export the bundle again.`);
    throw new LoadError(`${MANIFEST} could not be fetched, and nothing is kept on this device yet; connect and reload.`);
  }
}

/**
 * Verify every listed file, one after the other, for a phone has memory for one at a time; return those that are data.
 * @param {Manifest} manifest @param {Version | null} version @param {Version[]} older
 * @param {(done: number, all: number) => void} onProgress
 */
async function collect(manifest, version, older, onProgress) {
  const all = Object.values(manifest.files).reduce((sum, entry) => sum + entry.bytes, 0);
  /** @type {Map<string, Bytes>} */
  const data = new Map();
  let done = 0;
  for (const [name, entry] of Object.entries(manifest.files)) {
    const bytes = await obtained(name, entry, version, older, (at) => onProgress(done + at, all));
    assertImportsListed(name, bytes, manifest.files);
    if (DATA.test(name)) data.set(name, bytes);
    onProgress((done += entry.bytes), all);
  }
  return data;
}

/**
 * Return one file from here, from an older version that has the same, or from the server.
 * @param {string} name @param {Entry} entry @param {Version | null} version @param {Version[]} older
 * @param {(at: number) => void} onBytes
 */
async function obtained(name, entry, version, older, onBytes) {
  const held = await version?.read(name);
  if (held && (await fits(held, entry))) return held;
  // A disk can flip a bit, too; what is damaged here is served no longer.
  if (held) await version?.remove(name);
  for (const place of older) {
    const same = await place.read(name);
    if (same && (await fits(same, entry))) return kept(name, same, version);
  }
  return kept(name, await download(name, entry, version, onBytes), version);
}

/** @param {string} name @param {Bytes} bytes @param {Version | null} version */
async function kept(name, bytes, version) {
  await version?.write(name, bytes);
  return bytes;
}
