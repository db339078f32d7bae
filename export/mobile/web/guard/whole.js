/**
 * Whether the files of a guard hold all that it decides by. A comparison with what is missing is false, and false lets a text
 * pass: so what is not there is found out before anything is judged.
 */

import { GuardError } from "./policy.js";

const NUMBERS = {
  guard: ["longest", "turns", "joined", "prompt"],
  stream: ["most_held", "most_checks", "context", "buffer"],
  classifier: ["window", "overlap", "prompt_share", "most_windows", "longest_word", "unread", "unknown", "least_log_odds", "own_heads"],
};
const TEMPERATURES = ["input", "output", "jailbreak"];
const ACTIONS = ["allow", "warn", "replace", "block"];
const PII_ACTIONS = ["allow", "warn", "redact", "block"];

/**
 * Throw GuardError unless all is there and of its kind.
 * @param {any} tables @param {import("./classifier.js").Calibration} calibration @param {import("./policy.js").Policy} policy
 */
export function assertWhole(tables, calibration, policy) {
  for (const [part, names] of Object.entries(NUMBERS)) {
    for (const name of names) must(Number.isFinite(tables[part]?.[name]), `tables.${part}.${name}`);
  }
  must(Array.isArray(tables.classifier.taught), "tables.classifier.taught");
  for (const name of TEMPERATURES) must(calibration.temperatures?.[name] > 0, `calibration.temperatures.${name}`);
  for (const rail of ["input", "output"]) must(calibration.thresholds?.[rail]?.[policy.level], `calibration.thresholds.${rail}`);
  must(policy.hard >= 0 && policy.hard <= 1, "policy.hard");
  for (const rule of Object.values(policy.categories)) must(ACTIONS.includes(rule.action), "policy.categories");
  must(PII_ACTIONS.includes(policy.pii?.input) && PII_ACTIONS.includes(policy.pii?.output), "policy.pii");
}

/** @param {unknown} holds @param {string} what */
function must(holds, what) {
  if (!holds) throw new GuardError(`the guard's ${what} is missing or no value of its kind; make the bundle again`);
}
