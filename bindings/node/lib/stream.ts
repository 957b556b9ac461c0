/** Streams: messages in their order, kept. */

import { pool } from "./batch.js";
import type { Client } from "./client.js";
import { Consumer } from "./consumer.js";
import { fromDocument, toDocument } from "./documents.js";
import { natsError } from "./errors.js";
import type { JetStream } from "./jetstream.js";
import type { ConsumerConfig, ConsumerInfo, StreamInfo } from "./jetstream_types.js";
import { ask, Failed, open, queue, run, wait } from "./lane.js";
import { StoredMessage } from "./message.js";
import { native } from "./native.js";
import { Taking, type WaitOptions } from "./taking.js";

/** Which messages are deleted; nothing set: all. */
export interface PurgeOptions extends WaitOptions {
  /** Only of this subject; wildcards allowed. */
  filter?: string;
  /** Only below this sequence. */
  sequence?: number;
  /** All but so many of the last ones. */
  keep?: number;
}

/** Which message is meant: by its sequence, the last of a subject, or the next of a subject from a sequence on. */
export interface MessageKey {
  /** The sequence. */
  sequence?: number;
  /** The last one of this subject. */
  lastFor?: string;
  /** The first one of this subject from `sequence` (or the beginning) on; wildcards allowed. */
  nextFor?: string;
}

/** A stream. Handles cost nothing: what they say is asked when it is needed. */
export class Stream {
  readonly #js: JetStream;
  /** Its name. */
  readonly name: string;
  /** What the server said when this handle was made; undefined when it was not asked. */
  readonly cachedInfo: StreamInfo | undefined;

  private constructor(js: JetStream, name: string, info: StreamInfo | undefined) {
    this.#js = js;
    this.name = name;
    this.cachedInfo = info;
  }

  /** @internal */
  static _of(js: JetStream, name: string, info: StreamInfo | undefined): Stream {
    return new Stream(js, name, info);
  }

  /** Its configuration and state. */
  async info(options: WaitOptions = {}): Promise<StreamInfo> {
    return fromDocument(await this.#ask("js.stream_info", {}, options));
  }

  /** Deletes messages: all, of a subject, below a sequence, or all but the last ones. Gives how many. */
  async purge(options: PurgeOptions = {}): Promise<number> {
    const { signal, ...rest } = options;
    return fromDocument<{ purged: number }>(await this.#ask("js.purge_stream", rest, { signal })).purged;
  }

  /** One message; undefined when there is none. */
  async get(which: number | MessageKey, options: WaitOptions = {}): Promise<StoredMessage | undefined> {
    const { signal } = options;
    signal?.throwIfAborted();
    const key = typeof which === "object" ? which : { sequence: which };
    const client = this.#js._client;
    const finish = (id: number): StoredMessage | undefined => {
      pool.begin();
      const batch = pool.batch(native.finishMessages(id, pool.slab, pool.at), client);
      return batch.count === 0 ? undefined : StoredMessage._of(batch, batch.entry(0));
    };
    const outcome = await wait(this.#startGet(key), finish, signal);
    if (outcome instanceof Failed) throw outcome.error();
    return outcome;
  }

  #startGet(key: MessageKey): number {
    try {
      return native.start(queue, this.#js._handle, "js.get_message", toDocument({ ...key, stream: this.name }));
    } catch (thrown) {
      throw natsError(thrown);
    }
  }

  /** Deletes one message. */
  async deleteMessage(sequence: number, options: WaitOptions = {}): Promise<void> {
    const document = toDocument({ stream: this.name, sequence });
    await run(this.#js._handle, "js.delete_message", document, options.signal);
  }

  /** Reads the stream in order from `start` on, to the end that it has by then. Leaving the loop ends it. */
  async *read(options: WaitOptions & { start?: number | undefined } = {}): AsyncGenerator<StoredMessage, void, undefined> {
    const { start, signal } = options;
    const document = toDocument({ stream: this.name, start });
    const handle = await open(this.#js._handle, "stream.read", document, signal);
    const reader = new Reader(this.#js._client, handle);
    yield* reader.messages({ signal });
  }

  /** Makes a consumer. The same again succeeds; another of that name is `already_exists`. */
  createConsumer(config: ConsumerConfig, options: WaitOptions = {}): Promise<Consumer> {
    return this.#consumer("js.create_consumer", config, options);
  }

  /** Changes a consumer. */
  updateConsumer(config: ConsumerConfig, options: WaitOptions = {}): Promise<Consumer> {
    return this.#consumer("js.update_consumer", config, options);
  }

  /** Makes or changes a consumer. */
  createOrUpdateConsumer(config: ConsumerConfig, options: WaitOptions = {}): Promise<Consumer> {
    return this.#consumer("js.create_or_update_consumer", config, options);
  }

  /** Deletes a consumer. */
  async deleteConsumer(name: string, options: WaitOptions = {}): Promise<void> {
    const document = toDocument({ stream: this.name, consumer: name });
    await run(this.#js._handle, "js.delete_consumer", document, options.signal);
  }

  /** A handle, made without asking the server. */
  consumer(name: string): Consumer {
    return Consumer._of(this.#js, this.name, name, undefined);
  }

  async #consumer(verb: string, config: ConsumerConfig, options: WaitOptions): Promise<Consumer> {
    const info = fromDocument<ConsumerInfo>(await this.#ask(verb, { config }, options));
    return Consumer._of(this.#js, this.name, info.name, info);
  }

  #ask(verb: string, what: object, { signal }: WaitOptions): Promise<string> {
    return ask(this.#js._handle, verb, toDocument({ ...what, stream: this.name }), signal);
  }
}

/** A stream being read. */
class Reader extends Taking<StoredMessage> {
  constructor(client: Client, handle: number) {
    super(client, StoredMessage, handle);
  }

  /** @internal */
  override _leave(): void {
    this._stop();
  }
}
