import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { internal, require } from "./helpers.mjs";

const vectors = JSON.parse(await readFile(process.env.NATSUNE_VECTORS, "utf8"));
const { Batch } = internal("batch.js");
const { JetStreamMessage, messagesOf, Message, StoredMessage } = internal("message.js");
const { Headers, packHeaders } = internal("headers.js");

for (const vector of vectors.batches) {
  test(`batch: ${vector.name}`, () => {
    const packed = Buffer.from(vector.packed_hex, "hex");
    // Also inside of a pool, where it does not begin at 0.
    for (const base of [0, 24]) {
      const slab = Buffer.concat([Buffer.alloc(base, 0xee), packed, Buffer.alloc(8, 0xee)]);
      const batch = new Batch(slab, base, undefined);
      assert.equal(batch.state, vector.state);
      assert.equal(batch.count, vector.messages.length);
      const long = vector.messages[0]?.metadata != null;
      const kind = !long ? Message : vector.messages[0].metadata.consumer === "" ? StoredMessage : JetStreamMessage;
      messagesOf(kind, batch).forEach((message, at) => compare(message, vector.messages[at]));
    }
  });
}

function compare(message, expected) {
  assert.equal(message.subject, expected.subject);
  assert.equal(Buffer.from(message.data).toString("hex"), expected.payload_hex);
  assert.equal(Buffer.from(message.view()).toString("hex"), expected.payload_hex);
  assert.deepEqual([...message.headers], expected.headers);
  if (!(message instanceof StoredMessage)) {
    assert.equal(message.reply, expected.reply ?? undefined);
    assert.equal(message.status ?? 0, expected.status);
  }
  const { metadata } = expected;
  if (metadata === null) return;
  if (message instanceof StoredMessage) {
    assert.equal(message.stream, metadata.stream);
    assert.equal(message.sequence, metadata.stream_sequence);
    assert.equal(Number(message.timeNanos), metadata.timestamp_ns);
    return;
  }
  let found;
  try {
    found = message.metadata;
  } catch (error) {
    // A sequence that no number can hold is said, not rounded.
    assert.equal(error.code, "unsupported");
    const numbers = ["stream_sequence", "consumer_sequence", "delivered", "pending"].map((name) => metadata[name]);
    assert.ok(numbers.some((number) => !Number.isSafeInteger(number)));
    return;
  }
  assert.deepEqual([found.stream, found.consumer, found.domain ?? ""], [metadata.stream, metadata.consumer, metadata.domain]);
  assert.deepEqual(
    [found.streamSequence, found.consumerSequence, found.numDelivered, found.numPending],
    [metadata.stream_sequence, metadata.consumer_sequence, metadata.delivered, metadata.pending],
  );
}

for (const vector of vectors.headers ?? []) {
  test(`headers: ${vector.name}`, () => {
    assert.equal(Buffer.from(packHeaders(vector.headers)).toString("hex"), vector.packed_hex);
    assert.deepEqual([...new Headers(vector.headers)], vector.headers);
  });
}

test("the lists of durations and instants are those of the documents", async () => {
  const { DURATIONS, INSTANTS } = internal("documents.js");
  const texts = await Promise.all(
    ["client_types", "jetstream_types", "broker", "jetstream", "consumer", "client", "stream"].map((name) =>
      readFile(require.resolve("natsune").replace("index.js", `${name}.d.ts`), "utf8"),
    ),
  );
  const fields = texts.join("").matchAll(/\/\*\*([^*]*)\*\/\s+(\w+)\??: ([^;]*);/g);
  for (const [, about, name, type] of fields) {
    assert.equal(DURATIONS.has(name), about.includes("Milliseconds"), `${name}: ${about}`);
    assert.equal(INSTANTS.has(name), type === "Date", `${name}: ${type}`);
  }
});

test("documents are spelled both ways", () => {
  const { fromDocument, toDocument } = internal("documents.js");
  const when = new Date("2026-01-02T03:04:05.678Z");
  const given = {
    maxAge: 1500,
    startTime: when,
    backoff: [1, 2000],
    absent: undefined,
    nothing: null,
    metadata: { camelKey: "v", snake_key: "w" },
    sources: [{ filterSubject: "a", extra: { ownField: 1 } }],
    big: 5n,
  };
  const text = toDocument(given);
  assert.deepEqual(JSON.parse(text), {
    max_age: 1.5,
    start_time: "2026-01-02T03:04:05.678Z",
    backoff: [0.001, 2],
    metadata: { camelKey: "v", snake_key: "w" },
    sources: [{ filter_subject: "a", extra: { ownField: 1 } }],
    big: 5,
  });
  const { absent: _, nothing: __, ...expected } = given;
  assert.deepEqual(fromDocument(text), { ...expected, big: 5 });
  assert.deepEqual(fromDocument('{"subjects":{"a_b.c":3},"tiers":{"R_1":{"max_x":null,"y_z":1}}}'), {
    subjects: { "a_b.c": 3 },
    tiers: { R_1: { yZ: 1 } },
  });
  assert.throws(() => fromDocument('{"last_sequence":9007199254740993}'), { code: "unsupported" });
  assert.throws(() => toDocument({ timeout: Number.NaN }), { code: "invalid_argument" });
  assert.throws(() => toDocument({ startTime: new Date("x") }), { code: "invalid_argument" });
  assert.throws(() => toDocument({ handler: () => 1 }), { code: "invalid_argument" });
  assert.throws(() => toDocument({ sequence: 2n ** 60n + 1n }), { code: "invalid_argument" });
});
