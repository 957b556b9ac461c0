/** The same package for CommonJS. Never run. */

import natsune = require("natsune");

async function main(): Promise<number> {
  const client: natsune.Client = await natsune.connect("nats://a");
  const rtt: number = await client.rtt();
  await client.close();
  return rtt;
}

void main();
