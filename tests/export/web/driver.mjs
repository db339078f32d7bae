// @ts-check
/**
 * Headless Chromium with the app open in it, and what a user does there. It judges nothing.
 *
 * CHROMIUM and NODE_MODULES (with playwright-core and axe-core) come from the environment.
 */

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";

const require = createRequire(path.join(String(process.env.NODE_MODULES), "of-the-tests.js"));
const { chromium } = require("playwright-core");
/** What the browser would ask hosts for on its own account; the rest is its driver's list, which this one replaces. */
const UNASKED = [
  ...["AutofillServerCommunication", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch"],
  ...["HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable", "MediaRouter", "PaintHolding", "DestroyProfileOnBrowserClose"],
];
const FLAGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  ...["--disable-component-update", "--disable-sync", "--disable-extensions", "--proxy-bypass-list=<-loopback>"],
  ...[`--disable-features=${UNASKED}`, "--gaia-url=http://127.0.0.1:1"],
];
const PHONE = { width: 390, height: 844 };
const READY_MS = 60_000;

/** @param {import('./server.mjs').Server} server also the proxy, so that it sees whatever the browser asks of any host */
export const launch = (server) =>
  chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: FLAGS,
    proxy: { server: `http://127.0.0.1:${server.port}` },
  });

/** What a scenario has in hand. */
export class Stage {
  /** @param {import('./server.mjs').Server} server @param {any} browser @param {string} out */
  constructor(server, browser, out) {
    this.server = server;
    this.browser = browser;
    this.out = out;
    /** @type {string[]} */ this.complaints = [];
  }

  /** Open a window of its own storage. @param {object} [options] of a browser context */
  async window(options = {}) {
    return this.browser.newContext({ viewport: PHONE, deviceScaleFactor: 2, ...options });
  }

  /** Open the app in a tab, without waiting for it. @param {any} window @param {string} [host] */
  async tab(window, host = "127.0.0.1") {
    const page = await window.newPage();
    page.on("pageerror", (/** @type {Error} */ error) => this.complaints.push(String(error)));
    page.on("console", (/** @type {any} */ line) => line.type() === "error" && this.complaints.push(line.text()));
    await page.goto(`http://${host}:${this.server.port}/`);
    return page;
  }

  /** Open the app and wait until it is ready or refuses. @param {object} [options] */
  async open(options) {
    return settled(await this.tab(await this.window(options)));
  }

  /** @param {any} page @param {string} name */
  async shot(page, name) {
    await page.screenshot({ path: path.join(this.out, `${name}.png`) });
  }

  /** Return the serious and critical faults that axe finds. @param {any} page @param {string} scheme */
  async faults(page, scheme) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.evaluate(fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
    const { violations } = await page.evaluate('axe.run(document, {resultTypes: ["violations"]})');
    const grave = violations.filter((/** @type {any} */ { impact }) => impact === "serious" || impact === "critical");
    return grave.map((/** @type {any} */ fault) => `${fault.id}: ${fault.nodes.map((/** @type {any} */ node) => node.html)}`);
  }
}

/** Wait until the app is ready or refuses. @param {any} page */
export async function settled(page) {
  await page.waitForFunction(() => /empty|refused/.test(String(document.getElementById("app")?.dataset.state)), null, {
    timeout: READY_MS,
  });
  return page;
}

/** Ask and wait for the end of the answer; return the texts of the last one. @param {any} page @param {string} question */
export async function ask(page, question) {
  const refused = await page.locator("#app[data-state=refused] #status").allTextContents();
  if (refused.length) throw new Error(`the app refuses to start: ${refused}`);
  const answers = await page.locator(".answer").count();
  await page.fill("#question", question);
  await page.press("#question", "Enter");
  await page.locator(".answer").nth(answers).waitFor();
  return ended(page);
}

/** @param {any} page */
export async function ended(page) {
  await page.waitForSelector("#app[data-state=idle]");
  return last(page);
}

/** @param {any} page */
export const last = (page) =>
  page.evaluate(() => {
    const turn = [...document.querySelectorAll(".answer")].at(-1);
    const found = (/** @type {string} */ part) => /** @type {HTMLElement | null | undefined} */ (turn?.querySelector(part));
    const parts = ["text", "note h3", "note .reason", "note .message", "remark", "again"];
    return Object.fromEntries(parts.map((part) => [part.split(/[ .]+/).at(-1), found(`.${part}`)?.innerText ?? null]));
  });
