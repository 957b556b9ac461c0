import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";

import * as esm from "natsune";

import { program, require } from "./helpers.mjs";

test("both module systems give the same objects", () => {
  const cjs = require("natsune");
  const names = Object.keys(cjs).sort();
  assert.deepEqual(Object.keys(esm).sort(), names);
  for (const name of names) assert.equal(esm[name], cjs[name], name);
  assert.equal(cjs.version, require("natsune/package.json").version);
});

function run(before, code) {
  const options = { env: { ...process.env, NATSUNE_NATIVE: "" }, cwd: import.meta.dirname };
  return new Promise((resolve) => {
    const flags = ["--import", `data:text/javascript,${encodeURIComponent(before)}`, "--eval", code];
    execFile(process.execPath, flags, options, (_, stdout, stderr) => resolve(stdout + stderr));
  });
}

test("where there is no native part, the import says where there is one", async () => {
  const said = await run("Object.defineProperty(process, 'arch', { value: 'riscv64' })", "require('natsune')");
  assert.match(said, /natsune has no native part for linux-riscv64; there is one for: linux-x64 \(with glibc\)/);
});

test("an installation without the native part says what to do", async () => {
  const before = `import module from "node:module"; const load = module._load;
    module._load = (name, ...rest) => {
      if (name.startsWith("@natsune/")) throw Object.assign(new Error("Cannot find module"), { code: "MODULE_NOT_FOUND" });
      return load(name, ...rest);
    };`;
  const said = await run(before, "require('natsune')");
  assert.match(said, /natsune cannot load its native part, the package @natsune\/linux-x64-gnu/);
  assert.match(said, /--omit=optional/);
});

test("the native part is loaded once, whichever way it is imported", async () => {
  const said = await run("", "const { connect } = require('natsune'); import('natsune').then((m) => console.log(m.connect === connect))");
  assert.equal(said, "true\n");
});

test("in a context of its own, as test runners make them, failures are still ours", async (t) => {
  const { Buffer, process, performance, setTimeout, clearTimeout, setInterval, setImmediate, AbortSignal, DOMException } = globalThis;
  const names = { Buffer, process, performance, setTimeout, clearTimeout, setInterval, setImmediate, AbortSignal, DOMException };
  const context = createContext(names);
  const loaded = new Map();
  const load = (file) => {
    if (loaded.has(file)) return loaded.get(file).exports;
    const module = { exports: {} };
    loaded.set(file, module);
    const outer = createRequire(file);
    const inner = (name) => (name.startsWith("./") ? load(outer.resolve(name)) : outer(name));
    const source = `(function (exports, require, module, __filename) {${readFileSync(file, "utf8")}\n})`;
    runInContext(source, context, { filename: file })(module.exports, inner, module, file);
    return module.exports;
  };
  const { Broker, connect, NatsError } = load(require.resolve("natsune"));
  assert.notEqual(NatsError, esm.NatsError);
  const broker = await Broker.start();
  t.after(() => broker.stop());
  const client = await connect(broker.url);
  t.after(() => client.close());
  const error = await client.request("nobody").catch((error) => error);
  assert.ok(error instanceof NatsError);
  assert.deepEqual([error.code, error.detail.status], ["no_responders", 503]);
  assert.throws(() => client.publish("a b"), { code: "invalid_argument" });
  assert.throws(() => client.publish(1), { code: "invalid_argument" });
});

test("the example of the README runs", async (t) => {
  const readme = await readFile(require.resolve("natsune/package.json").replace("package.json", "README.md"), "utf8");
  const [, example] = /```js\n(.*?)```/s.exec(readme);
  const file = new URL("programs/readme.mjs", import.meta.url);
  await writeFile(file, example);
  t.after(() => rm(file));
  assert.deepEqual(await program("readme.mjs"), { code: 0, stdout: "greet.joe hello 1\n{ id: 1 } 1\n", stderr: "" });
});

test("what is published is what is needed", async () => {
  const manifest = JSON.parse(await readFile(require.resolve("natsune/package.json"), "utf8"));
  assert.deepEqual(manifest.optionalDependencies, { "@natsune/linux-x64-gnu": manifest.version });
  assert.equal(manifest.devDependencies, undefined);
  assert.equal(manifest.scripts, undefined, "nothing runs at installation");
  assert.equal(manifest.dependencies, undefined);
});
