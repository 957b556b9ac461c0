/** Loads the native part. Private: everything here is called by the facade only. */

import { createRequire } from "node:module";

/** Bytes of the pool that were written, or a buffer of its own for a large batch. */
export type Packed = number | Buffer;

/** The functions of the addon, see `src/`. Handles, ids and queues are numbers. */
export interface Native {
  version(): string;
  queueNew(wake: () => void): number;
  queueDrain(queue: number, out: Float64Array): number;
  queueClose(queue: number): void;
  start(queue: number, target: number, verb: string, document: string): number;
  finish(id: number): number | string | undefined;
  cancel(id: number): void;
  jetstream(client: number, document: string): number;
  info(handle: number, what: string): string;
  takeEvents(handle: number, most: number): [string[], number];
  closeHandle(handle: number): void;
  openHandles(): number;
  injectPanic(): void;
  publish(client: number, subject: string, payload: Uint8Array): boolean;
  publishText(client: number, subject: string, payload: string): boolean;
  publishFull(
    client: number,
    subject: string,
    reply: string | undefined,
    headers: Uint8Array,
    payload: Uint8Array | string,
  ): boolean;
  respond(
    client: number,
    slab: Buffer,
    at: number,
    length: number,
    headers: Uint8Array,
    payload: Uint8Array | string,
  ): boolean;
  startRequest(
    queue: number,
    client: number,
    subject: string,
    headers: Uint8Array,
    payload: Uint8Array | string,
    timeout: number,
  ): number;
  startJsPublish(
    queue: number,
    target: number,
    subject: string,
    headers: Uint8Array,
    payload: Uint8Array | string,
    options: string | undefined,
  ): number;
  finishAck(id: number, out: Buffer): number;
  take(handle: number, maxMessages: number, maxBytes: number, done: number, pool: Buffer, at: number): Packed;
  finishMessages(id: number, pool: Buffer, at: number): Packed;
  startReady(queue: number, handle: number): number;
  settle(
    client: number,
    slab: Buffer,
    at: number,
    length: number,
    state: number,
    verb: number,
    argument: string | undefined,
  ): number;
  startAckSync(
    queue: number,
    client: number,
    slab: Buffer,
    at: number,
    length: number,
    state: number,
    timeout: number,
  ): number;
}

const PACKAGES: Record<string, string> = { "linux-x64": "@natsune/linux-x64-gnu" };

function load(): Native {
  const require = createRequire(__filename);
  const override = process.env["NATSUNE_NATIVE"];
  if (override !== undefined && override !== "") return require(override) as Native;
  const platform = `${process.platform}-${process.arch}`;
  const name = PACKAGES[platform];
  if (name === undefined) {
    const list = Object.keys(PACKAGES).join(", ");
    throw new Error(`natsune has no native part for ${platform}; there is one for: ${list} (with glibc)`);
  }
  try {
    return require(name) as Native;
  } catch (cause) {
    throw new Error(
      `natsune cannot load its native part, the package ${name} (Linux on x86-64 with glibc). ` +
        "Was it left out at installation (--omit=optional, or node_modules of another platform)? Install natsune again here.",
      { cause },
    );
  }
}

export const native = load();

/** No bytes. */
export const EMPTY = new Uint8Array(0);
