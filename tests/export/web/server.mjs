// @ts-check
/**
 * A plain static host, which is also the browser's proxy: whatever the browser asks of any host comes by here and is recorded.
 *
 * It sets no header but the content type, like the simplest of hosts. It can be slow, break off, and stop.
 */

import fs from "node:fs";
import http from "node:http";
import path from "node:path";

/** @type {Record<string, string>} A host's that knows no .mjs and no .wasm, as some do. */
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
/** What the browser itself asks for, with no page open, and no flag turns off. */
const BROWSERS_OWN = ["android.clients.google.com", "mtalk.google.com", "redirector.gvt1.com"];
const CHUNK = 1 << 20;

/** Serve a folder; `log` fills with every path asked of it, `foreign` with every other host. */
export class Server {
  /** @param {string} folder */
  constructor(folder) {
    this.folder = folder;
    /** @type {string[]} */ this.log = [];
    /** @type {string[]} */ this.foreign = [];
    /** Break off this file after so many bytes, once. @type {{name: string, bytes: number} | null} */
    this.breaking = null;
    this.slowMs = 0;
    this.types = TYPES;
    this.ranges = true;
    /** @type {Set<import('node:net').Socket>} */ this.sockets = new Set();
  }

  async start() {
    this.http = http.createServer((request, response) => void this.#answer(request, response));
    this.http.on("connect", (request, socket) => {
      if (!BROWSERS_OWN.includes(String(request.url).split(":")[0])) this.foreign.push(String(request.url));
      socket.destroy();
    });
    this.http.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    await new Promise((resolve) => this.http?.listen(this.port ?? 0, "127.0.0.1", () => resolve(undefined)));
    this.port = /** @type {import('node:net').AddressInfo} */ (this.http.address()).port;
  }

  async stop() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.http?.close(resolve));
  }

  /** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
  async #answer(request, response) {
    const url = new URL(String(request.url), `http://127.0.0.1:${this.port}`);
    if (url.port !== String(this.port)) {
      this.foreign.push(url.href);
      return response.writeHead(502).end();
    }
    const name = decodeURIComponent(url.pathname).slice(1) || "index.html";
    const file = path.join(this.folder, name);
    this.log.push(request.headers.range ? `${name} ${request.headers.range}` : name);
    if (!fs.existsSync(file)) return response.writeHead(404).end("not here");
    const bytes = fs.readFileSync(file);
    const from = this.ranges ? Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0) : 0;
    const range = from ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
    const type = this.types[path.extname(file)] ?? "application/octet-stream";
    response.writeHead(from ? 206 : 200, { "content-type": type, "content-length": bytes.length - from, ...range });
    await this.#send(name, bytes, from, response);
  }

  /** @param {string} name @param {Buffer} bytes @param {number} from @param {http.ServerResponse} response */
  async #send(name, bytes, from, response) {
    for (let at = from; at < bytes.length && !response.destroyed; at += CHUNK) {
      if (this.breaking?.name === name && at >= this.breaking.bytes) {
        this.breaking = null;
        // What was written must leave first, or the browser sees nothing of it.
        await new Promise((resolve) => setTimeout(resolve, 500));
        return response.destroy();
      }
      await new Promise((resolve) => response.write(bytes.subarray(at, at + CHUNK), resolve));
      if (this.slowMs) await new Promise((resolve) => setTimeout(resolve, this.slowMs));
    }
    response.end();
  }
}
