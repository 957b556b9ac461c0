import assert from "node:assert/strict";
import { test } from "node:test";

import { pair, until } from "./helpers.mjs";

async function filled(t, count, options) {
  const { client } = await pair(t);
  const sub = await client.subscribe("a", options);
  for (let number = 0; number < count; number += 1) client.publish("a", String(number));
  await client.flush();
  return { client, sub };
}

test("times longer than a timer and batches without a bound", async (t) => {
  const { client, sub } = await filled(t, 3);
  const warnings = [];
  const listener = (warning) => warnings.push(warning.name);
  process.on("warning", listener);
  t.after(() => process.off("warning", listener));
  for await (const batch of sub.batches(Infinity)) {
    assert.equal(batch.length, 3);
    break;
  }
  const late = sub.next({ timeout: 2 ** 40 });
  setTimeout(() => client.publish("a", "late"), 20);
  assert.equal((await late).text(), "late");
  assert.deepEqual(warnings, []);
});

test("leaving a loop loses nothing", async (t) => {
  const { sub } = await filled(t, 1000);
  const seen = [];
  while (seen.length < 1000) {
    for await (const message of sub) {
      seen.push(Number(message.text()));
      if (seen.length % 7 === 0) break;
      if (seen.length === 1000) break;
    }
  }
  assert.deepEqual(seen, Array.from({ length: 1000 }, (_, at) => at));
  assert.equal(sub.stats().pending, 0);
  assert.equal(sub.stats().delivered, 1000);
});

test("what waits in the batch counts as pending", async (t) => {
  const { sub } = await filled(t, 10);
  await sub.next();
  const { pending, delivered } = sub.stats();
  assert.deepEqual([pending, delivered], [9, 1]);
});

test("batches have at most as many as asked, and end", async (t) => {
  const { sub } = await filled(t, 1000);
  const drained = sub.drain();
  let count = 0;
  for await (const batch of sub.batches(64)) {
    assert.ok(batch.length > 0 && batch.length <= 64);
    for (const message of batch) assert.equal(message.text(), String(count++));
  }
  assert.equal(count, 1000);
  await drained;
  await sub.closed();
  assert.equal(await sub.next(), undefined);
});

test("iteration ends after so many messages", async (t) => {
  const { sub } = await filled(t, 20, { maxMessages: 5 });
  let count = 0;
  for await (const _ of sub) count += 1;
  assert.equal(count, 5);
});

test("next gives up after its time, and the message is not lost", async (t) => {
  const { client, sub } = await filled(t, 0);
  const begun = Date.now();
  assert.equal(await sub.next({ timeout: 30 }), undefined);
  assert.ok(Date.now() - begun >= 25);
  client.publish("a", "late");
  assert.equal((await sub.next({ timeout: 5000 })).text(), "late");
});

test("two loops share a subscription", async (t) => {
  const { sub } = await filled(t, 500);
  const seen = [];
  const loop = async () => {
    for await (const message of sub) {
      seen.push(Number(message.text()));
      await null;
    }
  };
  const loops = [loop(), loop(), loop()];
  await until(() => seen.length === 500);
  await sub.unsubscribe();
  await Promise.all(loops);
  assert.deepEqual(seen.sort((a, b) => a - b), Array.from({ length: 500 }, (_, at) => at));
});

test("a flood does not keep timers from running", async (t) => {
  const { client, sub } = await filled(t, 0);
  const payload = Buffer.alloc(64);
  let stop = false;
  let ticks = 0;
  const timer = setInterval(() => (ticks += 1), 1);
  const flood = async () => {
    while (!stop) {
      for (let count = 0; count < 200; count += 1) client.publish("a", payload);
      await client.waitWritable();
    }
  };
  const flooding = flood();
  let count = 0;
  for await (const _ of sub) if (++count === 30_000) break;
  stop = true;
  clearInterval(timer);
  await flooding;
  assert.ok(ticks >= 3, `only ${ticks} ticks`);
});

test("messages stay whole when much comes after them", async (t) => {
  const { client } = await pair(t);
  const sub = await client.subscribe("a");
  const kept = [];
  for (let number = 0; number < 3000; number += 1) {
    client.publish("a", String(number).padEnd(number % 500), { headers: { n: String(number) } });
    if (number % 10 === 9) for (let each = 0; each < 10; each += 1) kept.push(await sub.next());
  }
  kept.forEach((message, number) => {
    assert.equal(message.text().trim(), String(number));
    assert.equal(message.headers.get("n"), String(number));
    assert.equal(message.data.length, Math.max(String(number).length, number % 500));
  });
});

test("large messages", async (t) => {
  const { client } = await pair(t);
  const sub = await client.subscribe("a");
  const payload = Buffer.alloc(900_000, "x");
  client.publish("a", payload);
  client.publish("a", payload);
  for (let each = 0; each < 2; each += 1) {
    const { data } = await sub.next({ timeout: 5000 });
    assert.ok(payload.equals(data));
    assert.deepEqual([data.byteOffset, data.buffer.byteLength], [0, 900_000]);
  }
});

test("a disposed subscription ends a loop that waits", async (t) => {
  const { sub } = await filled(t, 0);
  const loop = (async () => {
    for await (const _ of sub);
  })();
  await new Promise((resolve) => setTimeout(resolve, 10));
  await sub[Symbol.asyncDispose]();
  await loop;
});
