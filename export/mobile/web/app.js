// @ts-check
/**
 * Starts the app: service worker, verified files, the worker with engine and guard; or says in a sentence why it cannot.
 *
 * It knows no model; what happens once all is open is conversation.js.
 */

import { about, details, line } from "./about.js";
import { Chat } from "./chat.js";
import { Conversation } from "./conversation.js";
import { LoadError, load } from "./loader.js";
/** @typedef {import('./worker.js').FromWorker} FromWorker */

const LOCK = `breakfix ${new URL("./", import.meta.url).href}`;
/** Set while a reload is tried that brings isolation, so that it is tried once. */
const RELOADED = `${LOCK} reloaded`;
const CONTROL_MS = 10_000;
/** More threads than this gain a small model nothing, and a phone's other cores are slow ones. */
const MOST_THREADS = 4;

/** @template {HTMLElement} T @param {string} id @param {new () => T} type @returns {T} */
function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new TypeError(`index.html has no ${id}`);
  return found;
}

const page = {
  app: byId("app", HTMLElement),
  name: byId("name", HTMLElement),
  line: byId("line", HTMLElement),
  card: byId("card", HTMLDetailsElement),
  details: byId("details", HTMLElement),
  status: byId("status", HTMLElement),
  progress: byId("progress", HTMLProgressElement),
  reload: byId("reload", HTMLButtonElement),
  restart: byId("restart", HTMLButtonElement),
  composer: byId("composer", HTMLFormElement),
  question: byId("question", HTMLTextAreaElement),
  send: byId("send", HTMLButtonElement),
};
const chat = new Chat(byId("log", HTMLElement), byId("announcer", HTMLElement));

/** Load, verify and open everything, or say why that cannot be. */
async function start() {
  try {
    await takeService();
    // One tab at a time: no file is fetched twice, and two models are not opened at the same moment.
    await alone(async () => {
      const loaded = await load(showProgress);
      if (loaded.updated) return location.reload();
      const threads = crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
      const facts = about(loaded, threads);
      page.status.textContent = "Opening the model…";
      page.progress.removeAttribute("value");
      const worker = await openWorker(loaded.data, threads);
      page.name.textContent = facts.name;
      page.line.textContent = line(facts);
      page.details.replaceChildren(...details(facts));
      new Conversation(worker, chat, page);
    });
  } catch (error) {
    refuse(error instanceof LoadError ? error.message : `The app could not be started (${error}); reload.`);
  }
}

/**
 * Have the service worker serve this page: offline, and cross-origin isolated, which takes one reload. Where a browser has no
 * service workers the app works online, on one thread.
 */
async function takeService() {
  try {
    const registration = await navigator.serviceWorker?.register(new URL("./sw.js", import.meta.url), { scope: "./" });
    if (registration) await controlled(registration);
    if (crossOriginIsolated) sessionStorage.removeItem(RELOADED);
    else if (navigator.serviceWorker?.controller && !sessionStorage.getItem(RELOADED)) {
      sessionStorage.setItem(RELOADED, "yes");
      location.reload();
      await new Promise(() => {});
    }
  } catch (error) {
    console.warn("no service worker:", error);
  }
}

/** @param {ServiceWorkerRegistration} registration */
async function controlled(registration) {
  const container = navigator.serviceWorker;
  if (container.controller) return;
  const taken = new Promise((resolve) => container.addEventListener("controllerchange", resolve, { once: true }));
  registration.active?.postMessage("claim");
  await Promise.race([taken, new Promise((resolve) => setTimeout(resolve, CONTROL_MS))]);
}

/** @param {() => Promise<void>} work */
const alone = (work) => (navigator.locks ? navigator.locks.request(LOCK, work) : work());

/** @param {number} done @param {number} all bytes */
function showProgress(done, all) {
  page.status.textContent = `Loading and verifying: ${Math.floor(done / 1e6)} of ${Math.ceil(all / 1e6)} MB`;
  page.progress.value = all ? done / all : 0;
}

/** @param {string} why */
function refuse(why) {
  page.app.dataset.state = "refused";
  page.status.setAttribute("role", "alert");
  page.status.textContent = why;
  page.reload.focus();
}

/**
 * Start the worker and hand it the files, which are gone from here then.
 * @param {Map<string, import('./loader.js').Bytes>} data @param {number} threads @returns {Promise<Worker>} Raises LoadError.
 */
function openWorker(data, threads) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "model" });
  return new Promise((resolve, reject) => {
    worker.onerror = () => reject(new LoadError("worker.js could not be started; reload, or export the bundle again."));
    worker.onmessage = (/** @type {MessageEvent<FromWorker>} */ { data: message }) => {
      if (message.type === "opened") resolve(worker);
      else if (message.type === "unopened") reject(new LoadError(message.why));
    };
    worker.postMessage(
      { type: "open", data, threads },
      [...data.values()].map((bytes) => bytes.buffer),
    );
  });
}

/** The card lies over the conversation: whoever goes on with that wants it gone. */
function closeCard() {
  page.card.open = false;
}

page.reload.addEventListener("click", () => location.reload());
page.composer.addEventListener("focusin", closeCard);
page.card.addEventListener("keydown", ({ key }) => key === "Escape" && closeCard());
start();
