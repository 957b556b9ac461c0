/** A worker that has a client, a subscription and a request in flight. */
import { parentPort, workerData } from "node:worker_threads";

import { connect } from "natsune";

const client = await connect(workerData.url, { name: "worker" });
const sub = await client.subscribe(workerData.subject);
const never = client.request("mute", "x", { timeout: 60_000 });
never.catch(() => undefined);
await client.flush();
parentPort.postMessage("ready");
for await (const message of sub) {
  parentPort.postMessage(message.text());
  if (message.text() === "leave") break;
}
await client.close();
