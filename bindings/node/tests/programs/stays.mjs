/** Nothing but an open client keeps it alive, while it waits at the top level for another process. */
import { connect } from "natsune";

const client = await connect(process.argv[2]);
const sub = await client.subscribe("go");
console.log("ready");
for await (const message of sub) {
  console.log(message.text());
  break;
}
await client[Symbol.asyncDispose]();
