/** Leaves everything open: only the exit ends it, with a request in flight. */
import { Broker, connect } from "natsune";

const broker = await Broker.start();
const client = await connect(broker.url);
await client.subscribe("mute");
client.request("mute", "x", { timeout: 60_000 }).catch(() => undefined);
client.publish("a", "x");
console.log("exiting");
process.exit(7);
