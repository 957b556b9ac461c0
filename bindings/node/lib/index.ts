/**
 * NATS for Node.js: publish and subscribe, request and reply, JetStream; and a broker in the package for tests.
 *
 *     const client = await connect("nats://localhost:4222");
 *     client.publish("greet.joe", "hello");
 */

/// <reference lib="esnext.disposable" preserve="true" />

import "./dispose.js";
import { native } from "./native.js";

export { Broker, type BrokerOptions } from "./broker.js";
export { Client, connect, type ConnectOptions, type PublishOptions, type RequestOptions } from "./client.js";
export type {
  CredentialsInfo,
  Event,
  NamespaceInfo,
  PublishCounts,
  ServerInfo,
  Stats,
  SubscriptionStats,
  TlsOptions,
} from "./client_types.js";
export { Consumer, type ConsumeOptions, Consumption, type FetchOptions, type PriorityOptions } from "./consumer.js";
export { Credentials } from "./credentials.js";
export { type ErrorCode, type ErrorDetail, NatsError } from "./errors.js";
export type { Events } from "./events.js";
export { Headers, type HeadersLike } from "./headers.js";
export { JetStream, type JetStreamOptions, type JetStreamPublishOptions } from "./jetstream.js";
export type * from "./jetstream_types.js";
export {
  type AnyMessage,
  JetStreamMessage,
  Message,
  type MessageMetadata,
  type Payload,
  StoredMessage,
} from "./message.js";
export { type MessageKey, type PurgeOptions, Stream } from "./stream.js";
export { type SubscribeOptions, Subscription } from "./subscription.js";
export type { Taking, WaitOptions } from "./taking.js";

/** The version of this package. */
export const version: string = native.version();
