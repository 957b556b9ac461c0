/** A client that closed for good, because its server is gone and it may not reconnect, keeps no process alive. */
import { Broker, connect } from "natsune";

const broker = await Broker.start();
const client = await connect(broker.url, { reconnect: false });
const sub = await client.subscribe("a");
await broker.stop();
try {
  for await (const _ of sub);
} catch (error) {
  console.log(error.code);
}
