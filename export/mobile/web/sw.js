// @ts-check
/// <reference lib="webworker" />
/**
 * The service worker: serves the app from the version that is kept and verified (store.js), so that it works offline.
 *
 * It stores nothing, and passes nothing through but the page's own shell while there is no such version: the loader, which
 * verifies, asks past it with `no-store`. Each response gets the headers that a static host cannot set: those of cross-origin
 * isolation, for WASM threads, and the Content-Security-Policy, which a worker would not have from the page.
 */

const self_ = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const SCOPE = self_.registration.scope;
const MANIFEST = "manifest.json";
/** What a first visit must show and run before anything is verified: the page, and the code that verifies. */
const SHELL = new Set([
  ...["", "index.html", "style.css", "chat.css", "app.webmanifest", "icon.svg", "icon-512.png"],
  ...["app.js", "chat.js", "conversation.js", "about.js", "markdown.js", "loader.js", "manifest.js", "download.js", "store.js"],
]);
const HEADERS = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "content-security-policy":
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'; img-src 'self' data:; " +
    "style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'",
  "x-content-type-options": "nosniff",
};

self_.addEventListener("install", () => void self_.skipWaiting());
self_.addEventListener("activate", (event) => event.waitUntil(self_.clients.claim()));
// A page that was reloaded past the service worker has none; it asks to be taken on again.
self_.addEventListener("message", (event) => event.waitUntil(self_.clients.claim()));

self_.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(SCOPE) || request.cache === "no-store") return;
  event.respondWith(answer(request));
});

/** @param {Request} request */
async function answer(request) {
  const name = new URL(request.url).pathname.slice(new URL(SCOPE).pathname.length);
  const version = await served();
  if (version) {
    const held = await version.match(SCOPE + (name || "index.html"));
    return held ? isolated(held) : refusal(`${name} is no part of this bundle.`);
  }
  if (!SHELL.has(name)) return refusal(`${name} is not verified yet.`);
  const response = await fetch(request);
  return response.type === "opaqueredirect" ? response : isolated(response);
}

/** Return the newest complete version: the loader writes the manifest last, and removes the older ones. */
async function served() {
  for (const name of (await caches.keys()).reverse()) {
    if (!name.startsWith(`breakfix ${SCOPE} `)) continue;
    const cache = await caches.open(name);
    if (await cache.match(SCOPE + MANIFEST)) return cache;
  }
  return null;
}

/** @param {Response} response */
function isolated(response) {
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** @param {string} why */
const refusal = (why) => isolated(new Response(why, { status: 404, headers: { "content-type": "text/plain; charset=utf-8" } }));
