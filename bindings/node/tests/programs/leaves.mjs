/** Closes what it opened, and ends by itself. */
import { Broker, connect } from "natsune";

const broker = await Broker.start();
const client = await connect(broker.url);
const sub = await client.subscribe("a");
client.publish("a", "x");
for await (const message of sub) {
  console.log(message.text());
  break;
}
await client.close();
await broker.stop();
