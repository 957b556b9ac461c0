/** An open client and broker that do not keep the process alive. */
import { Broker, connect } from "natsune";

const broker = await Broker.start();
const client = await connect(broker.url);
await client.subscribe("a");
client.unref().ref().unref();
broker.unref();
console.log("end");
