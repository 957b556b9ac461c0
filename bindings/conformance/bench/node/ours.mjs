// The cases on natsune: `ours.mjs CASE URL COUNT`.
import { connect } from "natsune";
import { lanes, PAYLOAD, run, seen } from "./common.mjs";

await run(async (name, url) => {
  const client = await connect(url);
  const js = client.jetstream();
  const ask = async () => {
    const reply = await client.request("bench.req", PAYLOAD);
    seen(reply.subject, reply.data);
  };
  const store = () => js.publish("bench.js", PAYLOAD);
  switch (name) {
    case "pub":
      return async (count) => {
        for (let i = 0; i < count; i += 1) if (!client.publish("bench.pub", PAYLOAD)) await client.waitWritable();
        await client.flush();
      };
    case "sub":
    case "sub-copy": {
      const sub = await client.subscribe("bench.sub", { pendingMessages: 2 ** 40, pendingBytes: 2 ** 50 });
      return async (count) => {
        client.publish("bench.flood", String(count));
        let left = count;
        // The peer's data is a view of what was read; ours is a copy, and its view a method.
        const view = name === "sub";
        for await (const message of sub) {
          seen(message.subject, view ? message.view() : message.data);
          left -= 1;
          if (left === 0) break;
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
      const consumption = await js.consumer("BENCH", "bench").consume({ maxMessages: 500 });
      // By hand: leaving a loop would stop the consumption.
      const messages = consumption.messages();
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
