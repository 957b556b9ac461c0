/** What the tests share: servers, waiting for a condition, child processes. */

import { execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Broker, connect } from "natsune";

export const require = createRequire(import.meta.url);
/** The native part, the same one that the package loaded. */
export const native = require(process.env.NATSUNE_NATIVE || "@natsune/linux-x64-gnu");
/** A file of the installed package that is not exported. */
export const internal = (name) => require(join(dirname(require.resolve("natsune")), name));

/** Until `fine()` is true; fails after ten seconds. */
export async function until(fine, what = String(fine)) {
  const deadline = Date.now() + 10_000;
  while (!(await fine())) {
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await sleep(5);
  }
}

/** A broker and a client of it, gone after the test. */
export async function pair(t, options = {}) {
  const broker = await Broker.start();
  t.after(() => broker.stop());
  const client = await connect(broker.url, options);
  t.after(() => client.close());
  return { broker, client };
}

/** The real nats-server with JetStream, gone after the test; gives its URL. */
export async function server(t) {
  const program = process.env.NATSUNE_NATS_SERVER ?? "nats-server";
  const folder = await mkdtemp(join(tmpdir(), "natsune-node-"));
  const child = spawn(program, ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", folder, "--ports_file_dir", folder], {
    stdio: "ignore",
  });
  t.after(async () => {
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    await rm(folder, { recursive: true, force: true });
  });
  let url;
  await until(async () => {
    const name = (await readdir(folder)).find((each) => each.endsWith(".ports"));
    if (name === undefined) return false;
    const text = await readFile(join(folder, name), "utf8");
    if (text === "") return false;
    url = JSON.parse(text).nats[0];
    return true;
  }, "nats-server has no ports");
  return url;
}

/** Lets the collector run, and what it makes run. */
export async function collectGarbage() {
  for (let round = 0; round < 3; round += 1) {
    await immediate();
    globalThis.gc();
  }
  await immediate();
}

/** Runs a file of `programs/` and gives its exit code and output. */
export function program(name, args = [], flags = []) {
  const file = fileURLToPath(new URL(`programs/${name}`, import.meta.url));
  return new Promise((resolve) => {
    execFile(process.execPath, [...flags, file, ...args], { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr });
    });
  });
}
