// @ts-check
/**
 * Plays one scenario (scenarios.mjs) and prints what was seen as JSON; the tests judge it.
 *
 *     node play.mjs SCENARIO BUNDLE OUT
 *
 * Screenshots go to OUT. Always part of what was seen: what the page complained of, what the server was asked, and what the
 * browser asked of any other host.
 */

import process from "node:process";
import { Stage, launch } from "./driver.mjs";
import { scenarios } from "./scenarios.mjs";
import { Server } from "./server.mjs";

const [name, bundle, out] = process.argv.slice(2);
const server = new Server(bundle);
await server.start();
const browser = await launch(server);
try {
  const stage = new Stage(server, browser, out);
  const seen = await scenarios[name](stage);
  console.log(JSON.stringify({ ...seen, complaints: stage.complaints, foreign: server.foreign, log: server.log }));
} finally {
  await browser.close();
  await server.stop();
}
