/**
 * Runs the JavaScript engine in Node over a bundle's model folder and prints what it said, as JSON.
 *
 * node engine.mjs CODE MODULES MODEL ASKED  (folders of the engine, of node_modules and of the model; a JSON file)
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [code, modules, folder, asked] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(path).href);
const ort = await load(`${modules}/onnxruntime-web/dist/ort.wasm.min.mjs`);
const { Tokenizer } = await load(`${modules}/@huggingface/tokenizers/dist/tokenizers.mjs`);
const { Template } = await load(`${modules}/@huggingface/jinja/dist/index.js`);
const { Engine, sampler } = await load(`${code}/engine.js`);

const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const { conversation, goesOn, prompts, count } = json(asked);
const file = (name) => readFileSync(`${folder}/${name}`);
const engine = await Engine.open({
  ort, Tokenizer, Template, threads: 1,
  model: file("model.onnx"), external: { "model.onnx.data": file("model.onnx.data") },
  config: json(`${folder}/genai_config.json`), tokenizer: json(`${folder}/tokenizer.json`),
  tokenizerConfig: json(`${folder}/tokenizer_config.json`), chatTemplate: String(file("chat_template.jinja")),
});

async function said(messages, sampling = {}) {
  const pieces = [];
  for await (const piece of engine.generate(messages, { maxTokens: count, ...sampling })) pieces.push(piece);
  return { text: pieces.join(""), pieces, ...engine.stats };
}

const fresh = async (messages, sampling) => {
  engine.cache.keep([]);
  return said(messages, sampling);
};

/** Stop behind the second piece. */
async function stopped() {
  const stop = new AbortController();
  const pieces = [];
  for await (const piece of engine.generate(conversation, { signal: stop.signal })) if (pieces.push(piece) === 2) stop.abort();
  return pieces.length;
}

const drawn = (seed) => {
  const draw = sampler(1, 0.7, seed);
  return Array.from({ length: 400 }, () => draw(Float32Array.of(Math.log(0.5), Math.log(0.25), Math.log(0.15), Math.log(0.1))));
};

const out = { ids: engine.encode(conversation), tokens: [] };
for (const prompt of prompts) out.tokens.push(await engine.greedy(prompt, count));
out.cold = await fresh(goesOn);
out.first = await fresh(conversation);
out.warm = await said(goesOn);
out.again = await said(conversation);
out.sampled = [];
for (const seed of [3, 3, 4]) out.sampled.push((await said(conversation, { temperature: 1.5, seed })).text);
out.stopped = await stopped();
out.afterStop = await said(conversation);
out.drawn = [drawn(1), drawn(1), drawn(2)];
out.tooLong = await said([{ role: "user", content: "a".repeat(1000) }]).catch((error) => `${error.name}: ${error.message}`);
const stream = engine.template.decodeStream();
out.characters = [...engine.encode([{ role: "user", content: "né 😀 好" }]), null].map((id) => stream(id));
console.log(JSON.stringify(out));
process.exit(0);
