// Stock nats.js, unmodified, against a server: URL and a .creds file as arguments; prints one line a check.
import { readFileSync } from "node:fs";
import { connect, credsAuthenticator, headers } from "@nats-io/transport-node";
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";

const [url, creds] = process.argv.slice(2);
const check = (what, fine) => {
  if (!fine) {
    console.log(`FAILED ${what}`);
    process.exit(1);
  }
  console.log(`ok ${what}`);
};

const nc = await connect({ servers: url, authenticator: credsAuthenticator(readFileSync(creds)), reconnect: false });
const sub = nc.subscribe("js.plain", { max: 1 });
const h = headers();
h.append("K", "v");
nc.publish("js.plain", "hello", { headers: h });
for await (const m of sub) check("publish and subscribe", m.string() === "hello" && m.headers.get("K") === "v");

const taken = [];
for (let i = 0; i < 2; i++) nc.subscribe("js.queue", { queue: "workers", callback: (_, m) => taken.push(Number(m.string())) });
for (let i = 0; i < 100; i++) nc.publish("js.queue", String(i));
await nc.flush();
check("queue group", taken.sort((a, b) => a - b).join() === Array.from({ length: 100 }, (_, i) => i).join());

nc.subscribe("js.service", { callback: (_, m) => m.respond(m.string().toUpperCase()) });
check("request", (await nc.request("js.service", "abc", { timeout: 5000 })).string() === "ABC");
const refused = await nc.request("js.nobody", "", { timeout: 5000 }).catch((e) => e);
check("no responders", /no responders/i.test(String(refused.message ?? refused)) || refused.isNoResponders?.());

const jsm = await jetstreamManager(nc);
await jsm.streams.add({ name: "JSJOBS", subjects: ["jsjobs.>"], retention: RetentionPolicy.Workqueue });
const js = jetstream(nc);
const acks = await Promise.all(Array.from({ length: 20 }, (_, i) => js.publish("jsjobs.a", String(i))));
check("stream and publish", acks.map((a) => a.seq).sort((a, b) => a - b)[19] === 20);
await js.publish("jsjobs.b", "x", { msgID: "one" });
check("duplicate", (await js.publish("jsjobs.b", "x", { msgID: "one" })).duplicate === true);
await jsm.consumers.add("JSJOBS", { durable_name: "workers", ack_policy: AckPolicy.Explicit });
const consumer = await js.consumers.get("JSJOBS", "workers");
let count = 0;
for await (const m of await consumer.fetch({ max_messages: 21, expires: 5000 })) {
  if (!(await m.ackAck())) check("ack", false);
  count++;
}
check("pull", count === 21);
check("ack", (await jsm.streams.info("JSJOBS")).state.messages === 0);

const kv = await new Kvm(nc).create("JSKV", { history: 3 });
await kv.put("a", "1");
const revision = await kv.update("a", "2", 1);
const entry = await kv.get("a");
check("key-value put, update, get", entry.string() === "2" && entry.revision === revision);
await kv.create("b", "x");
const keys = [];
for await (const key of await kv.keys()) keys.push(key);
check("key-value keys", keys.sort().join() === "a,b");
const seen = [];
const watch = await kv.watch();
for await (const e of watch) {
  seen.push(e.key);
  if (seen.length === 2) break;
}
check("key-value watch", seen.sort().join() === "a,b");
await kv.delete("a");
check("key-value delete", (await kv.get("a"))?.operation === "DEL");
await kv.destroy();
await jsm.streams.delete("JSJOBS");
await nc.drain();
