import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "natsune";

import { collectGarbage, native, pair, until } from "./helpers.mjs";

function warnings(t) {
  const seen = [];
  const listener = (warning) => seen.push(warning);
  process.on("warning", listener);
  t.after(() => process.off("warning", listener));
  return seen;
}

test("a forgotten subscription is unsubscribed, with a warning", async (t) => {
  const { client } = await pair(t);
  const seen = warnings(t);
  const before = client.stats().subscriptions;
  await (async () => {
    await client.subscribe("forgotten.one");
  })();
  await until(async () => {
    await collectGarbage();
    return client.stats().subscriptions === before && seen.length > 0;
  });
  assert.match(seen[0].message, /forgotten\.one/);
  assert.equal(seen[0].name, "NatsuneWarning");
});

test("what was closed, or ended, or went with its client, is forgotten in silence", async (t) => {
  const { broker, client } = await pair(t);
  const seen = warnings(t);
  const handles = native.openHandles();
  await (async () => {
    await (await client.subscribe("a")).unsubscribe();
    await (await client.subscribe("b"))[Symbol.asyncDispose]();
    const ended = await client.subscribe("c", { maxMessages: 1 });
    client.publish("c", "x");
    for await (const _ of ended);
    const other = await connect(broker.url);
    await other.subscribe("d");
    await other.close();
  })();
  await until(async () => {
    await collectGarbage();
    return native.openHandles() === handles;
  });
  assert.deepEqual(seen, []);
});

test("a forgotten client goes away", async (t) => {
  const { broker, client } = await pair(t);
  const handles = native.openHandles();
  const gone = await (async () => {
    const other = await connect(broker.url);
    await other.subscribe("presence");
    return new WeakRef(other);
  })();
  await until(async () => {
    await collectGarbage();
    return gone.deref() === undefined && native.openHandles() === handles;
  });
  await until(async () => (await client.request("presence").catch((error) => error.code)) === "no_responders");
});

test("messages outlive their subscription, a waiting loop is not forgotten", async (t) => {
  const { client } = await pair(t);
  const seen = [];
  const kept = await (async () => {
    const sub = await client.subscribe("a");
    client.publish("a", "kept", { reply: "b" });
    const message = await sub.next();
    await sub[Symbol.asyncDispose]();
    return message;
  })();
  void (async () => {
    for await (const message of await client.subscribe("b")) seen.push(message.text());
  })();
  await client.flush();
  await collectGarbage();
  assert.equal(kept.text(), "kept");
  await until(async () => {
    kept.respond("back");
    await client.flush();
    await collectGarbage();
    return seen.length >= 3;
  });
});
