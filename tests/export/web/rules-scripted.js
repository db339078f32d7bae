// @ts-check
/** The one thing of guard/rules.js that a session needs, for bundles whose guard is scripted. */

/**
 * Replace each finding by its kind in brackets.
 * @param {string} text @param {{kind: string, start: number, end: number}[]} findings
 */
export const redact = (text, findings) =>
  findings.reduceRight((left, { kind, start, end }) => `${left.slice(0, start)}[${kind}]${left.slice(end)}`, text);
