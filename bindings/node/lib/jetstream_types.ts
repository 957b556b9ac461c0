/** Documents of JetStream: configurations, and what the server says of streams, consumers and the account. */

/** Where a consumer begins. */
export type DeliverPolicy = "all" | "last" | "new" | "by_start_sequence" | "by_start_time" | "last_per_subject" | (string & {});

/** How messages are acknowledged. */
export type AckPolicy = "explicit" | "all" | "none" | "flow_control" | (string & {});

/** How fast stored messages are delivered. */
export type ReplayPolicy = "instant" | "original" | (string & {});

/** Which of several clients of a consumer is served. */
export type PriorityPolicy = "none" | "overflow" | "pinned_client" | "prioritized" | (string & {});

/** When a stream lets messages go. */
export type RetentionPolicy = "limits" | "interest" | "workqueue" | (string & {});

/** Where a stream keeps its messages. */
export type StorageType = "file" | "memory" | (string & {});

/** What happens at a limit. */
export type DiscardPolicy = "old" | "new" | (string & {});

/** How a stream's messages are compressed on disk. */
export type Compression = "none" | "s2" | (string & {});

/** When a publish to a stream is acknowledged. */
export type PersistMode = "default" | "async" | (string & {});

/** The configuration of a consumer. Absent fields get the server's defaults. */
export interface ConsumerConfig {
  /** Name of a consumer that stays. */
  durable?: string;
  /** Name of a consumer that goes when it is not used. */
  name?: string;
  /** What it is for. */
  description?: string;
  /** Where it begins. */
  deliverPolicy?: DeliverPolicy;
  /** Sequence to begin with. */
  startSequence?: number;
  /** Time to begin with. */
  startTime?: Date;
  /** How messages are acknowledged. */
  ackPolicy?: AckPolicy;
  /** How long it waits for an ack before it delivers again. Milliseconds. */
  ackWait?: number;
  /** Most deliveries of one message; -1 for no limit. */
  maxDeliver?: number;
  /** Waits before each further delivery. Milliseconds. */
  backoff?: number[];
  /** Only this subject. */
  filterSubject?: string;
  /** Only these subjects. */
  filterSubjects?: string[];
  /** How fast stored messages are delivered. */
  replayPolicy?: ReplayPolicy;
  /** Bits per second for a push consumer. */
  rateLimit?: number;
  /** Share of acks that are sampled, in percent. */
  sampleFrequency?: number;
  /** Most pull requests that may wait. */
  maxWaiting?: number;
  /** Most messages that may wait for their ack; -1 for no limit. */
  maxAckPending?: number;
  /** Only headers are delivered. */
  headersOnly?: boolean;
  /** Most messages of one pull request. */
  maxBatch?: number;
  /** Longest time of one pull request. Milliseconds. */
  maxExpires?: number;
  /** Most bytes of one pull request. */
  maxBytes?: number;
  /** How long it stays unused. Milliseconds. */
  inactiveThreshold?: number;
  /** Copies in a cluster; 0 as the stream. */
  numReplicas?: number;
  /** Its state is kept in memory. */
  memoryStorage?: boolean;
  /** Nothing is delivered until then. */
  pauseUntil?: Date;
  /** Groups of clients. */
  priorityGroups?: string[];
  /** Which client of a group is served. */
  priorityPolicy?: PriorityPolicy;
  /** How long a pinned client may be silent. Milliseconds. */
  priorityTimeout?: number;
  /** Subject that a push consumer delivers to. */
  deliverSubject?: string;
  /** Queue group of a push consumer. */
  deliverGroup?: string;
  /** A push consumer waits for the client. */
  flowControl?: boolean;
  /** How often a quiet push consumer says that it lives. Milliseconds. */
  idleHeartbeat?: number;
  /** Notes of the user. */
  metadata?: Record<string, string>;
  /** Fields that this version does not know; they are sent back. */
  extra?: Record<string, unknown>;
}

/** A consumer as the server sees it. */
export interface ConsumerInfo {
  /** Its stream. */
  stream: string;
  /** Its name. */
  name: string;
  /** When it was made. */
  created?: Date;
  /** Its configuration, with the server's defaults. */
  config: ConsumerConfig;
  /** The last delivery. */
  delivered: SequenceInfo;
  /** Up to where everything is acknowledged. */
  ackFloor: SequenceInfo;
  /** Delivered messages that wait for their ack. */
  numAckPending: number;
  /** Messages that were delivered more than once. */
  numRedelivered: number;
  /** Pull requests that wait. */
  numWaiting: number;
  /** Messages not delivered yet. */
  numPending: number;
  /** Its place in the cluster. */
  cluster?: ClusterInfo;
  /** A client listens to this push consumer. */
  pushBound: boolean;
  /** It is paused. */
  paused: boolean;
  /** How long it stays paused. Milliseconds. */
  pauseRemaining?: number;
  /** The server's time of this answer. */
  timestamp?: Date;
  /** Fields that this version does not know. */
  extra: Record<string, unknown>;
}

/** A position of a consumer. */
export interface SequenceInfo {
  /** Sequence of the delivery. */
  consumerSequence: number;
  /** Sequence in the stream. */
  streamSequence: number;
  /** When it last moved. */
  lastActive?: Date;
}

/** The configuration of a stream. Absent fields get the server's defaults. */
export interface StreamConfig {
  /** Name of the stream. */
  name: string;
  /** What it is for. */
  description?: string;
  /** The subjects it stores; wildcards allowed. */
  subjects?: string[];
  /** When messages are let go. */
  retention?: RetentionPolicy;
  /** Where messages are kept. */
  storage?: StorageType;
  /** What happens at a limit. */
  discard?: DiscardPolicy;
  /** With `discard` new: also refuse when the limit of one subject is reached. */
  discardNewPerSubject?: boolean;
  /** Most messages; -1 for no limit. */
  maxMessages?: number;
  /** Most messages of one subject; -1 for no limit. */
  maxMessagesPerSubject?: number;
  /** Most bytes; -1 for no limit. */
  maxBytes?: number;
  /** Oldest a message may get; 0 for no limit. Milliseconds. */
  maxAge?: number;
  /** Largest message in bytes; -1 for no limit. */
  maxMessageSize?: number;
  /** Most consumers; -1 for no limit. */
  maxConsumers?: number;
  /** Copies in a cluster, 1 to 5. */
  numReplicas?: number;
  /** Publishes are not acknowledged. */
  noAck?: boolean;
  /** How long message ids are remembered to find duplicates. Milliseconds. */
  duplicateWindow?: number;
  /** Compression on disk. */
  compression?: Compression;
  /** Sequence of the first message. */
  firstSequence?: number;
  /** Nothing can be added or removed any more. */
  sealed?: boolean;
  /** Messages cannot be deleted one by one. */
  denyDelete?: boolean;
  /** The stream cannot be purged. */
  denyPurge?: boolean;
  /** A message may replace all before it (`Nats-Rollup`). */
  allowRollup?: boolean;
  /** Messages can be read from any replica. */
  allowDirect?: boolean;
  /** Messages of the mirrored stream can be read from here. */
  mirrorDirect?: boolean;
  /** The stream that this one copies. */
  mirror?: StreamSource;
  /** The streams that this one gathers. */
  sources?: StreamSource[];
  /** Where in a cluster it lives. */
  placement?: Placement;
  /** Stored messages are published again under another subject. */
  republish?: Republish;
  /** Messages are stored under another subject. */
  subjectTransform?: SubjectTransform;
  /** Limits that its consumers inherit. */
  consumerLimits?: ConsumerLimits;
  /** Messages may have a time to live of their own (`Nats-TTL`). */
  allowMessageTtl?: boolean;
  /** How long the mark of a message that aged out stays. Milliseconds. */
  subjectDeleteMarkerTtl?: number;
  /** Messages may be counters (`Nats-Incr`). */
  allowMessageCounter?: boolean;
  /** Messages may be schedules. */
  allowMessageSchedules?: boolean;
  /** Batches may be published atomically. */
  allowAtomicPublish?: boolean;
  /** Batches may be published fast. */
  allowBatchedPublish?: boolean;
  /** When a publish is acknowledged. */
  persistMode?: PersistMode;
  /** Notes of the user. */
  metadata?: Record<string, string>;
  /** Fields that this version does not know; they are sent back. */
  extra?: Record<string, unknown>;
}

/** Another stream that messages come from. */
export interface StreamSource {
  /** Name of the stream. */
  name: string;
  /** Sequence to begin with. */
  startSequence?: number;
  /** Time to begin with. */
  startTime?: Date;
  /** Only these subjects. */
  filterSubject?: string;
  /** Subjects that are taken, and what they become. */
  subjectTransforms?: SubjectTransform[];
  /** The stream is in another account or domain. */
  external?: ExternalStream;
  /** Fields that this version does not know; they are sent back. */
  extra?: Record<string, unknown>;
}

/** Where a stream of another account or domain is reached. */
export interface ExternalStream {
  /** Prefix of its API, such as `$JS.hub.API`. */
  apiPrefix: string;
  /** Prefix that its messages are delivered under. */
  deliverPrefix?: string;
  /** Fields that this version does not know; they are sent back. */
  extra?: Record<string, unknown>;
}

/** A subject and what it becomes. */
export interface SubjectTransform {
  /** The subject as published; wildcards allowed. */
  source: string;
  /** What it becomes; `{{wildcard(1)}}` and the other functions of NATS. */
  destination: string;
  /** Fields that this version does not know; they are sent back. */
  extra?: Record<string, unknown>;
}

/** Where in a cluster a stream lives. */
export interface Placement {
  /** Name of the cluster. */
  cluster?: string;
  /** Tags that its servers must have. */
  tags?: string[];
  /** Fields that this version does not know; they are sent back. */
  extra?: Record<string, unknown>;
}

/** Stored messages are published again. */
export interface Republish {
  /** The subjects that are published again. */
  source: string;
  /** The subject they get. */
  destination: string;
  /** Only the headers are published. */
  headersOnly?: boolean;
  /** Fields that this version does not know; they are sent back. */
  extra?: Record<string, unknown>;
}

/** Limits that the consumers of a stream inherit. */
export interface ConsumerLimits {
  /** How long an unused consumer stays. Milliseconds. */
  inactiveThreshold?: number;
  /** Most messages that may wait for their ack. */
  maxAckPending?: number;
  /** Fields that this version does not know; they are sent back. */
  extra?: Record<string, unknown>;
}

/** A stream as the server sees it. */
export interface StreamInfo {
  /** Its configuration, with the server's defaults. */
  config: StreamConfig;
  /** When it was made. */
  created?: Date;
  /** What it holds. */
  state: StreamState;
  /** Its place in the cluster. */
  cluster?: ClusterInfo;
  /** How its mirroring goes. */
  mirror?: SourceInfo;
  /** How its gathering goes. */
  sources: SourceInfo[];
  /** The server's time of this answer. */
  timestamp?: Date;
  /** Fields that this version does not know. */
  extra: Record<string, unknown>;
}

/** What a stream holds. */
export interface StreamState {
  /** Messages. */
  messages: number;
  /** Bytes. */
  bytes: number;
  /** Sequence of the first message. */
  firstSequence: number;
  /** When the first message was stored. */
  firstTimestamp?: Date;
  /** Sequence of the last message. */
  lastSequence: number;
  /** When the last message was stored. */
  lastTimestamp?: Date;
  /** Consumers. */
  consumerCount: number;
  /** Subjects that have messages. */
  numSubjects: number;
  /** Messages deleted in between. */
  numDeleted: number;
  /** Their sequences, when asked for. */
  deleted: number[];
  /** Messages by subject, when asked for. */
  subjects: Record<string, number>;
  /** Fields that this version does not know. */
  extra: Record<string, unknown>;
}

/** The place of a stream or consumer in a cluster. */
export interface ClusterInfo {
  /** Name of the cluster. */
  name?: string;
  /** Name of the leading server. */
  leader?: string;
  /** The other servers. */
  replicas: PeerInfo[];
  /** Fields that this version does not know. */
  extra: Record<string, unknown>;
}

/** One of the servers that keep a copy. */
export interface PeerInfo {
  /** Name of the server. */
  name: string;
  /** Whether it has everything. */
  current: boolean;
  /** Whether it cannot be reached. */
  offline: boolean;
  /** How long it was silent. Milliseconds. */
  active?: number;
  /** How many operations it is behind. */
  lag: number;
  /** Fields that this version does not know. */
  extra: Record<string, unknown>;
}

/** How the copying from another stream goes. */
export interface SourceInfo {
  /** Name of the stream. */
  name: string;
  /** How many messages are missing. */
  lag: number;
  /** How long it was silent; absent when it never was heard. Milliseconds. */
  active?: number;
  /** Only these subjects. */
  filterSubject?: string;
  /** Subjects that are taken, and what they become. */
  subjectTransforms: SubjectTransform[];
  /** Fields that this version does not know. */
  extra: Record<string, unknown>;
}

/** What a stream says of a message that it stored. */
export interface PublishAck {
  /** The stream. */
  stream: string;
  /** Its sequence in the stream. */
  sequence: number;
  /** It was there already, by its id. */
  duplicate: boolean;
  /** The JetStream domain. */
  domain?: string;
  /** The new value of a counter. */
  value?: string;
}

/** What an account has of JetStream, and uses of it. */
export interface AccountInfo {
  /** Bytes in memory. */
  memory: number;
  /** Bytes on disk. */
  storage: number;
  /** Bytes in memory set aside for its streams. */
  reservedMemory: number;
  /** Bytes on disk set aside for its streams. */
  reservedStorage: number;
  /** Streams. */
  streams: number;
  /** Consumers. */
  consumers: number;
  /** The JetStream domain. */
  domain?: string;
  /** Its limits. */
  limits: AccountLimits;
  /** Its API requests. */
  api: ApiStats;
  /** Limits and usage by tier. */
  tiers: Record<string, AccountTier>;
  /** Fields that this version does not know. */
  extra: Record<string, unknown>;
}

/** Limits of JetStream; -1 for no limit. */
export interface AccountLimits {
  /** Bytes in memory. */
  maxMemory: number;
  /** Bytes on disk. */
  maxStorage: number;
  /** Streams. */
  maxStreams: number;
  /** Consumers. */
  maxConsumers: number;
  /** Most `max_ack_pending` of a consumer. */
  maxAckPending: number;
  /** Bytes of one stream in memory. */
  memoryMaxStreamBytes: number;
  /** Bytes of one stream on disk. */
  storageMaxStreamBytes: number;
  /** Streams must say `max_bytes`. */
  maxBytesRequired: boolean;
  /** Fields that this version does not know. */
  extra: Record<string, unknown>;
}

/** What an account asked of the JetStream API. */
export interface ApiStats {
  /** Requests. */
  total: number;
  /** Requests that failed. */
  errors: number;
  /** The server's level of the API. */
  level: number;
  /** Requests in flight. */
  inflight: number;
}

/** Usage and limits of one tier (replication). */
export interface AccountTier {
  /** Bytes in memory. */
  memory: number;
  /** Bytes on disk. */
  storage: number;
  /** Bytes in memory set aside for its streams. */
  reservedMemory: number;
  /** Bytes on disk set aside for its streams. */
  reservedStorage: number;
  /** Streams. */
  streams: number;
  /** Consumers. */
  consumers: number;
  /** Its limits. */
  limits: AccountLimits;
}

