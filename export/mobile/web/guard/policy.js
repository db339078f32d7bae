/**
 * The policy: what to do about each category on each rail, what to tell the user; and the verdict it comes to.
 *
 * A policy is plain data, checked where the bundle was made. What a policy made by hand lacks is found when it is needed, and
 * then the guard refuses.
 */

/** @typedef {"input" | "output"} Rail */
/** @typedef {"allow" | "warn" | "redact" | "replace" | "block"} Action */
/** @typedef {{kind: string, start: number, end: number}} Finding */
/**
 * What the guard decided about one text.
 * @typedef {object} Verdict
 * @property {Action} action allow; warn: it passes, and the caller is told; redact: it passes without `findings`;
 *   replace or block: it does not.
 * @property {Rail} rail Which side was checked: the user's input or the model's output.
 * @property {string | null} category S1 to S13, jailbreak, blocklist, pii or unread; null when allowed, or when the guard failed.
 * @property {number} score The probability behind the decision, 0 to 1.
 * @property {[number, number]} span The characters (code points) of the text, as given, that this score was given to.
 * @property {string} message What the user reads instead of the text, when it does not pass.
 * @property {boolean} failed True when the guard could not judge and therefore blocked.
 * @property {boolean} hard True when the score reached the hard threshold, at which a stream stops at once.
 * @property {number} milliseconds How long the check took; of an answer, all its checks together.
 * @property {Action | null} would In shadow mode what the action would have been, if not allow.
 * @property {Finding[]} findings Personal data in the text, kind and place, where the policy asks for them.
 */
/** @typedef {{action: Action, input: number | null, output: number | null, message: string}} CategoryPolicy */
/**
 * @typedef {object} Policy
 * @property {string} level
 * @property {number} hard
 * @property {boolean} shadow
 * @property {string} language
 * @property {{input: Action, output: Action, message: string}} pii
 * @property {string[]} allow
 * @property {string[]} block
 * @property {Record<string, CategoryPolicy>} categories
 * @property {Record<string, Record<string, string>>} messages
 */

export const JAILBREAK = "jailbreak";
export const BLOCKLIST = "blocklist";
export const PII = "pii";
export const UNREAD = "unread";
const FALLBACK_LANGUAGE = "en";
const RANK = { allow: 0, warn: 1, redact: 2, replace: 3, block: 3 };

/** The guard could not judge. */
export class GuardError extends Error {}

/** The text is in a script that the guard cannot read: no failure of its own. */
export class UnreadableText extends GuardError {}

/**
 * Return a verdict, what is not given as it is when nothing was found.
 * @param {Action} action
 * @param {Rail} rail
 * @param {Partial<Verdict>} [more]
 * @returns {Verdict}
 */
export function verdict(action, rail, more = {}) {
  return {
    action, rail, category: null, score: 0, span: [0, 0], message: "", failed: false, hard: false, milliseconds: 0, would: null,
    findings: [], ...more,
  };
}

/**
 * Tell whether the text must not pass.
 * @param {Verdict} seen
 */
export function isBlocked(seen) {
  return seen.action === "block" || seen.action === "replace";
}

/**
 * Return the verdict that counts among several, the first of equals; throws where there is none, for nobody has judged.
 * @param {Verdict[]} verdicts
 */
export function worst(verdicts) {
  if (verdicts.length === 0) throw new GuardError("nobody has judged the text");
  return verdicts.reduce((most, next) => (compare(next, most) > 0 ? next : most));
}

/**
 * @param {Verdict} one
 * @param {Verdict} other
 */
function compare(one, other) {
  return (
    RANK[one.action] - RANK[other.action] ||
    Number(one.failed) - Number(other.failed) ||
    Number(one.hard) - Number(other.hard) ||
    one.score - other.score
  );
}

/**
 * Return what to do about a category. A framing alone harms nobody: what it asks for is judged by itself.
 * @param {Policy} policy
 * @param {string} category
 * @returns {CategoryPolicy}
 */
export function ruleOf(policy, category) {
  if (Object.hasOwn(policy.categories, category)) return policy.categories[category];
  return { action: category === JAILBREAK ? "warn" : "block", input: null, output: null, message: "blocked" };
}

/**
 * Return a message in the policy's language, or in English; throws where there is neither.
 * @param {Policy} policy
 * @param {string} name
 */
export function say(policy, name) {
  const said = policy.messages[policy.language]?.[name] || policy.messages[FALLBACK_LANGUAGE][name];
  if (typeof said !== "string") throw new GuardError(`the policy has no message ${name}`);
  return said;
}
