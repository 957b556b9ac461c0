import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, NatsError } from "natsune";

import { native, pair, until } from "./helpers.mjs";

/** Aborts soon, with a reason of its own. */
function soon(after = 10) {
  const controller = new AbortController();
  const reason = { because: "I said so" };
  setTimeout(() => controller.abort(reason), after);
  return { signal: controller.signal, reason };
}

const rejectsWith = async (promise, reason) => {
  const found = await promise.then(
    () => assert.fail("was not rejected"),
    (error) => error,
  );
  assert.equal(found, reason);
};

test("every wait rejects with the signal's own reason and leaves nothing behind", async (t) => {
  const { client } = await pair(t);
  const mute = await client.subscribe("mute");
  const before = native.openHandles();
  const waits = [
    (signal) => client.request("mute", "x", { timeout: 60_000, signal }),
    (signal) => mute.next({ signal }),
    (signal) => mute.next({ signal, timeout: 60_000 }),
    (signal) => mute.messages({ signal }).next(),
    (signal) => mute.batches(10, { signal }).next(),
    (signal) => client.closed({ signal }),
    (signal) => mute.closed({ signal }),
    (signal) => client.events({ signal }).next(),
  ];
  for (const wait of waits) {
    // The request's own message must not feed the waits for messages.
    while ((await mute.next({ timeout: 30 })) !== undefined);
    const { signal, reason } = soon();
    await rejectsWith(wait(signal), reason);
    const aborted = AbortSignal.abort(reason);
    await rejectsWith(wait(aborted), reason);
  }
  assert.equal(client.stats().requestsWaiting, 0);
  await until(() => {
    globalThis.gc();
    return native.openHandles() === before;
  }, "handles are left");
});

test("an aborted wait loses no message", async (t) => {
  const { client } = await pair(t);
  const sub = await client.subscribe("a");
  let seen = 0;
  let rounds = 0;
  const publishing = (async () => {
    for (let number = 0; number < 2000; number += 1) {
      client.publish("a", String(number));
      if (number % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  while (seen < 2000) {
    rounds += 1;
    const { signal, reason } = soon(1);
    try {
      for await (const message of sub.messages({ signal })) assert.equal(message.text(), String(seen++));
    } catch (error) {
      if (error !== reason) throw error;
    }
    assert.ok(rounds < 20_000);
  }
  await publishing;
  assert.equal(await sub.next({ timeout: 20 }), undefined);
});

test("a signal that is aborted afterwards changes nothing, and keeps no listener", async (t) => {
  const { client } = await pair(t);
  const sub = await client.subscribe("echo");
  void (async () => {
    for await (const message of sub) message.respond(message.view());
  })();
  const { getEventListeners } = await import("node:events");
  const controller = new AbortController();
  const replies = await Promise.all(
    Array.from({ length: 100 }, (_, at) => client.request("echo", String(at), { signal: controller.signal })),
  );
  assert.equal(getEventListeners(controller.signal, "abort").length, 0);
  controller.abort();
  assert.equal(replies.at(-1).text(), "99");
});

test("connecting is given up", async () => {
  const { createServer } = await import("node:net");
  // Accepts and says nothing.
  const sockets = new Set();
  const server = createServer((socket) => sockets.add(socket));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const before = native.openHandles();
  const { signal, reason } = soon(30);
  await rejectsWith(connect(`nats://127.0.0.1:${server.address().port}`, { signal, connectTimeout: 60_000 }), reason);
  assert.equal(native.openHandles(), before);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

test("an abort that comes with the answer leaves no handle", async (t) => {
  const { broker, client } = await pair(t);
  const before = native.openHandles();
  for (let round = 0; round < 50; round += 1) {
    const controller = new AbortController();
    const opening = client.subscribe("a", { signal: controller.signal });
    setImmediate(() => controller.abort());
    await opening.then((sub) => sub[Symbol.asyncDispose](), (error) => assert.equal(error, controller.signal.reason));
  }
  const other = new AbortController();
  const connecting = connect(broker.url, { signal: other.signal });
  setTimeout(() => other.abort(), 1);
  await connecting.then((made) => made.close(), (error) => assert.ok(!(error instanceof NatsError)));
  await until(() => {
    globalThis.gc();
    return native.openHandles() <= before + 1;
  });
});
