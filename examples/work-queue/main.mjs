/**
 * A worker of a work queue: takes jobs (a file each), answers with size, lines and SHA-256, acknowledges.
 *
 * `main.mjs URL CREDS FOLDER`, where `FOLDER` holds the files that the jobs name.
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { connect, Credentials, NatsError } from "natsune";

const LANGUAGE = "node";
const [url, creds, folder] = process.argv.slice(2);

const client = await connect(url, { creds: Credentials.file(creds), name: LANGUAGE });
await client.request("demo.register", LANGUAGE);

const js = client.jetstream();
for await (const message of await js.consumer("JOBS", "workers").consume({ maxMessages: 20 })) {
  const job = message.json();
  const content = await readFile(join(folder, job.path));
  const answer = {
    id: job.id,
    language: LANGUAGE,
    size: content.length,
    lines: content.reduce((lines, byte) => lines + (byte === 10 ? 1 : 0), 0),
    sha256: createHash("sha256").update(content).digest("hex"),
    delivered: message.metadata.numDelivered,
  };
  await publish(JSON.stringify(answer), String(job.id));
  message.ack();
}

async function publish(answer, id) {
  for (;;) {
    try {
      // The id makes the answer safe to repeat: the stream keeps the first.
      return await js.publish(`results.${LANGUAGE}`, answer, { id });
    } catch (error) {
      if (!(error instanceof NatsError) || !error.retryable) throw error;
    }
  }
}
