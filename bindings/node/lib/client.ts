/** The client: connect, publish, subscribe, request. */

import { inspect } from "node:util";

import { Hold } from "./alive.js";
import { pool } from "./batch.js";
import type * as types from "./client_types.js";
import type { PublishCounts, ServerInfo, Stats } from "./client_types.js";
import type { Credentials } from "./credentials.js";
import { fromDocument, milliseconds, toDocument } from "./documents.js";
import { invalid, natsError, NatsError } from "./errors.js";
import { Events } from "./events.js";
import { type Remains, whenForgotten } from "./forgotten.js";
import { type HeadersLike, packHeaders } from "./headers.js";
import { JetStream, type JetStreamOptions } from "./jetstream.js";
import { ask, called, Failed, open, queue, run, wait } from "./lane.js";
import { Message, type Payload } from "./message.js";
import { EMPTY, native } from "./native.js";
import { type SubscribeOptions, Subscription } from "./subscription.js";
import type { WaitOptions } from "./taking.js";

/** How long leaving a scope may take to send what was accepted. */
const LEAVING = 2000;

/**
 * Everything that connect can be told. The defaults are the same in every language: reconnect for ever, 100 ms doubling to
 * 5 s with jitter; ping every 10 s; requests 5 s. Durations are milliseconds.
 */
export interface ConnectOptions extends Omit<types.ConnectOptions, "credsFile" | "credsText" | "servers"> {
  /** Who we are. */
  creds?: Credentials;
  /** Gives up connecting. */
  signal?: AbortSignal | undefined;
}

/** What a publish may carry. */
export interface PublishOptions {
  /** Where a reply goes. */
  reply?: string;
  /** Its headers. */
  headers?: HeadersLike;
}

/** What a request may carry. */
export interface RequestOptions extends WaitOptions {
  /** Its headers. */
  headers?: HeadersLike;
  /** How long to wait for the reply; the client's `requestTimeout` (5 s) unless given. Milliseconds. */
  timeout?: number | undefined;
}

/** A connection to a NATS server that mends itself. Made by `connect`. It keeps the process alive until it is closed. */
export class Client implements AsyncDisposable {
  /** @internal */
  readonly _remains: Remains;
  readonly #hold: Hold;
  readonly #finishReply: (id: number) => Message;

  private constructor(handle: number, hold: Hold) {
    this.#hold = hold;
    this._remains = { handle, hold };
    whenForgotten(this, this._remains);
    void watch(this._remains, hold);
    this.#finishReply = (id) => {
      pool.begin();
      const batch = pool.batch(native.finishMessages(id, pool.slab, pool.at), this);
      return Message._of(batch, batch.entry(0));
    };
  }

  /** @internal */
  static _open(handle: number, hold: Hold): Client {
    return new Client(handle, hold);
  }

  /** @internal */
  get _handle(): number {
    return this._remains.handle;
  }

  /**
   * Copies the message into the outbound buffer: accepted at once, sent soon, never lost in silence. False: the buffer is
   * under pressure, and `await client.waitWritable()` should come before the next one. Throws `busy` when the buffer is full:
   * then nothing was accepted.
   */
  publish(subject: string, payload: Payload = EMPTY, options?: PublishOptions): boolean {
    try {
      if (options === undefined) {
        return typeof payload === "string"
          ? !native.publishText(this._handle, subject, payload)
          : !native.publish(this._handle, subject, payload);
      }
      return !native.publishFull(this._handle, subject, options.reply, packHeaders(options.headers), payload);
    } catch (thrown) {
      throw natsError(thrown);
    }
  }

  /** Waits until the outbound buffer is below its mark. */
  async waitWritable(options: WaitOptions = {}): Promise<void> {
    await run(this._handle, "client.wait_writable", "{}", options.signal);
  }

  /** Bytes that wait in the outbound buffer. */
  get bufferedAmount(): number {
    return this.stats().bufferedBytes;
  }

  /** Subscribes. Completes when the server confirmed it, so a missing right is told here. */
  async subscribe(subject: string, options: SubscribeOptions = {}): Promise<Subscription> {
    const { signal, ...rest } = options;
    const handle = await open(this._handle, "client.subscribe", toDocument({ subject, ...rest }), signal);
    return Subscription._open(this, handle, subject);
  }

  /** Sends a request and waits for its reply; `no_responders` at once when nobody listens. */
  async request(subject: string, payload: Payload = EMPTY, options?: RequestOptions): Promise<Message> {
    const signal = options?.signal;
    signal?.throwIfAborted();
    const outcome = await wait(this.#startRequest(subject, payload, options), this.#finishReply, signal);
    if (outcome instanceof Failed) throw outcome.error();
    return outcome;
  }

  #startRequest(subject: string, payload: Payload, options: RequestOptions | undefined): number {
    try {
      if (options === undefined) return native.startRequest(queue, this._handle, subject, EMPTY, payload, 0);
      const timeout = milliseconds(options.timeout);
      return native.startRequest(queue, this._handle, subject, packHeaders(options.headers), payload, timeout);
    } catch (thrown) {
      throw natsError(thrown);
    }
  }

  /** One round trip to the server: what was published before has been processed. Gives what became of it. */
  async flush(options: WaitOptions = {}): Promise<PublishCounts> {
    return fromDocument(await ask(this._handle, "client.flush", "{}", options.signal));
  }

  /** The time of one round trip, in milliseconds. */
  async rtt(options: WaitOptions = {}): Promise<number> {
    return fromDocument<{ seconds: number }>(await ask(this._handle, "client.rtt", "{}", options.signal)).seconds;
  }

  /** Hands out what was received, flushes what was published, then closes. */
  async drain(options: WaitOptions = {}): Promise<void> {
    await Hold.during(run(this._handle, "client.drain", "{}", options.signal));
    this.#end();
  }

  /** Closes at once. Again is nothing; everything else afterwards is `closed`. */
  async close(): Promise<void> {
    await Hold.during(run(this._handle, "client.close"));
    this.#end();
  }

  /** Waits until the client is closed for good, and says why; undefined when it was asked to. */
  async closed(options: WaitOptions = {}): Promise<string | undefined> {
    return fromDocument<{ reason?: string }>(await ask(this._handle, "client.closed", "{}", options.signal)).reason;
  }

  /** Leaves the connection and makes a new one. */
  async reconnect(): Promise<void> {
    await run(this._handle, "client.reconnect");
  }

  /** What happens to the connection, from now on; ends when the client is closed. */
  events(options: WaitOptions = {}): Events {
    return Events._of(this, options.signal);
  }

  /** Counters, in one snapshot. */
  stats(): Stats {
    return fromDocument(this.#info("stats"));
  }

  /** What the server last said of itself. */
  get serverInfo(): ServerInfo {
    return fromDocument(this.#info("server_info"));
  }

  /** The largest payload, headers included, that the server takes; bytes. */
  get maxPayload(): number {
    return fromDocument(this.#info("max_payload"));
  }

  /** A fresh reply subject. */
  newInbox(): string {
    return fromDocument(this.#info("new_inbox"));
  }

  /** The JetStream of this connection; made without asking the server. */
  jetstream(options: JetStreamOptions = {}): JetStream {
    return JetStream._open(this, options);
  }

  /** This client no longer keeps the process alive. */
  unref(): this {
    this.#hold.drop();
    return this;
  }

  /** This client keeps the process alive until it is closed, as it does from the start. */
  ref(): this {
    if (this._remains.over !== true) this.#hold.take();
    return this;
  }

  /** Sends what was accepted, for at most 2 s, then closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await Hold.during(this.flush({ signal: AbortSignal.timeout(LEAVING) }));
    } catch (error) {
      const expected = error instanceof NatsError || (error instanceof DOMException && error.name === "TimeoutError");
      if (!expected) throw error;
    } finally {
      await this.close();
    }
  }

  #info(what: string): string {
    return called(() => native.info(this._handle, what));
  }

  #end(): void {
    this._remains.over = true;
    this.#hold.drop();
  }

  /** @internal */
  [inspect.custom](): string {
    return this._remains.over === true ? "Client { closed }" : "Client {}";
  }
}

/** A client that closed by itself keeps no process alive. Must not refer to the client. */
async function watch(remains: Remains, hold: Hold): Promise<void> {
  try {
    await run(remains.handle, "client.closed");
  } catch {
    // Its handle is gone: it was forgotten.
  }
  remains.over = true;
  hold.drop();
}

/**
 * Connects to one of `servers` (`nats://localhost:4222` when none is given). Completes when the server answered, so wrong
 * credentials fail here.
 */
export async function connect(servers?: string | readonly string[], options: ConnectOptions = {}): Promise<Client> {
  const { creds, signal, ...rest } = options;
  if (servers !== undefined && typeof servers !== "string" && !Array.isArray(servers)) {
    throw invalid("`servers` is a URL or a list of them; options come second", "servers");
  }
  if (creds !== undefined && typeof (creds as Partial<Credentials>)._document !== "function") {
    throw invalid("`creds` is `Credentials.file(path)` or `Credentials.text(text)`", "creds");
  }
  const pooled = typeof servers === "string" ? [servers] : servers;
  const document = toDocument({ ...rest, servers: pooled, ...creds?._document() });
  const hold = new Hold();
  hold.take();
  try {
    return Client._open(await open(0, "connect", document, signal), hold);
  } catch (error) {
    hold.drop();
    throw error;
  }
}
