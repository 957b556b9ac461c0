/** A NATS server in this process: for tests and small installations. */

import { inspect } from "node:util";

import { Hold } from "./alive.js";
import type { CredentialsInfo, NamespaceInfo } from "./client_types.js";
import { Credentials } from "./credentials.js";
import { fromDocument, toDocument } from "./documents.js";
import { type Remains, whenForgotten } from "./forgotten.js";
import { ask, called, open, run } from "./lane.js";
import { native } from "./native.js";
import type { WaitOptions } from "./taking.js";

/** How to start a broker. Without anything: in memory, on a free port of this machine, for everybody on it. */
export interface BrokerOptions {
  /** A configuration file in nats-server's language; the other options win over it. */
  configFile?: string;
  /** Name of the server. */
  serverName?: string;
  /** Address to listen on; this machine only unless clients must authenticate. */
  host?: string;
  /** Port to listen on; absent or 0 for a free one. */
  port?: number;
  /** Port of the monitoring pages; 0 for a free one, absent for none. */
  monitorPort?: number;
  /** False: without JetStream. */
  jetstream?: boolean;
  /** Folder of the store: what was acknowledged survives a crash. Absent: everything is in memory and gone in the end. */
  storeDir?: string;
  /** The JetStream domain. */
  domain?: string;
  /** Sync the disk at this interval instead of before each ack: the last moments can be lost with the power. Milliseconds. */
  syncInterval?: number;
  /** Namespaces and their credentials; every client needs credentials then. */
  namespaces?: boolean;
  /** Folder of the namespaces' keys; `storeDir` unless given. */
  namespacesDir?: string;
  /** The one user that may connect, with `password`. */
  user?: string;
  /** Password of `user`. */
  password?: string;
  /** The token that clients must give. */
  token?: string;
  /** Largest payload in bytes. */
  maxPayload?: number;
  /** File that is logged to; absent: no log. */
  logFile?: string;
  /** Gives up starting. */
  signal?: AbortSignal | undefined;
}

/** Like a listening socket, a running broker that keeps the process alive is not forgotten. */
const running = new Set<Broker>();

/** A NATS-compatible server in this process. Made by `Broker.start()`. It keeps the process alive until it is stopped. */
export class Broker implements AsyncDisposable {
  readonly #hold: Hold;
  readonly #remains: Remains;

  private constructor(handle: number, hold: Hold) {
    this.#hold = hold;
    this.#remains = { handle, hold };
    whenForgotten(this, this.#remains);
    running.add(this);
  }

  /** Starts one. */
  static async start(options: BrokerOptions = {}): Promise<Broker> {
    const { signal, ...rest } = options;
    const hold = new Hold();
    hold.take();
    try {
      return new Broker(await open(0, "broker.start", toDocument(rest), signal), hold);
    } catch (error) {
      hold.drop();
      throw error;
    }
  }

  /** Where clients connect. */
  get url(): string {
    return fromDocument(this.#info("url"));
  }

  /** Where monitoring answers, if anywhere. */
  get monitorUrl(): string | undefined {
    return fromDocument<string | null>(this.#info("monitor_url")) ?? undefined;
  }

  /** Makes a namespace. */
  async createNamespace(name: string, options: WaitOptions = {}): Promise<NamespaceInfo> {
    return fromDocument(await this.#ask("broker.create_namespace", { name }, options));
  }

  /** All namespaces. */
  async namespaces(options: WaitOptions = {}): Promise<NamespaceInfo[]> {
    return fromDocument(await this.#ask("broker.list_namespaces", {}, options));
  }

  /** Deletes a namespace with its streams and credentials; its clients are disconnected. */
  async deleteNamespace(name: string, options: WaitOptions = {}): Promise<void> {
    await this.#ask("broker.delete_namespace", { name }, options);
  }

  /** Makes credentials: all rights in their namespace, none elsewhere. They are given out this once. */
  async createCredentials(namespace: string, name: string, options: WaitOptions = {}): Promise<Credentials> {
    const text = await this.#ask("broker.create_credentials", { namespace, name }, options);
    return Credentials._made(fromDocument<CredentialsInfo>(text).credsText ?? "", name, namespace);
  }

  /** What credentials a namespace has, without their secrets. */
  async credentials(namespace: string, options: WaitOptions = {}): Promise<CredentialsInfo[]> {
    return fromDocument(await this.#ask("broker.list_credentials", { namespace }, options));
  }

  /** Deletes credentials; their clients are disconnected. */
  async deleteCredentials(namespace: string, name: string, options: WaitOptions = {}): Promise<void> {
    await this.#ask("broker.delete_credentials", { namespace, name }, options);
  }

  /** Ends it; what was acknowledged is on disk. Again is nothing. */
  async stop(): Promise<void> {
    await Hold.during(run(this.#remains.handle, "broker.stop"));
    this.#remains.over = true;
    this.unref();
  }

  /** This broker no longer keeps the process alive, and is stopped when it is forgotten. */
  unref(): this {
    this.#hold.drop();
    running.delete(this);
    return this;
  }

  /** This broker keeps the process alive until it is stopped, as it does from the start. */
  ref(): this {
    if (this.#remains.over === true) return this;
    this.#hold.take();
    running.add(this);
    return this;
  }

  /** Stops it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #ask(verb: string, what: object, { signal }: WaitOptions): Promise<string> {
    return ask(this.#remains.handle, verb, toDocument(what), signal);
  }

  #info(what: string): string {
    return called(() => native.info(this.#remains.handle, what));
  }

  /** @internal */
  [inspect.custom](): string {
    return this.#remains.over === true ? "Broker { stopped }" : `Broker { ${this.url} }`;
  }
}
