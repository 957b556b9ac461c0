/** Consumers: cursors on a stream, with their own memory of what was handled. */

import type { SubscriptionStats } from "./client_types.js";
import { pool } from "./batch.js";
import type { Client } from "./client.js";
import { fromDocument, toDocument } from "./documents.js";
import { natsError } from "./errors.js";
import type { JetStream } from "./jetstream.js";
import type { ConsumerInfo } from "./jetstream_types.js";
import { ask, called, Failed, open, queue, run, wait } from "./lane.js";
import { JetStreamMessage, messagesOf } from "./message.js";
import { native } from "./native.js";
import { Taking, type WaitOptions } from "./taking.js";

/** How messages are fetched. */
export interface FetchOptions extends WaitOptions {
  /** Most bytes. */
  maxBytes?: number;
  /** How long to wait until all of them are there. Milliseconds. */
  timeout?: number | undefined;
  /** Give what is there, do not wait. */
  noWait?: boolean;
}

/** A place in a consumer's priority group. */
export interface PriorityOptions {
  /** The group. */
  group: string;
  /** Only when at least so many messages are pending. */
  minPending?: number;
  /** Only when at least so many messages wait for their ack. */
  minAckPending?: number;
  /** 0 (first) to 9. */
  priority?: number;
}

/** How messages are kept flowing. */
export interface ConsumeOptions extends WaitOptions {
  /** Most messages that are under way or not handled yet (500). */
  maxMessages?: number;
  /** Most bytes that are under way or not handled yet; not together with `maxMessages`. */
  maxBytes?: number;
  /** How long one request of ours lives. Milliseconds. */
  expires?: number;
  /** How often the server says that it lives. Milliseconds. */
  heartbeat?: number;
  /** Ask again when no more than this (messages, or bytes with `maxBytes`) is under way or not handled. */
  threshold?: number;
  /** For consumers with priority groups. */
  priority?: PriorityOptions;
}

/** A consumer. Handles cost nothing: what they say is asked when it is needed. */
export class Consumer {
  readonly #js: JetStream;
  /** Its stream's name. */
  readonly stream: string;
  /** Its name. */
  readonly name: string;
  /** What the server said when this handle was made; undefined when it was not asked. */
  readonly cachedInfo: ConsumerInfo | undefined;

  private constructor(js: JetStream, stream: string, name: string, info: ConsumerInfo | undefined) {
    this.#js = js;
    this.stream = stream;
    this.name = name;
    this.cachedInfo = info;
  }

  /** @internal */
  static _of(js: JetStream, stream: string, name: string, info: ConsumerInfo | undefined): Consumer {
    return new Consumer(js, stream, name, info);
  }

  /** Its configuration and state. */
  async info(options: WaitOptions = {}): Promise<ConsumerInfo> {
    return fromDocument(await ask(this.#js._handle, "js.consumer_info", this.#document({}), options.signal));
  }

  /** The next message; undefined when none came within `timeout` milliseconds (5 s). */
  async next(options: WaitOptions & { timeout?: number | undefined } = {}): Promise<JetStreamMessage | undefined> {
    const { signal, ...rest } = options;
    return (await this.#messages("consumer.next", rest, signal))[0];
  }

  /** Up to `maxMessages`; none when none came in time. What an aborted fetch had received goes to the next call. */
  fetch(maxMessages: number, options: FetchOptions = {}): Promise<JetStreamMessage[]> {
    const { signal, ...rest } = options;
    return this.#messages("consumer.fetch", { maxMessages, ...rest }, signal);
  }

  /** Keeps pulling, 500 messages ahead unless told otherwise. Never ends on a reconnect; leaving its loop stops it. */
  async consume(options: ConsumeOptions = {}): Promise<Consumption> {
    const { signal, ...rest } = options;
    const handle = await open(this.#js._handle, "consumer.consume", this.#document(rest), signal);
    return Consumption._open(this.#js._client, handle);
  }

  async #messages(verb: string, what: object, signal: AbortSignal | undefined): Promise<JetStreamMessage[]> {
    signal?.throwIfAborted();
    const client = this.#js._client;
    const finish = (id: number): JetStreamMessage[] => {
      pool.begin();
      return messagesOf(JetStreamMessage, pool.batch(native.finishMessages(id, pool.slab, pool.at), client));
    };
    const outcome = await wait(this.#start(verb, this.#document(what)), finish, signal);
    if (outcome instanceof Failed) throw outcome.error();
    return outcome;
  }

  #start(verb: string, document: string): number {
    try {
      return native.start(queue, this.#js._handle, verb, document);
    } catch (thrown) {
      throw natsError(thrown);
    }
  }

  #document(more: object): string {
    return toDocument({ ...more, stream: this.stream, consumer: this.name });
  }
}

/** The messages of `consume`. Leaving a loop over it stops it, and so does `await using`. */
export class Consumption extends Taking<JetStreamMessage> implements AsyncDisposable {
  private constructor(client: Client, handle: number) {
    super(client, JetStreamMessage, handle);
  }

  /** @internal */
  static _open(client: Client, handle: number): Consumption {
    return new Consumption(client, handle);
  }

  /** Ends it at once. What was not handed out comes again after the consumer's ack wait, or at once with `release`. */
  stop(options: { release?: boolean } = {}): void {
    if (options.release === true && this._remains.over !== true) {
      // Started is enough: it is done before anything that comes later.
      run(this._handle, "consume.stop", '{"release":true}').catch(() => undefined);
      for (const message of this._stop()) message.nak();
    } else {
      this._stop();
    }
  }

  /** Pulls no more and hands out what came; the iteration ends then. */
  async drain(): Promise<void> {
    if (!this._stopped) await run(this._handle, "consume.drain");
  }

  /** Waits until it has ended and everything handed out was handled. */
  async closed(options: WaitOptions = {}): Promise<void> {
    if (!this._stopped) await run(this._handle, "consume.closed", "{}", options.signal);
  }

  /** Counters in one snapshot. What waits in the batch of this object counts as pending. */
  stats(): SubscriptionStats {
    const stats = fromDocument<SubscriptionStats>(called(() => native.info(this._handle, "stats")));
    stats.pending += this._left;
    stats.delivered -= this._left;
    return stats;
  }

  /** Stops it. */
  [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    return Promise.resolve();
  }

  /** @internal */
  override _leave(): void {
    this.stop();
  }
}
