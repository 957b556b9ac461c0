import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, JetStreamMessage, StoredMessage } from "natsune";

import { server, until } from "./helpers.mjs";

async function filled(t, count = 0) {
  const url = await server(t);
  const client = await connect(url);
  t.after(() => client.close());
  const js = client.jetstream();
  const stream = await js.createStream({ name: "S", subjects: ["s.>"], storage: "memory" });
  await Promise.all(Array.from({ length: count }, (_, at) => js.publish("s.a", String(at))));
  return { client, js, stream };
}

test("documents are in this language's words", async (t) => {
  const { js, stream } = await filled(t);
  const made = await js.createOrUpdateStream({
    name: "D",
    subjects: ["d_d.*"],
    maxAge: 90_000,
    duplicateWindow: 30_000,
    metadata: { my_own_key: "1" },
  });
  const { config, created, state } = made.cachedInfo;
  assert.deepEqual([config.maxAge, config.duplicateWindow, config.metadata.my_own_key], [90_000, 30_000, "1"]);
  assert.ok(created instanceof Date && Math.abs(created.getTime() - Date.now()) < 60_000);
  assert.equal(state.messages, 0);
  assert.equal("mirror" in config, false, "absent fields are not there");
  // What the server said goes back as it was.
  const again = await js.updateStream(config);
  assert.deepEqual(again.cachedInfo.config, config);
  const consumer = await stream.createConsumer({ durable: "c", ackWait: 1500, backoff: [1500, 2500], maxDeliver: 4 });
  assert.deepEqual([consumer.cachedInfo.config.ackWait, consumer.cachedInfo.config.backoff], [1500, [1500, 2500]]);
  assert.ok((await js.accountInfo()).limits !== undefined);
  await assert.rejects(js.stream("none").info(), (error) => {
    assert.deepEqual([error.code, error.detail.errCode], ["not_found", 10059]);
    return true;
  });
});

test("publish, with an id and expectations", async (t) => {
  const { js } = await filled(t);
  const first = await js.publish("s.a", "x", { id: "1" });
  assert.deepEqual(first, { stream: "S", sequence: 1, duplicate: false });
  assert.equal((await js.publish("s.a", "x", { id: "1" })).duplicate, true);
  await assert.rejects(js.publish("s.a", "x", { expectedLastSequence: 7, headers: { a: "b" } }), { code: "conflict" });
  await assert.rejects(js.publish("nowhere", "x"), { code: "no_responders" });
});

test("consume, settle, and where a message stands", async (t) => {
  const { stream } = await filled(t, 1000);
  const consumer = await stream.createConsumer({ durable: "c", ackPolicy: "explicit", ackWait: 60_000 });
  const consumption = await consumer.consume({ maxMessages: 100 });
  let count = 0;
  for await (const message of consumption) {
    assert.ok(message instanceof JetStreamMessage);
    const { metadata } = message;
    assert.deepEqual([metadata.stream, metadata.consumer, metadata.domain], ["S", "c", undefined]);
    assert.deepEqual([metadata.streamSequence, metadata.numDelivered], [count + 1, 1]);
    assert.equal(metadata.timestamp.getTime(), Number(metadata.timeNanos / 1_000_000n));
    message.ack();
    message.ack();
    assert.throws(() => message.nak(), { code: "invalid_argument" });
    count += 1;
    if (count === 1000) break;
  }
  assert.equal(await consumption.next(), undefined);
  await consumption.closed();
  // The server handles acks beside its API.
  await until(async () => (await consumer.info()).numAckPending === 0);
  assert.equal((await consumer.info()).numPending, 0);
});

test("leaving the loop of a consumption stops it, and release gives back what it had", async (t) => {
  const { stream } = await filled(t, 50);
  const consumer = await stream.createConsumer({ durable: "c", ackWait: 60_000 });
  const consumption = await consumer.consume();
  for await (const message of consumption.messages()) {
    await message.ackSync();
    break;
  }
  assert.equal(await consumption.next({ timeout: 10 }), undefined);
  const other = await stream.createConsumer({ durable: "d", ackWait: 60_000 });
  const released = await other.consume();
  const first = await released.next();
  first.ack();
  released.stop({ release: true });
  const again = await other.fetch(49, { timeout: 5000 });
  assert.equal(again.length, 49);
});

test("fetch and next: nothing is absence, an aborted fetch loses nothing", async (t) => {
  const { js, stream } = await filled(t);
  const consumer = await stream.createConsumer({ durable: "c", ackWait: 60_000 });
  assert.equal(await consumer.next({ timeout: 20 }), undefined);
  assert.deepEqual(await consumer.fetch(5, { timeout: 20 }), []);
  assert.deepEqual(await consumer.fetch(5, { noWait: true }), []);
  const controller = new AbortController();
  const fetching = consumer.fetch(10, { timeout: 60_000, signal: controller.signal });
  for (let number = 0; number < 5; number += 1) await js.publish("s.a", String(number));
  await new Promise((resolve) => setTimeout(resolve, 50));
  controller.abort("enough");
  await fetching.then(() => assert.fail("not aborted"), (error) => assert.equal(error, "enough"));
  const got = await consumer.fetch(5, { timeout: 5000 });
  assert.deepEqual(got.map((message) => message.text()), ["0", "1", "2", "3", "4"]);
  got[0].inProgress();
  got[0].term("no");
  got[1].nak(10);
  await got[2].ackSync({ timeout: 5000 });
  const redelivered = await consumer.next({ timeout: 5000 });
  assert.deepEqual([redelivered.text(), redelivered.metadata.numDelivered], ["1", 2]);
});

test("a stream is read in order to its end", async (t) => {
  const { stream } = await filled(t, 700);
  let count = 0;
  for await (const message of stream.read({ start: 11 })) {
    assert.ok(message instanceof StoredMessage);
    assert.deepEqual([message.stream, message.sequence], ["S", count + 11]);
    count += 1;
  }
  assert.equal(count, 690);
  for await (const message of stream.read()) if (message.sequence === 3) break;
  assert.equal((await stream.get(5)).sequence, 5);
  assert.equal((await stream.get({ lastFor: "s.a" })).sequence, 700);
  assert.equal((await stream.get({ nextFor: "s.*", sequence: 9 })).sequence, 9);
  await stream.deleteMessage(5);
  assert.equal(await stream.get(5), undefined);
  assert.equal(await stream.purge({ keep: 10 }), 689);
  await assert.rejects(stream.read({ signal: AbortSignal.abort("no") }).next(), (error) => error === "no");
});
