/** JetStream: acknowledged publishing, and the way to streams and consumers. */

import type { Client } from "./client.js";
import { Consumer } from "./consumer.js";
import { fromDocument, sequence, toDocument } from "./documents.js";
import { natsError } from "./errors.js";
import { whenForgotten } from "./forgotten.js";
import { type HeadersLike, packHeaders } from "./headers.js";
import type { AccountInfo, PublishAck, StreamConfig, StreamInfo } from "./jetstream_types.js";
import { ask, called, Failed, queue, run, wait } from "./lane.js";
import type { Payload } from "./message.js";
import { EMPTY, native } from "./native.js";
import { Stream } from "./stream.js";
import type { WaitOptions } from "./taking.js";

/** Which JetStream is meant. */
export interface JetStreamOptions {
  /** The JetStream domain. */
  domain?: string;
  /** The prefix of its API instead, such as `$JS.hub.API`. */
  prefix?: string;
}

/** What a publish to a stream may ask for. */
export interface JetStreamPublishOptions extends WaitOptions {
  /** Its headers. */
  headers?: HeadersLike;
  /** Id of the message: a second one with the same id is a duplicate. Makes a time-out safe to retry. */
  id?: string;
  /** The stream that must store it. */
  expectedStream?: string;
  /** The last sequence that the stream must have. */
  expectedLastSequence?: number;
  /** The last sequence that the subject must have; 0: it must have none. */
  expectedLastSubjectSequence?: number;
  /** The subject that `expectedLastSubjectSequence` is about, when it is another one; wildcards allowed. */
  expectedLastSubject?: string;
  /** The id that the last message must have. */
  expectedLastMessageId?: string;
  /** How long the stream keeps the message. Milliseconds. */
  ttl?: number;
  /** How long to wait for the ack. Milliseconds. */
  timeout?: number | undefined;
}

/** Where acks are written, one at a time. */
const ackRoom = Buffer.allocUnsafeSlow(2048);
const NO_VALUE = 0xffff_ffff;

function finishAck(id: number): PublishAck {
  native.finishAck(id, ackRoom);
  let at = 24;
  const text = (length: number): string => ackRoom.toString("utf8", at, (at += length));
  const ack: PublishAck = {
    sequence: sequence(ackRoom.readUInt32LE(0) + ackRoom.readUInt32LE(4) * 0x1_0000_0000),
    duplicate: ackRoom.readUInt32LE(8) !== 0,
    stream: text(ackRoom.readUInt32LE(12)),
  };
  const domain = ackRoom.readUInt32LE(16);
  if (domain > 0) ack.domain = text(domain);
  const value = ackRoom.readUInt32LE(20);
  if (value !== NO_VALUE) ack.value = text(value);
  return ack;
}

/** The JetStream of a connection. Made by `client.jetstream()`, without asking the server. */
export class JetStream {
  /** @internal */
  readonly _client: Client;
  /** @internal */
  readonly _handle: number;

  private constructor(client: Client, { domain, prefix }: JetStreamOptions) {
    this._client = client;
    if (domain === undefined && prefix === undefined) {
      this._handle = client._handle;
    } else {
      this._handle = called(() => native.jetstream(client._handle, toDocument({ domain, prefix })));
      whenForgotten(this, { handle: this._handle });
    }
  }

  /** @internal */
  static _open(client: Client, options: JetStreamOptions): JetStream {
    return new JetStream(client, options);
  }

  /** Publishes and waits for the stream's ack. With an `id` the stream stores it once, however often it is sent. */
  async publish(subject: string, payload: Payload = EMPTY, options?: JetStreamPublishOptions): Promise<PublishAck> {
    const signal = options?.signal;
    signal?.throwIfAborted();
    const outcome = await wait(this.#startPublish(subject, payload, options), finishAck, signal);
    if (outcome instanceof Failed) throw outcome.error();
    return outcome;
  }

  #startPublish(subject: string, payload: Payload, options: JetStreamPublishOptions | undefined): number {
    try {
      if (options === undefined) {
        return native.startJsPublish(queue, this._handle, subject, EMPTY, payload, undefined);
      }
      const { headers, signal: _, ...rest } = options;
      const document = Object.keys(rest).length === 0 ? undefined : toDocument(rest);
      return native.startJsPublish(queue, this._handle, subject, packHeaders(headers), payload, document);
    } catch (thrown) {
      throw natsError(thrown);
    }
  }

  /** What the account uses and may use. */
  async accountInfo(options: WaitOptions = {}): Promise<AccountInfo> {
    return fromDocument(await ask(this._handle, "js.account_info", "{}", options.signal));
  }

  /** Makes a stream. The same again succeeds; another of that name is `already_exists`. */
  createStream(config: StreamConfig, options: WaitOptions = {}): Promise<Stream> {
    return this.#stream("js.create_stream", config, options);
  }

  /** Changes a stream. */
  updateStream(config: StreamConfig, options: WaitOptions = {}): Promise<Stream> {
    return this.#stream("js.update_stream", config, options);
  }

  /** Makes or changes a stream. */
  createOrUpdateStream(config: StreamConfig, options: WaitOptions = {}): Promise<Stream> {
    return this.#stream("js.create_or_update_stream", config, options);
  }

  /** Deletes a stream with its messages. */
  async deleteStream(name: string, options: WaitOptions = {}): Promise<void> {
    await run(this._handle, "js.delete_stream", toDocument({ stream: name }), options.signal);
  }

  /** A handle, made without asking the server. */
  stream(name: string): Stream {
    return Stream._of(this, name, undefined);
  }

  /** A handle, made without asking the server. */
  consumer(stream: string, name: string): Consumer {
    return Consumer._of(this, stream, name, undefined);
  }

  async #stream(verb: string, config: StreamConfig, { signal }: WaitOptions): Promise<Stream> {
    const info = fromDocument<StreamInfo>(await ask(this._handle, verb, toDocument(config), signal));
    return Stream._of(this, info.config.name, info);
  }
}
