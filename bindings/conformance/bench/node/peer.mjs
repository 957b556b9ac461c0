// The cases on nats.js: `peer.mjs CASE URL COUNT`.
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { lanes, PAYLOAD, run, seen } from "./common.mjs";

await run(async (name, url) => {
  const client = await connect({ servers: url });
  const js = jetstream(client);
  const ask = async () => {
    const reply = await client.request("bench.req", PAYLOAD, { timeout: 30_000 });
    seen(reply.subject, reply.data);
  };
  const store = () => js.publish("bench.js", PAYLOAD);
  switch (name) {
    case "pub":
      return async (count) => {
        for (let i = 0; i < count; i += 1) client.publish("bench.pub", PAYLOAD);
        await client.flush();
      };
    case "sub":
    case "sub-copy": {
      const messages = client.subscribe("bench.sub")[Symbol.asyncIterator]();
      await client.flush();
      return async (count) => {
        client.publish("bench.flood", String(count));
        for (let i = 0; i < count; i += 1) {
          const { value: message } = await messages.next();
          seen(message.subject, message.data);
        }
      };
    }
    case "req1":
      return (count) => lanes(1, count, ask);
    case "req256":
      return (count) => lanes(256, count, ask);
    case "jspub1":
      return (count) => lanes(1, count, store);
    case "jspub256":
      return (count) => lanes(256, count, store);
    case "jspull": {
      const consumer = await js.consumers.get("BENCH", "bench");
      const messages = (await consumer.consume({ max_messages: 500 }))[Symbol.asyncIterator]();
      return async (count) => {
        for (let i = 0; i < count; i += 1) {
          const { value: message } = await messages.next();
          seen(message.subject, message.data);
          message.ack();
        }
        await client.flush();
      };
    }
    default:
      throw new Error(`no case is called ${name}`);
  }
});
