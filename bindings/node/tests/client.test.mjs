import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";

import { Broker, connect, Credentials, Headers, NatsError } from "natsune";

import { native, pair } from "./helpers.mjs";

test("payloads, headers and reply subjects arrive as they were given", async (t) => {
  const { client } = await pair(t);
  const sub = await client.subscribe("in.>");
  const long = "ü".repeat(3000);
  const slice = new Uint8Array([9, 1, 2, 9]).subarray(1, 3);
  assert.equal(client.publish("in.text", "grün"), true);
  client.publish(`in.${"long.".repeat(100)}x`, long);
  client.publish("in.bytes", slice);
  client.publish("in.none");
  client.publish("in.full", "x", { reply: "back", headers: [["A", "1"], ["a", "2"], ["A", "ü"]] });
  client.publish("in.record", Buffer.from("y"), { headers: { one: "1", many: ["2", "3"] } });
  client.publish("in.copy", "", { headers: new Headers({ x: "" }) });

  const next = () => sub.next({ timeout: 5000 });
  assert.equal((await next()).text(), "grün");
  const second = await next();
  assert.equal(second.text(), long);
  assert.equal(second.subject.length, 3 + 500 + 1);
  const bytes = await next();
  assert.deepEqual([...bytes.data], [1, 2]);
  assert.deepEqual([bytes.data.byteOffset, bytes.data.buffer.byteLength], [0, 2]);
  assert.deepEqual([...bytes.view()], [1, 2]);
  assert.equal(bytes.length, 2);
  const none = await next();
  assert.deepEqual([none.length, none.text(), none.reply, none.status, none.headers.size], [0, "", undefined, undefined, 0]);
  const full = await next();
  assert.equal(full.reply, "back");
  assert.deepEqual([...full.headers], [["A", "1"], ["a", "2"], ["A", "ü"]]);
  assert.deepEqual([full.headers.get("A"), full.headers.values("A"), full.headers.has("b")], ["1", ["1", "ü"], false]);
  assert.deepEqual([...(await next()).headers], [["one", "1"], ["many", "2"], ["many", "3"]]);
  assert.equal((await next()).headers.get("x"), "");
});

test("headers can be changed", () => {
  const headers = new Headers([["a", "1"]]);
  headers.append("a", "2");
  headers.set("b", "3");
  headers.set("a", "4");
  assert.deepEqual([...headers], [["b", "3"], ["a", "4"]]);
  headers.delete("b");
  assert.equal(JSON.stringify(headers), '[["a","4"]]');
  assert.match(inspect(headers), /'a', '4'/);
});

test("requests, answers, and nobody there", async (t) => {
  const { client } = await pair(t);
  const sub = await client.subscribe("double");
  const serving = (async () => {
    for await (const message of sub) {
      message.respond(JSON.stringify({ twice: message.json().value * 2 }), { headers: { done: "yes" } });
    }
  })();
  const replies = await Promise.all(
    Array.from({ length: 50 }, (_, value) => client.request("double", JSON.stringify({ value }))),
  );
  assert.deepEqual(replies.map((reply) => reply.json().twice), Array.from({ length: 50 }, (_, value) => value * 2));
  assert.equal(replies[0].headers.get("done"), "yes");
  const error = await client.request("nobody").catch((error) => error);
  assert.ok(error instanceof NatsError && error instanceof Error);
  assert.deepEqual([error.name, error.code, error.applied], ["NatsError", "no_responders", "no"]);
  assert.match(error.stack, /client\.test\.mjs/, "the stack is the caller's");
  await sub.unsubscribe();
  await serving;
  await client.subscribe("mute");
  const late = client.request("mute", "x", { timeout: 20, headers: { a: "b" } });
  await assert.rejects(late, { code: "timeout", retryable: true, applied: "maybe" });
});

test("what cannot work is invalid_argument and names the field", async (t) => {
  const { client } = await pair(t);
  const invalid = (field) => (error) => {
    assert.equal(error.code, "invalid_argument", inspect(error));
    assert.equal(error.detail.field, field);
    return true;
  };
  assert.throws(() => client.publish("a b", "x"), { code: "invalid_argument" });
  assert.throws(() => client.publish(1, "x"), invalid(undefined));
  assert.throws(() => client.publish("a", 1), invalid(undefined));
  assert.throws(() => client.publish("a", {}, { reply: "b" }), invalid(undefined));
  assert.throws(() => client.publish("a", "x", { headers: { "a b": "c" } }), invalid("headers"));
  assert.throws(() => client.publish("a", "x", { headers: { a: 1 } }), invalid("headers"));
  for (const headers of [null, "abc", 5, [["a"]], [5]]) {
    assert.throws(() => client.publish("a", "x", { headers }), invalid("headers"), inspect(headers));
  }
  for (const payload of [1, null, {}, new ArrayBuffer(1)]) {
    assert.throws(() => client.publish("a", payload), { message: "a payload is a string or a Uint8Array" });
    await assert.rejects(client.request("a", payload), { message: "a payload is a string or a Uint8Array" });
  }
  assert.throws(() => client.publish(undefined, "x"), { message: "a subject is a string" });
  await assert.rejects(connect("nats://127.0.0.1:1", { creds: "user.creds" }), invalid("creds"));
  await assert.rejects(client.request("a", "x", { timeout: Number.NaN }), invalid("timeout"));
  await assert.rejects(client.subscribe("a", { whenFull: "never" }), invalid("whenFull"));
  await assert.rejects(client.subscribe("a", { pendingMessage: 1 }), (error) => {
    assert.match(error.message, /`pendingMessage`/);
    return invalid("pendingMessage")(error);
  });
  await assert.rejects(connect("nats://127.0.0.1:1", { maxReconnects: Infinity }), invalid("maxReconnects"));
  await assert.rejects(connect({ servers: "a" }), invalid("servers"));
  await assert.rejects(connect("nats://127.0.0.1:1", { connectTimeout: -1 }), { code: "invalid_argument" });
});

test("an unhandled answer of nobody is not an unhandled rejection of ours", async (t) => {
  const { client } = await pair(t);
  const seen = [];
  const listener = (reason) => seen.push(reason);
  process.on("unhandledRejection", listener);
  t.after(() => process.off("unhandledRejection", listener));
  client.events();
  const sub = await client.subscribe("a");
  const waiting = sub.next({ timeout: 60_000 });
  await client.close();
  assert.equal(await waiting, undefined);
  assert.throws(() => client.publish("a"), { code: "closed" });
  await assert.rejects(client.flush(), { code: "closed" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(seen, []);
});

test("a panic is the error internal, and the client goes on", async (t) => {
  const { client } = await pair(t);
  native.injectPanic();
  assert.throws(() => client.publish("a"), { code: "internal", applied: "maybe" });
  native.injectPanic();
  await assert.rejects(client.flush(), { code: "internal" });
  await client.flush();
});

test("secrets are not shown", async (t) => {
  const broker = await Broker.start({ user: "joe", password: "geheim" });
  t.after(() => broker.stop());
  const error = await connect(broker.url, { user: "joe", password: "gehein", reconnect: false }).catch((error) => error);
  assert.equal(error.code, "auth");
  assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /gehei/);
  const client = await connect(broker.url, { user: "joe", password: "geheim" });
  t.after(() => client.close());
  const creds = Credentials.text("-----BEGIN NATS USER JWT-----\nabc");
  for (const shown of [client, creds, broker]) {
    assert.doesNotMatch(inspect(shown, { depth: 9 }), /geheim|abc/);
  }
  assert.equal(JSON.stringify(creds), "{}");
  assert.match(inspect(Credentials.file("a.creds")), /a\.creds/);
});

test("events are told, and leaving their loop ends them", async (t) => {
  const { client, broker } = await pair(t, { reconnectDelay: 10 });
  const events = client.events();
  await client.reconnect();
  const kinds = [];
  for await (const event of events) {
    kinds.push(event.kind);
    if (event.kind === "connected") break;
  }
  assert.ok(kinds.includes("disconnected"), String(kinds));
  assert.equal((await events.next()).done, true);
  assert.ok(client.serverInfo.maxPayload > 0 && client.maxPayload === client.serverInfo.maxPayload);
  assert.notEqual(client.newInbox(), client.newInbox());
  assert.equal(client.bufferedAmount, 0);
  assert.ok((await client.rtt()) < 10_000);
  assert.match(broker.url, /^nats:/);
  const last = client.events();
  const closed = client.closed();
  await client.close();
  assert.equal(await closed, undefined);
  const rest = [];
  for await (const event of last) rest.push(event.kind);
  assert.equal(rest.at(-1), "closed");
});

test("ending the events ends those who wait for one", async (t) => {
  const { client } = await pair(t);
  const events = client.events();
  const waiting = [events.next(), events.next()];
  await client.flush();
  await events.return();
  assert.deepEqual(await Promise.all(waiting), [
    { value: undefined, done: true },
    { value: undefined, done: true },
  ]);
});

test("disposing sends what was accepted", async (t) => {
  const { broker, client } = await pair(t);
  const sub = await client.subscribe("a");
  const other = await connect(broker.url);
  for (let number = 0; number < 100; number += 1) other.publish("a", String(number));
  await other[Symbol.asyncDispose]();
  for (let number = 0; number < 100; number += 1) assert.equal((await sub.next({ timeout: 5000 })).text(), String(number));
  assert.throws(() => other.publish("a"), { code: "closed" });
  await other.close();
  await sub[Symbol.asyncDispose]();
  assert.equal(await sub.next(), undefined);
});

test("pressure is told and waited for", async (t) => {
  const { client } = await pair(t, { outboundMark: 4096, outboundLimit: 1 << 20 });
  const payload = Buffer.alloc(1000);
  let pressed = 0;
  for (let number = 0; number < 5000; number += 1) {
    if (client.publish("flood", payload)) continue;
    pressed += 1;
    await client.waitWritable();
  }
  assert.ok(pressed > 0);
  const counts = await client.flush();
  assert.deepEqual([counts.published, counts.flushed], [5000, 5000]);
});

test("namespaces and credentials", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "natsune-node-"));
  t.after(() => rm(folder, { recursive: true }));
  const broker = await Broker.start({ storeDir: folder, namespaces: true, monitorPort: 0 });
  t.after(() => broker.stop());
  assert.match(broker.monitorUrl, /^http:/);
  const made = await broker.createNamespace("shop");
  assert.ok(made.created instanceof Date && made.name === "shop");
  const creds = await broker.createCredentials("shop", "api");
  assert.deepEqual([creds.name, creds.namespace], ["api", "shop"]);
  assert.equal((await broker.namespaces()).length, 1);
  assert.deepEqual((await broker.credentials("shop")).map((each) => [each.name, each.credsText]), [["api", undefined]]);
  await creds.save(`${folder}/api.creds`);
  assert.equal((await stat(`${folder}/api.creds`)).mode & 0o777, 0o600);
  const client = await connect(broker.url, { creds: Credentials.file(`${folder}/api.creds`) });
  await client.flush();
  await client.close();
  await assert.rejects(connect(broker.url), { code: "auth" });
  await broker.deleteCredentials("shop", "api");
  await assert.rejects(connect(broker.url, { creds, reconnect: false }), { code: "auth" });
  await broker.deleteNamespace("shop");
  assert.deepEqual(await broker.namespaces(), []);
});
