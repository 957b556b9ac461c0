/** What a user's compiler must accept, and what it must not. Never run. */

import {
  Broker,
  Client,
  connect,
  type ConsumerConfig,
  Credentials,
  type Event,
  Headers,
  type JetStreamMessage,
  type Message,
  NatsError,
  type PublishAck,
  type StoredMessage,
  type StreamInfo,
  version,
} from "natsune";

await using client: Client = await connect(["nats://a", "tls://b:4222"], {
  creds: Credentials.file("user.creds"),
  connectTimeout: 1000,
  tls: { caFile: "ca.pem" },
  signal: AbortSignal.timeout(5000),
});
if (!client.publish("a", new Uint8Array(3))) await client.waitWritable();
client.publish("a", Buffer.from("x"), { headers: { a: "1", b: ["2", "3"] }, reply: "c" });
client.publish("a", "x", { headers: new Headers([["a", "1"]]) });

const sub = await client.subscribe("orders.*", { queue: "workers", whenFull: "drop_old" });
for await (const message of sub) {
  const one: Message = message;
  const data: Uint8Array = one.data;
  const reply: string | undefined = one.reply;
  one.respond(data, { headers: message.headers });
  void reply;
}
for await (const batch of sub.batches(10)) for (const message of batch) message.json<{ id: number }>().id.toFixed();
const maybe: AbortSignal | undefined = undefined;
const next: Message | undefined = await sub.next({ timeout: 100, signal: maybe });
void next;

const js = client.jetstream({ domain: "hub" });
const config: ConsumerConfig = { durable: "workers", ackPolicy: "explicit", ackWait: 30_000, startTime: new Date() };
const stream = await js.createStream({ name: "S", subjects: ["s.>"], retention: "workqueue" });
const info: StreamInfo = await stream.info();
const created: Date | undefined = info.created;
const ack: PublishAck = await js.publish("s.a", "x", { id: "1", expectedLastSequence: 4 });
const consumer = await stream.createConsumer(config);
await using consumption = await consumer.consume({ maxMessages: 500 });
for await (const message of consumption) {
  const one: JetStreamMessage = message;
  const nanos: bigint = one.metadata.timeNanos;
  one.nak(Number(nanos));
}
const stored: StoredMessage | undefined = await stream.get({ lastFor: "s.a" });
const events: AsyncIterable<Event> = client.events();
void [created, ack, stored, events, version];

try {
  await client.flush();
} catch (error) {
  if (error instanceof NatsError && error.code === "timeout" && error.retryable) console.log(error.detail.errCode);
}
await using broker = await Broker.start({ storeDir: "data", namespaces: true });
const url: string = broker.url;
void url;

// @ts-expect-error A client is made by connect.
new Client();
// @ts-expect-error There is no such option.
await connect("nats://a", { conectTimeout: 1 });
// @ts-expect-error A payload is bytes or text.
client.publish("a", 1);
// @ts-expect-error A core message is not settled.
next?.ack();
// @ts-expect-error Private.
client._handle.toFixed();
