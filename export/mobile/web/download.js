// @ts-check
/**
 * One file over the line: fetched with progress, resumed where it broke off, and verified before anybody gets it.
 *
 * Parts of a large file are kept while it comes in, under addresses of their own that nothing serves. It does not know what is
 * in a file.
 */

import { LoadError, address, fits } from "./manifest.js";
/** @typedef {import('./manifest.js').Bytes} Bytes */
/** @typedef {import('./manifest.js').Entry} Entry */
/** @typedef {import('./store.js').Version} Version */

/** What a broken line costs at most; smaller files are fetched whole. */
const PART_BYTES = 8 << 20;

/**
 * Return a file as the manifest lists it. Raises LoadError when it is missing, changed or cut short, or when the line breaks.
 * @param {string} name @param {Entry} entry @param {Version | null} version where parts are kept
 * @param {(at: number) => void} onBytes
 */
export async function download(name, entry, version, onBytes) {
  const bytes = allocated(entry.bytes);
  const parts = new Parts(name, bytes, version);
  const at = await parts.restore();
  const response = await requested(name, at);
  // A server that knows no ranges sends all of it again.
  const length = await received(name, bytes, response, response.status === 206 ? at : 0, async (here) => {
    onBytes(here);
    await parts.save(here);
  });
  await parts.remove();
  if (length === entry.bytes && (await fits(bytes, entry))) return bytes;
  throw new LoadError(`${name} was changed or cut short since the bundle was made; put the whole bundle up again and reload.`);
}

/** @param {number} length @returns {Bytes} */
function allocated(length) {
  try {
    return new Uint8Array(length);
  } catch {
    const needed = Math.ceil(length / 1e6);
    throw new LoadError(`There is too little memory: ${needed} MB are needed at once; close other tabs and apps and reload.`);
  }
}

/** @param {string} name @param {number} at */
async function requested(name, at) {
  /** @type {RequestInit} */
  const fresh = { cache: "no-store" };
  let response = await fetch(address(name), at ? { ...fresh, headers: { range: `bytes=${at}-` } } : fresh).catch(() => null);
  const resumes = response?.headers.get("content-range")?.startsWith(`bytes ${at}-`);
  if (at && response?.status !== 200 && !resumes) response = await fetch(address(name), fresh).catch(() => null);
  if (!response) throw new LoadError(broken(name));
  if (!response.ok || !response.body) {
    throw new LoadError(`${name} is missing on the server (HTTP ${response.status}); export the bundle again.`);
  }
  return response;
}

/**
 * Fill `bytes` from `at` on and return how many there are then, or one more than fit.
 * @param {string} name @param {Bytes} bytes @param {Response} response @param {number} at
 * @param {(at: number) => Promise<void>} onBytes
 */
async function received(name, bytes, response, at, onBytes) {
  const reader = /** @type {ReadableStream<Bytes>} */ (response.body).getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => Promise.reject(new LoadError(broken(name))));
    if (done) return at;
    if (at + value.length > bytes.length) {
      await reader.cancel();
      return bytes.length + 1;
    }
    bytes.set(value, at);
    await onBytes((at += value.length));
  }
}

/** @param {string} name */
const broken = (name) => `${name} could not be fetched to its end: the line broke off; reload to go on from there.`;

/** What has come of a file so far, kept in steps. */
class Parts {
  /** @param {string} name @param {Bytes} bytes @param {Version | null} version */
  constructor(name, bytes, version) {
    this.name = name;
    this.bytes = bytes;
    this.version = bytes.length > PART_BYTES ? version : null;
    this.kept = 0;
  }

  /** Put what was kept into place and return where the file goes on. */
  async restore() {
    for (let part = await this.version?.read(this.#at(0)); part; part = await this.version?.read(this.#at(this.kept))) {
      // A file that has since become shorter is another file; its hash will say so.
      if (part.length !== PART_BYTES || this.kept + part.length >= this.bytes.length) break;
      this.bytes.set(part, this.kept);
      this.kept += part.length;
    }
    return this.kept;
  }

  /** Keep every whole part up to `at`. @param {number} at */
  async save(at) {
    if (at < this.kept) this.kept = Math.floor(at / PART_BYTES) * PART_BYTES;
    while (this.version && at - this.kept >= PART_BYTES) {
      await this.version.write(this.#at(this.kept), this.bytes.slice(this.kept, this.kept + PART_BYTES));
      this.kept += PART_BYTES;
    }
  }

  async remove() {
    for (let at = 0; this.version && at < this.bytes.length; at += PART_BYTES) await this.version.remove(this.#at(at));
  }

  /** @param {number} at */
  #at(at) {
    return `${this.name}?from=${at}`;
  }
}
