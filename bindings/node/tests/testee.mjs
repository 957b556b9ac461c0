/** The Node testee: does through the public package what the runner says, one JSON line in, one out. */

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setImmediate as immediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { Broker, Client, connect, Credentials, JetStreamMessage, NatsError, StoredMessage, version } from "natsune";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

/** Durations are seconds for the runner and milliseconds here. */
const DURATIONS = new Set(
  ("ack_wait active backoff connect_timeout delay drain_timeout duplicate_window expires heartbeat idle_heartbeat " +
    "inactive_threshold max_age max_expires pause_remaining ping_interval priority_timeout publish_timeout reconnect_delay " +
    "reconnect_delay_max request_timeout subject_delete_marker_ttl subscribe_timeout sync_interval timeout ttl " +
    "write_timeout").split(" "),
);
const INSTANTS = new Set(["start_time", "pause_until"]);
const MAPS = new Set(["metadata", "extra", "subjects"]);

const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Options as this language writes them. */
function options(value, field = "") {
  if (DURATIONS.has(field)) return Array.isArray(value) ? value.map((each) => each * 1000) : value * 1000;
  if (INSTANTS.has(field)) return new Date(value);
  if (Array.isArray(value)) return value.map((each) => options(each));
  if (typeof value !== "object" || MAPS.has(field)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [camel(name), options(each, name)]));
}

/** A document as the runner reads it. */
function describe(value, field = "") {
  if (value instanceof Date) return value.toISOString();
  if (DURATIONS.has(field)) return Array.isArray(value) ? value.map((each) => each / 1000) : value / 1000;
  if (Array.isArray(value)) return value.map((each) => describe(each));
  if (typeof value !== "object" || value === null || MAPS.has(field)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [snake(name), describe(each, snake(name))]));
}

const objects = new Map();
const running = new Map();
const events = new Map();
let news = resolvers();

function resolvers() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
  return made;
}

function keep(name, value) {
  if (name) objects.set(name, value);
}

function tell(found, name) {
  if (found === undefined) return null;
  const told = {
    subject: found.subject,
    data: Buffer.from(found.data).toString("base64"),
    headers: [...found.headers],
    reply: found.reply ?? null,
    status: found.status ?? null,
  };
  if (found instanceof StoredMessage) {
    return { ...told, sequence: found.sequence, timestamp_ns: Number(found.timeNanos) };
  }
  if (found instanceof JetStreamMessage) {
    const { timestamp: _, timeNanos, ...place } = found.metadata;
    told.metadata = { ...describe(place), timestamp_ns: Number(timeNanos) };
  }
  if (name) {
    keep(name, found);
    told.as = name;
  }
  return told;
}

const payload = (args) => Buffer.from(args.data ?? "", "base64");
const carried = (args) => ({
  ...(args.headers?.length && { headers: args.headers }),
  ...(args.reply && { reply: args.reply }),
});

async function collectEvents(client, name) {
  const mine = [];
  events.set(client, mine);
  try {
    for await (const event of client.events()) {
      mine.push(event);
      news.resolve();
      news = resolvers();
    }
  } catch (error) {
    if (!(error instanceof NatsError)) throw new Error(`the events of ${name} failed`, { cause: error });
  }
}

async function settle(message, verb, args) {
  if (verb === "ack_sync") await message.ackSync({ signal: args.signal });
  else if (verb === "nak") message.nak(args.delay === undefined ? undefined : args.delay * 1000);
  else if (verb === "term") message.term(args.reason);
  else if (verb === "in_progress") message.inProgress();
  else message.ack();
}

async function workers(parallel, count, work) {
  let next = 0;
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (next < count) await work(next++);
    }),
  );
}

const js = (client) => client.jetstream();
const made = (name, consumer) => {
  keep(name, consumer);
  return describe(consumer.cachedInfo);
};

const ops = {
  async connect(name, _, { servers, creds_text, creds_file, signal, ...args }) {
    const creds = creds_text ? Credentials.text(creds_text) : creds_file ? Credentials.file(creds_file) : undefined;
    const client = await connect(servers, { ...options(args), ...(creds && { creds }), signal });
    keep(name, client);
    void collectEvents(client, name);
  },
  close: (_, on) => on.close(),
  drain: (_, on, { signal }) => on.drain({ signal }),
  reconnect: (_, on) => on.reconnect(),
  closed: async (_, on, { signal }) => ({ reason: (await on.closed({ signal })) ?? null }),
  flush: async (_, on, { signal }) => describe(await on.flush({ signal })),
  rtt: async (_, on, { signal }) => ({ seconds: (await on.rtt({ signal })) / 1000 }),
  stats: (_, on) => describe(on.stats()),
  server_info: (_, on) => describe(on.serverInfo),
  max_payload: (_, on) => ({ value: on.maxPayload }),
  new_inbox: (_, on) => ({ value: on.newInbox() }),
  async next_event(_, on, { kind, timeout }) {
    const mine = events.get(on);
    const deadline = Date.now() + timeout * 1000;
    for (;;) {
      const at = mine.findIndex((event) => event.kind === kind);
      if (at >= 0) return describe(mine.splice(at, 1)[0]);
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`no event ${kind}, only: ${mine.map((event) => event.kind)}`);
      const timer = resolvers();
      const waiting = setTimeout(timer.resolve, left);
      await Promise.race([news.promise, timer.promise]);
      clearTimeout(waiting);
    }
  },

  async publish(_, on, args) {
    if (!on.publish(args.subject, payload(args), carried(args))) await on.waitWritable({ signal: args.signal });
  },
  try_publish: (_, on, args) => ({
    accepted: on.publish(args.subject, payload(args), carried(args)) ? "ok" : "pressure",
  }),
  async publish_many(_, on, { subject, count, size = 0, from = 0, try: trying, signal }) {
    for (let number = from; number < from + count; number += 1) {
      const accepted = on.publish(subject, String(number).padEnd(size));
      if (!accepted && !trying) await on.waitWritable({ signal });
    }
    return { published: count };
  },
  wait_writable: (_, on, { signal }) => on.waitWritable({ signal }),
  async subscribe(name, on, { subject, signal, ...args }) {
    keep(name, await on.subscribe(subject, { ...options(args), signal }));
  },
  next: async (name, on, { timeout, signal }) => ({
    message: tell(await on.next({ timeout: timeout * 1000, signal }), name),
  }),
  async collect(_, on, { count, timeout, settle: verb, brief, ...args }) {
    const limit = AbortSignal.timeout(timeout * 1000);
    const signal = AbortSignal.any([args.signal, limit]);
    const found = [];
    let ended = false;
    // By hand: leaving a loop would stop a consumption.
    const messages = on.messages?.({ signal }) ?? on;
    try {
      while (found.length < count && !ended) {
        const { value, done } = await messages.next();
        if (done) {
          ended = true;
          break;
        }
        found.push(value);
        if (verb) await settle(value, verb, args);
      }
    } catch (error) {
      if (error !== limit.reason) throw error;
    }
    if (!brief) return { messages: found.map((each) => tell(each)), ended };
    const texts = found.map((each) => each.text().trim());
    const ordered = texts.every((text, at) => at === 0 || Number(text) === Number(texts[at - 1]) + 1);
    const ends = texts.length > 0 ? { first: texts[0], last: texts.at(-1) } : {};
    return { count: found.length, ordered, ended, ...ends };
  },
  async batches(_, on, { max, count: wanted, timeout, signal: cancelled }) {
    const signal = AbortSignal.any([cancelled, AbortSignal.timeout(timeout * 1000)]);
    let count = 0;
    let largest = 0;
    for await (const batch of on.batches(max, { signal })) {
      count += batch.length;
      largest = Math.max(largest, batch.length);
      if (count >= wanted) return { count, largest, ended: false };
    }
    return { count, largest, ended: true };
  },
  unsubscribe: (_, on, { after }) => on.unsubscribe(after),
  sub_drain: (_, on, { signal }) => on.drain({ signal }),
  sub_stats: (_, on) => describe(on.stats()),
  serve(_, on, args) {
    const serving = async () => {
      for await (const message of on) {
        message.respond(args.data === undefined ? message.view() : payload(args), carried({ headers: args.headers }));
      }
    };
    serving().catch((error) => {
      if (!(error instanceof NatsError)) throw error;
    });
  },
  respond: (_, on, args) => void on.respond(payload(args)),
  request: async (_, on, args) => ({
    message: tell(
      await on.request(args.subject, payload(args), {
        ...carried({ headers: args.headers }),
        ...(args.timeout !== undefined && { timeout: args.timeout * 1000 }),
        signal: args.signal,
      }),
    ),
  }),
  async requests(_, on, { subject, count, parallel, timeout, signal }) {
    const told = { ok: 0, errors: {}, mismatched: 0 };
    await workers(parallel, count, async (number) => {
      try {
        const waiting = timeout === undefined ? { signal } : { signal, timeout: timeout * 1000 };
        const reply = await on.request(subject, String(number), waiting);
        told[reply.text() === String(number) ? "ok" : "mismatched"] += 1;
      } catch (error) {
        if (!(error instanceof NatsError)) throw error;
        told.errors[error.code] = (told.errors[error.code] ?? 0) + 1;
      }
    });
    return told;
  },

  async js_publish(_, on, { subject, data, headers, signal, ...args }) {
    const asked = { ...carried({ headers }), ...options(args), signal };
    return describe(await js(on).publish(subject, payload({ data }), asked));
  },
  async js_publish_many(_, on, { subject, count, parallel, signal }) {
    const stream = js(on);
    const sequences = [];
    await workers(parallel, count, async (number) => {
      sequences.push((await stream.publish(subject, String(number), { signal })).sequence);
    });
    return { count: sequences.length, first: Math.min(...sequences), last: Math.max(...sequences) };
  },
  account_info: async (_, on, { signal }) => describe(await js(on).accountInfo({ signal })),
  create_stream: async (_, on, { config, signal }) =>
    describe((await js(on).createStream(options(config), { signal })).cachedInfo),
  update_stream: async (_, on, { config, signal }) =>
    describe((await js(on).updateStream(options(config), { signal })).cachedInfo),
  create_or_update_stream: async (_, on, { config, signal }) =>
    describe((await js(on).createOrUpdateStream(options(config), { signal })).cachedInfo),
  stream_info: async (_, on, { stream, signal }) => describe(await js(on).stream(stream).info({ signal })),
  delete_stream: (_, on, { stream, signal }) => js(on).deleteStream(stream, { signal }),
  purge_stream: async (_, on, { stream, ...args }) => ({ purged: await js(on).stream(stream).purge(args) }),
  create_consumer: async (name, on, { stream, config, signal }) =>
    made(name, await js(on).stream(stream).createConsumer(options(config), { signal })),
  update_consumer: async (name, on, { stream, config, signal }) =>
    made(name, await js(on).stream(stream).updateConsumer(options(config), { signal })),
  create_or_update_consumer: async (name, on, { stream, config, signal }) =>
    made(name, await js(on).stream(stream).createOrUpdateConsumer(options(config), { signal })),
  consumer: (name, on, args) => keep(name, js(on).consumer(args.stream, args.name)),
  consumer_info: async (_, on, { stream, consumer, signal }) =>
    describe(await js(on).consumer(stream, consumer).info({ signal })),
  delete_consumer: (_, on, { stream, consumer, signal }) => js(on).stream(stream).deleteConsumer(consumer, { signal }),
  consumer_next: async (name, on, { timeout, signal }) => ({
    message: tell(await on.next({ timeout: timeout * 1000, signal }), name),
  }),
  async fetch(name, on, { max_messages, signal, ...args }) {
    const found = await on.fetch(max_messages, { ...options(args), signal });
    return { messages: found.map((each, at) => tell(each, name && `${name}.${at}`)) };
  },
  async consume(name, on, { signal, ...args }) {
    keep(name, await on.consume({ ...options(args), signal }));
  },
  consume_stop: (_, on) => on.stop(),
  consume_drain: (_, on) => on.drain(),
  settle: (_, on, { verb, ...args }) => settle(on, verb, args),
  get_message: async (_, on, { stream, signal, ...key }) => ({
    message: tell(await js(on).stream(stream).get(options(key), { signal })),
  }),
  delete_message: (_, on, { stream, sequence, signal }) => js(on).stream(stream).deleteMessage(sequence, { signal }),
  read_stream: (name, on, { stream, start }) => keep(name, js(on).stream(stream).read({ start })),

  async broker_start(name, _, { signal, ...args }) {
    const broker = await Broker.start({ ...options(args), signal });
    keep(name, broker);
    return { url: broker.url, monitor_url: broker.monitorUrl ?? null };
  },
  broker_namespace: async (_, on, { name, signal }) => describe(await on.createNamespace(name, { signal })),
  async broker_credentials(_, on, { namespace, name, signal }) {
    return describe((await on.createCredentials(namespace, name, { signal }))._document());
  },
  broker_delete_namespace: (_, on, { name, signal }) => on.deleteNamespace(name, { signal }),
  broker_delete_credentials: (_, on, { namespace, name, signal }) => on.deleteCredentials(namespace, name, { signal }),
  broker_stop: (_, on) => on.stop(),

  async panic(_, __, args) {
    const client = [...objects.values()].find((each) => each instanceof Client);
    createRequire(import.meta.url)("@natsune/linux-x64-gnu").injectPanic();
    if (args.export === "publish") client.publish("panic");
    else await client.flush();
  },
  cancel: (_, __, { target }) => running.get(target)?.abort(),
};

async function drop(name) {
  const dropped = objects.get(name);
  for (const [key, value] of objects) if (value === dropped) objects.delete(key);
}

async function run(request, signal) {
  if (request.op === "drop") {
    // In a frame of its own, so that nothing here refers to it.
    await drop(request.on);
    for (let round = 0; round < 3; round += 1) {
      await immediate();
      collectGarbage();
    }
    await immediate();
    return undefined;
  }
  const op = ops[request.op];
  if (op === undefined) throw new Error(`unknown operation ${request.op}`);
  if (request.on && !objects.has(request.on)) throw new Error(`there is no object ${request.on}`);
  const args = Object.fromEntries(Object.entries(request.args ?? {}).filter(([, value]) => value !== null));
  return op(request.as, objects.get(request.on), { ...args, signal });
}

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function failure(error, { aborted, reason }) {
  if (aborted && error === reason) return { code: "cancelled", message: "" };
  if (!(error instanceof NatsError)) return { code: "foreign", message: `${error?.name}: ${error?.message}` };
  const { code, message, retryable, applied, detail } = error;
  return { code, message, retryable, applied, detail: describe(detail) };
}

async function answer(request) {
  const controller = new AbortController();
  running.set(request.n, controller);
  try {
    say({ n: request.n, ok: (await run(request, controller.signal)) ?? {} });
  } catch (error) {
    say({ n: request.n, err: failure(error, controller.signal) });
  } finally {
    running.delete(request.n);
  }
}

say({ hello: { language: "node", version } });
for await (const line of createInterface({ input: process.stdin })) void answer(JSON.parse(line));
process.exit(0);
