import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import { native, pair, program, until } from "./helpers.mjs";

test("a process ends by itself after close", async () => {
  const { code, stdout, stderr } = await program("leaves.mjs");
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: "x\n", stderr: "" });
});

test("an open client keeps a process alive, also at a top-level await", async (t) => {
  const { broker, client } = await pair(t);
  const file = fileURLToPath(new URL("programs/stays.mjs", import.meta.url));
  const child = spawn(process.execPath, [file, broker.url], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (data) => (output += data));
  await until(() => output === "ready\n");
  // Long enough for a process that nothing keeps alive to end.
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(child.exitCode, null);
  client.publish("go", "on");
  const [code] = await once(child, "exit");
  assert.deepEqual([code, output], [0, "ready\non\n"]);
});

test("unref lets it end", async () => {
  const { code, stdout, stderr } = await program("unreferenced.mjs");
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: "end\n", stderr: "" });
});

test("a client that closed by itself lets it end", async () => {
  const { code, stdout } = await program("closed.mjs");
  assert.equal(code, 0);
  assert.match(stdout, /^(connection|closed)\n$|^$/);
});

test("exit with everything open", async () => {
  const { code, stdout, stderr } = await program("open.mjs");
  assert.deepEqual({ code, stdout, stderr }, { code: 7, stdout: "exiting\n", stderr: "" });
});

test("an error that nobody catches says what it is", async () => {
  const { code, stderr } = await program("refused.mjs");
  assert.equal(code, 1);
  assert.match(stderr, /NatsError/);
  assert.match(stderr, /code: 'connection'/);
  assert.match(stderr, /refused\.mjs/);
});

async function worker(url, subject) {
  const file = new URL("programs/worker.mjs", import.meta.url);
  const made = new Worker(file, { workerData: { url, subject } });
  const errors = [];
  made.on("error", (error) => errors.push(error));
  const [said] = await once(made, "message");
  assert.equal(said, "ready");
  return { made, errors };
}

test("workers have clients of their own, and end by themselves", async (t) => {
  const { broker, client } = await pair(t);
  await client.subscribe("mute");
  const workers = await Promise.all(["w.1", "w.2", "w.3"].map((subject) => worker(broker.url, subject)));
  for (const [at, { made }] of workers.entries()) {
    client.publish(`w.${at + 1}`, `hello ${at}`);
    assert.deepEqual(await once(made, "message"), [`hello ${at}`]);
    client.publish(`w.${at + 1}`, "leave");
    await once(made, "exit");
  }
  assert.deepEqual(workers.flatMap(({ errors }) => errors), []);
});

test("a worker that is terminated leaves nothing behind", async (t) => {
  const { broker, client } = await pair(t);
  const mute = await client.subscribe("mute");
  const handles = native.openHandles();
  for (let round = 0; round < 5; round += 1) {
    const { made, errors } = await worker(broker.url, "w");
    assert.ok(native.openHandles() > handles);
    // A flood of wake-ups while it goes.
    for (let number = 0; number < 500; number += 1) client.publish("w", "x");
    await client.flush();
    await made.terminate();
    assert.equal(native.openHandles(), handles);
    assert.deepEqual(errors, []);
  }
  client.publish("mute", "still here");
  for (;;) {
    const message = await mute.next({ timeout: 5000 });
    if (message.text() === "still here") break;
  }
});
