// @ts-check
/**
 * What is kept on this device: versions of the bundle in Cache Storage, one cache each.
 *
 * A version is complete if and only if its cache holds manifest.json, which is written last; the service worker (sw.js) serves
 * complete versions only. This module decides nothing about what is kept, and trusts none of it unseen: bytes are verified by
 * whoever asks for them.
 */

import { LoadError, MANIFEST, ROOT, address } from "./manifest.js";
/** @typedef {import('./manifest.js').Bytes} Bytes */
/** @typedef {import('./manifest.js').Manifest} Manifest */

/** Other bundles of the same host keep theirs beside ours. */
const PREFIX = `breakfix ${ROOT} `;
/** @type {Record<string, string>} A static host may know none of these, and a module of an unknown type is not run. */
const TYPES = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  mjs: "text/javascript; charset=utf-8",
  json: "application/json",
  webmanifest: "application/manifest+json",
  wasm: "application/wasm",
  svg: "image/svg+xml",
  png: "image/png",
};

/** The files of one version. */
export class Version {
  /** @param {Cache} cache */
  constructor(cache) {
    this.cache = cache;
    /** Bytes that are still to come, to be named where there is no room for them. */
    this.missing = 0;
  }

  /** Open what is kept of a version, which may be nothing. @param {string} id */
  static async open(id) {
    return new Version(await said(caches.open(PREFIX + id)));
  }

  /** Return a kept file, or null. @param {string} name @returns {Promise<Bytes | null>} */
  async read(name) {
    const held = await said(this.cache.match(address(name)));
    return held ? new Uint8Array(await held.arrayBuffer()) : null;
  }

  /** @param {string} name @param {Bytes} bytes */
  async write(name, bytes) {
    const headers = { "content-type": TYPES[name.split(".").at(-1) ?? ""] ?? "application/octet-stream" };
    await said(this.cache.put(address(name), new Response(bytes, { headers })), this.missing);
  }

  /** @param {string} name */
  async remove(name) {
    await said(this.cache.delete(address(name)));
  }

  /** Refuse what will not fit in. @param {Manifest} manifest */
  async assertRoom({ files }) {
    const { quota = Infinity, usage = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    const held = new Set((await said(this.cache.keys())).map((request) => request.url));
    const missing = Object.keys(files).filter((name) => !held.has(address(name)));
    this.missing = missing.reduce((sum, name) => sum + files[name].bytes, 0);
    // Some browsers tell a made-up quota; where the true one ends, writing fails, and says the same.
    if (this.missing > quota - usage) throw new LoadError(noRoom(this.missing));
  }

  /** Make this the version that is served, and remove all others. @param {Manifest} manifest */
  async publish(manifest) {
    await this.write(MANIFEST, new TextEncoder().encode(JSON.stringify(manifest)));
    for (const name of await said(caches.keys())) {
      if (name.startsWith(PREFIX) && name !== PREFIX + manifest.id) await said(caches.delete(name));
    }
  }
}

/** Tell whether this browser keeps anything: some private windows do not. */
export const canKeep = () => globalThis.caches !== undefined;

/** Return the manifests of the complete versions, the newest last. @returns {Promise<Manifest[]>} */
export async function completeVersions() {
  const found = [];
  for (const name of canKeep() ? await said(caches.keys()) : []) {
    if (!name.startsWith(PREFIX)) continue;
    const manifest = await (await said(caches.open(name))).match(address(MANIFEST));
    if (manifest) found.push(await manifest.json());
  }
  return found;
}

/**
 * Await what the browser's storage does, and say in words what it could not.
 * @template T @param {Promise<T>} work @param {number} [needed] bytes @returns {Promise<T>}
 */
async function said(work, needed = 0) {
  try {
    return await work;
  } catch (error) {
    if (error instanceof DOMException && error.name === "QuotaExceededError") throw new LoadError(noRoom(needed));
    throw new LoadError("The browser does not let this page store files; allow it to keep site data and reload.");
  }
}

/** @param {number} needed bytes */
const noRoom = (needed) =>
  `There is too little storage: ${Math.ceil(needed / 1e6)} MB are needed; make room on this device and reload.`;
