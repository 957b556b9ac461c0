/** Documents of the client and the broker. */

/** Everything that connect can be told. Absent fields get core's defaults, see the documentation of each language. */
export interface ConnectOptions {
  /** The server pool, `nats://host:port`, `tls://`, `ws://`, `wss://` or `unix://`; none means `nats://localhost:4222`. */
  servers?: string[];
  /** The name that the server shows for this connection. */
  name?: string;
  /** User name, with `password`. */
  user?: string;
  /** Password of `user`. */
  password?: string;
  /** A token instead of user and password. */
  token?: string;
  /** The seed of a user NKey (`SU...`). */
  nkeySeed?: string;
  /** Path of a credentials file, read again at each connect. */
  credsFile?: string;
  /** The text of a credentials file. */
  credsText?: string;
  /** How TLS is done. */
  tls?: TlsOptions;
  /** For each attempt: name lookup, TCP, TLS and handshake together. Milliseconds. */
  connectTimeout?: number;
  /** False: the client closes when its connection breaks. */
  reconnect?: boolean;
  /** The first delay between attempts; doubles with full jitter. Milliseconds. */
  reconnectDelay?: number;
  /** The longest delay between attempts. Milliseconds. */
  reconnectDelayMax?: number;
  /** Attempts after a break before the client closes; none means for ever. */
  maxReconnects?: number;
  /** How often a silent server is pinged. Milliseconds. */
  pingInterval?: number;
  /** Unanswered intervals before the connection counts as broken. */
  maxPingsOut?: number;
  /** A write that makes no progress for this long breaks the connection. Milliseconds. */
  writeTimeout?: number;
  /** Bytes of the outbound buffer from which publishing waits. */
  outboundMark?: number;
  /** Bytes of the outbound buffer from which publishing is refused with `busy`. */
  outboundLimit?: number;
  /** How long publishing waits for room. Milliseconds. */
  publishTimeout?: number;
  /** How long a request waits for its answer, and `flush` for its PONG. Milliseconds. */
  requestTimeout?: number;
  /** How long `subscribe` waits for the server's confirmation. Milliseconds. */
  subscribeTimeout?: number;
  /** How long `drain` may take. Milliseconds. */
  drainTimeout?: number;
  /** False: publishing while disconnected fails with `connection` at once. */
  bufferWhileDisconnected?: boolean;
  /** Connect gives a client even when no server answered, and goes on in the background. */
  retryOnFailedConnect?: boolean;
  /** The server does not send us what we published ourselves. */
  noEcho?: boolean;
  /** Where reply subjects begin. */
  inboxPrefix?: string;
  /** Servers that the cluster tells about are not added to the pool. */
  ignoreDiscoveredServers?: boolean;
  /** Servers are tried in the order given instead of a random one. */
  keepServerOrder?: boolean;
  /** Messages that each subscription keeps unless it says otherwise. */
  pendingMessages?: number;
  /** Bytes that each subscription keeps unless it says otherwise. */
  pendingBytes?: number;
}

/** How TLS is done. */
export interface TlsOptions {
  /** TLS or nothing, also for `nats://` and for discovered servers. */
  required?: boolean;
  /** Certificates to trust instead of the system's, as PEM text. */
  caPem?: string;
  /** Certificates to trust instead of the system's, as a PEM file. */
  caFile?: string;
  /** Our own certificate chain, as a PEM file. */
  certFile?: string;
  /** The key of our certificate, as a PEM file. */
  keyFile?: string;
  /** Our own certificate chain, as PEM text. */
  certPem?: string;
  /** The key of our certificate, as PEM text. */
  keyPem?: string;
  /** TLS from the first byte; the server must be configured for it. */
  handshakeFirst?: boolean;
  /** The name to expect in the server's certificate instead of the URL's host. */
  serverName?: string;
}

/** What became of everything published: `published = flushed + unknown + dropped + pending`. */
export interface PublishCounts {
  /** Accepted. */
  published: number;
  /** Processed by the server. */
  flushed: number;
  /** Written, then the connection broke: the server may have it. */
  unknown: number;
  /** Given up. */
  dropped: number;
  /** Still ours or not confirmed yet. */
  pending: number;
  /** Refused by the server for lack of permission (these count as flushed as well). */
  rejected: number;
}

/** Counters of a client since it was made. */
export interface Stats {
  /** Messages received, also those that an inbox had no room for. */
  inMessages: number;
  /** Bytes read from the connection, as plain text. */
  inBytes: number;
  /** Messages published. */
  outMessages: number;
  /** Bytes written to the connection, as plain text. */
  outBytes: number;
  /** Messages dropped because an inbox was full. */
  droppedMessages: number;
  /** Frames skipped because their subject was not readable text. */
  unreadable: number;
  /** Successful connects, the first one included. */
  connects: number;
  /** Bytes that wait in the outbound buffer. */
  bufferedBytes: number;
  /** Requests that wait for their answer. */
  requestsWaiting: number;
  /** Open subscriptions. */
  subscriptions: number;
  /** What became of what was published. */
  publishes: PublishCounts;
}

/** Counters of one subscription since it was made. */
export interface SubscriptionStats {
  /** Messages that wait to be taken. */
  pending: number;
  /** Bytes that wait to be taken. */
  pendingBytes: number;
  /** Messages that came from the server. */
  received: number;
  /** Messages handed out. */
  delivered: number;
  /** Messages handed out and not yet reported as handled. */
  unhandled: number;
  /** Messages dropped because there was no room. */
  dropped: number;
}

/** What the server said of itself last. */
export interface ServerInfo {
  /** The server's id. */
  serverId: string;
  /** The server's name. */
  serverName: string;
  /** The server's version. */
  version: string;
  /** The protocol version. */
  proto: number;
  /** Where it listens, as it sees itself. */
  host: string;
  /** The port it listens on. */
  port: number;
  /** Whether it takes message headers. */
  headers: boolean;
  /** The largest message, headers included. */
  maxPayload: number;
  /** Whether JetStream is on. */
  jetstream: boolean;
  /** This connection's number. */
  clientId: number;
  /** Our address as the server sees it. */
  clientIp: string;
  /** The name of its cluster; empty without one. */
  cluster: string;
  /** The JetStream domain; empty without one. */
  domain: string;
  /** Whether credentials are needed. */
  authRequired: boolean;
  /** Whether TLS is needed. */
  tlsRequired: boolean;
  /** Whether TLS is possible. */
  tlsAvailable: boolean;
  /** Whether a client certificate is needed. */
  tlsVerify: boolean;
  /** Other servers of the cluster. */
  connectUrls: string[];
  /** Whether it will go away soon. */
  lameDuck: boolean;
}

/** Something that happened to a client. `kind` says what; the other fields are there when they belong to it. */
export interface Event {
  /** `connected` `disconnected` `reconnecting` `lame_duck` `slow_consumer` `permission_denied` `auth_expired` `server_error` `servers_changed` `closed`, or what a newer version knows. */
  kind: string;
  /** Why: `disconnected`, `closed` (absent when it was asked for). */
  reason?: string;
  /** The server, `host:port`: `connected`. */
  server?: string;
  /** Publishes that were written and not confirmed: `disconnected`. */
  unknown?: number;
  /** Publishes that are kept for the next connection: `disconnected`. */
  pending?: number;
  /** Counted from 1 since the break: `reconnecting`. */
  attempt?: number;
  /** How long until the attempt begins: `reconnecting`. Milliseconds. */
  delay?: number;
  /** The subject: `slow_consumer`, `permission_denied`. */
  subject?: string;
  /** Messages dropped so far: `slow_consumer`. */
  dropped?: number;
  /** `publish` or `subscribe`: `permission_denied`. */
  operation?: string;
  /** The server's words: `server_error`. */
  text?: string;
  /** The servers of the cluster: `servers_changed`. */
  servers?: string[];
}

/** A namespace: an account with its own subjects and streams. */
export interface NamespaceInfo {
  /** Its id: the account's public key. */
  id: string;
  /** Its name. */
  name: string;
  /** When it was made. */
  created?: Date;
}

/** Credentials of a namespace. */
export interface CredentialsInfo {
  /** Their id, a UUID. */
  id: string;
  /** Their name. */
  name: string;
  /** Name of the namespace. */
  namespace: string;
  /** Id of the namespace. */
  namespaceId: string;
  /** The user's public key. */
  publicKey: string;
  /** When they were made. */
  created?: Date;
  /** The text of the credentials file: a secret, given once, when they are made. */
  credsText?: string;
}

