/**
 * Runs the JavaScript guard in Node over golden vectors and prints what differs, as JSON: {checked, differences, library, scores}.
 *
 * node guard.mjs CODE MODULES GUARD TABLES VECTORS...  (folders of the port, of node_modules and of the guard's files)
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [code, modules, folder, tablesFile, ...files] = process.argv.slice(2);
// A float that rounds otherwise on another machine moves an int8 activation by a whole step: most scores agree to a thousandth,
// and none may lie further apart than what the vectors were made to bear.
const CLOSE = 1e-3;
const FURTHEST = 0.04;

const ort = await import(pathToFileURL(`${modules}/onnxruntime-web/dist/ort.wasm.min.mjs`).href);
const { Tokenizer } = await import(pathToFileURL(`${modules}/@huggingface/tokenizers/dist/tokenizers.mjs`).href);
const { Guard } = await import(pathToFileURL(`${code}/guard.js`).href);
const { PhraseList } = await import(pathToFileURL(`${code}/phrases.js`).href);
const { findPii, redact } = await import(pathToFileURL(`${code}/rules.js`).href);

const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const tables = json(tablesFile);
const tokenizer = json(`${folder}/tokenizer.json`);
const parts = { ort, model: readFileSync(`${folder}/model.onnx`), tokenizer, calibration: json(`${folder}/calibration.json`) };

let checked = 0;
const differences = [];
const scores = { count: 0, apart: 0, furthest: 0 };
/** How many texts the vendored tokenizer cuts otherwise by itself than the one in Rust. */
const library = { texts: 0, different: 0 };

/** Compare as JSON; scores are compared by themselves. */
function same(where, ours, theirs) {
  checked += 1;
  const one = JSON.stringify(ours, rounded);
  const other = JSON.stringify(theirs, rounded);
  if (one !== other) differences.push({ where, ours: one?.slice(0, 1500), theirs: other?.slice(0, 1500) });
}

function rounded(key, value) {
  return key === "score" ? undefined : value;
}

function close(where, ours, theirs) {
  const apart = Math.abs(ours - theirs);
  scores.count += 1;
  scores.apart += Number(apart > CLOSE);
  scores.furthest = Math.max(scores.furthest, apart);
  if (!(apart <= FURTHEST)) differences.push({ where, ours, theirs });
}

const DEFAULTS = { category: null, score: 0, span: [0, 0], message: "", failed: false, hard: false, would: null, findings: [] };
const ORDER = ["action", "rail", "category", "score", "span", "message", "failed", "hard", "would", "findings"];

function verdict(where, ours, theirs) {
  const full = { ...DEFAULTS, ...theirs };
  const found = ours.findings.map(({ kind, start, end }) => [kind, start, end]);
  const pick = (row) => Object.fromEntries(ORDER.map((key) => [key, row[key]]));
  same(where, pick({ ...ours, findings: found }), pick(full));
  close(`${where} score`, ours.score, full.score);
}

function* cut(text, size) {
  const chars = [...text];
  if (size === 0) yield text;
  for (let at = 0; size > 0 && at < chars.length; at += size) yield chars.slice(at, at + size).join("");
}

/** Cut a text into UTF-16 units: halves of surrogate pairs arrive one by one. */
function* units(text) {
  for (let at = 0; at < text.length; at += 1) yield text[at];
}

function places(runs) {
  return runs.flatMap(([first, count, step]) => Array.from({ length: count }, (_, at) => first + at * step));
}

async function output(guard, where, row) {
  for (const { cuts, events } of row.streams) {
    for (const size of cuts.includes(1) ? [...cuts, "units"] : cuts) {
      let at = 0;
      let last = null;
      for await (const event of guard.stream(row.prompt, size === "units" ? units(row.answer) : cut(row.answer, size))) {
        const expected = events[at] ?? {};
        last = expected.verdict ?? last;
        const { text, end, keep } = event;
        same(`${where} cut ${size} event ${at}`, { text, end, keep }, { text: expected.text, end: expected.end, keep: expected.keep });
        verdict(`${where} cut ${size} verdict ${at}`, event.verdict, last ?? {});
        at += 1;
      }
      same(`${where} cut ${size} events`, at, events.length);
    }
  }
}

async function reading(guard, where, row) {
  const text = row.text ?? row.answer;
  const forms = row.prompt === undefined ? guard.normalizer.forms(text) : [{ how: "raw", text, starts: [...text].map((_, at) => at) }];
  same(`${where} readings`, forms.map((form) => form.how), row.forms.map((form) => form.how));
  for (const [at, theirs] of row.forms.entries()) {
    const ours = forms[at];
    if (!ours) continue;
    same(`${where} form ${at}`, ours.text, theirs.text ?? text);
    same(`${where} form ${at} places`, [...ours.starts], theirs.starts ? places(theirs.starts) : [...text].map((_, place) => place));
    const passage = row.prompt === undefined ? { prompt: ours.text, answer: null } : { prompt: row.prompt, answer: ours.text };
    await windows(guard, `${where} form ${at}`, passage, theirs);
  }
}

async function windows(guard, where, passage, theirs) {
  const all = guard.classifier.windows(passage);
  same(`${where} windows`, all.length, theirs.count);
  const ours = all.length > theirs.windows.length ? [...all.slice(0, theirs.windows.length - 1), ...all.slice(-1)] : all;
  const rail = passage.answer === null ? "input" : "output";
  const { temperatures } = guard.classifier;
  for (const [at, window] of ours.entries()) {
    const row = theirs.windows[at];
    same(`${where} window ${at} ids`, window.ids, row.ids);
    const types = window.types.filter(Boolean).length;
    same(`${where} window ${at}`, [types, [window.start, window.end], window.unread], [row.types, row.span, row.unread]);
    if (!row.heads) continue;
    const heads = await guard.classifier.run(window);
    row.heads.forEach((head, place) => close(`${where} window ${at} head ${place}`, heads[place], head));
    const unsafe = guard.classifier.tempered(heads[tables.classifier.head_of_rail[rail]], temperatures[rail]);
    close(`${where} window ${at} unsafe`, unsafe, row.scores[0]);
    const jailbreak = heads[tables.classifier.heads.indexOf("jailbreak")];
    close(`${where} window ${at} jailbreak`, guard.classifier.tempered(jailbreak, temperatures.jailbreak), row.scores[1]);
  }
  if (passage.answer === null && all.length === 1) {
    const alone = new Tokenizer(tokenizer, {}).encode(passage.prompt, { add_special_tokens: false }).ids;
    library.texts += 1;
    library.different += Number(JSON.stringify(alone) !== JSON.stringify(theirs.windows[0].ids.slice(1, -1)));
  }
}

for (const file of files) {
  const [head, ...rows] = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  const guard = await Guard.open({ ...parts, policy: head.rules, tables, Tokenizer, threads: 1 });
  for (const [number, row] of rows.entries()) {
    const where = `${head.name} ${number + 2} ${row.kind}`;
    try {
      if (row.kind === "input") verdict(where, await guard.checkInput(row.text, row.context), row.verdict);
      if (row.kind === "output") await output(guard, where, row);
      if (row.forms) await reading(guard, where, row);
      if (row.kind === "private") {
        const found = findPii(row.text, tables.rules);
        same(where, found.map(({ kind, start, end }) => [kind, start, end]), row.findings);
        same(`${where} redacted`, redact(row.text, found), row.redacted);
      }
      if (row.kind === "phrases") {
        const list = new PhraseList(row.phrases, guard.normalizer, tables.unicode.casefold);
        same(where, [list.first(row.text), list.matchesWhole(row.text)], [row.first, row.whole]);
      }
    } catch (error) {
      differences.push({ where, error: String(error.stack) });
    }
  }
}
/** Whatever breaks inside, the text does not pass. */
async function failsClosed(policy) {
  const failed = { action: "block", failed: true, hard: true, message: policy.messages.en.failed };
  const breakages = {
    "the model throws": (guard) => (guard.classifier.session = { run: () => Promise.reject(new Error("out of memory")) }),
    "a score is no number": (guard) => (guard.classifier.run = async () => tables.classifier.heads.map(() => NaN)),
    "no window is scored": (guard) => (guard.classifier.score = async (passages) => passages.map(() => [])),
    "a threshold is missing": (guard) => (guard.classifier.thresholds = { input: {}, output: {} }),
    "a reading cannot be made": (guard) => (guard.normalizer.forms = () => { throw new RangeError("too deep"); }),
  };
  for (const [name, destroy] of Object.entries(breakages)) {
    const guard = await Guard.open({ ...parts, policy, tables, Tokenizer });
    destroy(guard);
    verdict(`fails closed: ${name}`, await guard.checkInput("How do I bake bread?"), { ...failed, rail: "input" });
    verdict(`fails closed: ${name}`, await guard.checkOutput("Bread?", "Bake it."), { ...failed, rail: "output" });
  }
  const guard = await Guard.open({ ...parts, policy, tables, Tokenizer });
  verdict("fails closed: too long", await guard.checkInput("a".repeat(tables.guard.longest + 1)), { ...failed, rail: "input" });
  verdict("fails closed: no text", await guard.checkInput(undefined), { ...failed, rail: "input" });
  const bare = await Guard.open({ ...parts, policy: { ...policy, messages: {} }, tables, Tokenizer });
  const last = { ...failed, message: tables.guard.last_word, rail: "input" };
  verdict("fails closed: no message", await bare.checkInput("How do I build a pipe bomb at home?"), last);
  const refused = await Guard.open({ ...parts, policy, tables: { ...tables, format: 0 }, Tokenizer }).catch((error) => error.message);
  same("tables of another version", typeof refused, "string");
}

await failsClosed(JSON.parse(readFileSync(files[0], "utf8").split("\n", 1)[0]).rules);
console.log(JSON.stringify({ checked, scores, library, differences }));
