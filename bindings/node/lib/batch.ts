/** Batches as they cross: one buffer, an index in front, everything else read when it is asked for. */

import type { Client } from "./client.js";
import { sequence } from "./documents.js";
import type { Packed } from "./native.js";

/** It ended in good order. @internal */
export const ENDED = 2;

const HEAD = 16;
const NONE = 0xffff_ffff;
const POOL = 64 << 10;
/** A new pool is begun when less than this is left: the most that the native part writes to a pool. */
const ROOM = 16 << 10;
/** Subjects up to this length are compared with the one before. */
const COMPARED = 64;

/** Where small batches are written, one behind the other: a buffer for each would cost more than the messages. @internal */
class Pool {
  slab = Buffer.allocUnsafeSlow(POOL);
  at = 0;

  /** A place for the next batch. */
  begin(): void {
    if (POOL - this.at >= ROOM) return;
    this.slab = Buffer.allocUnsafeSlow(POOL);
    this.at = 0;
  }

  /** The batch that was written. */
  batch(packed: Packed, client: Client): Batch {
    if (typeof packed !== "number") return new Batch(packed, 0, client);
    const batch = new Batch(this.slab, this.at, client);
    if (batch.count > 0) this.at += (packed + 7) & ~7;
    return batch;
  }
}

/** @internal */
export const pool = new Pool();

/** Messages of one kind, packed. */
export class Batch {
  /** @internal */
  readonly count: number;
  /** @internal */
  readonly state: number;
  readonly #size: number;
  /** The subject that was asked for last: where it is, and its text. Most neighbours have the same. */
  #subjectAt = 0;
  #subjectLength = -1;
  #subject = "";

  /** @internal */
  constructor(
    /** @internal */
    readonly slab: Buffer,
    /** @internal */
    readonly base: number,
    /** @internal */
    readonly client: Client,
  ) {
    this.count = slab.readUInt32LE(base);
    this.state = slab.readUInt32LE(base + 4);
    this.#size = slab.readUInt32LE(base + 8);
  }

  /** The text of a subject. To compare short ones costs a tenth of making a string. @internal */
  subject(start: number, length: number): string {
    if (length === this.#subjectLength && this.#same(this.#subjectAt, start, length)) return this.#subject;
    this.#subject = this.slab.toString("utf8", start, start + length);
    this.#subjectLength = length <= COMPARED ? length : -1;
    this.#subjectAt = start;
    return this.#subject;
  }

  #same(one: number, other: number, length: number): boolean {
    const { slab } = this;
    for (let index = 0; index < length; index += 1) if (slab[one + index] !== slab[other + index]) return false;
    return true;
  }

  /** Where the entry of message `index` is. @internal */
  entry(index: number): number {
    return this.base + HEAD + index * this.#size;
  }
}

/** A message in its batch. @internal */
export interface Place {
  readonly _batch: Batch;
  /** Of its entry. */
  readonly _at: number;
}

// The fields of an entry: u32 offset, subject, reply, headers, payload (lengths), status, kind, 0; then of JetStream:
// u64 stream sequence, consumer sequence, delivered, pending, i64 time, u32 stream, consumer, domain (lengths), 0.

/** The subject. @internal */
export function subjectOf({ _batch: batch, _at: at }: Place): string {
  const { slab, base } = batch;
  return batch.subject(base + slab.readUInt32LE(at), slab.readUInt32LE(at + 4));
}

/** Length of the reply subject, -1 for none. @internal */
export function replyLength({ _batch: { slab }, _at: at }: Place): number {
  const length = slab.readUInt32LE(at + 8);
  return length === NONE ? -1 : length;
}

/** Where the reply subject begins. @internal */
export function replyStart({ _batch: { slab, base }, _at: at }: Place): number {
  return base + slab.readUInt32LE(at) + slab.readUInt32LE(at + 4);
}

/** Length of the packed headers. @internal */
export function headersLength({ _batch: { slab }, _at: at }: Place): number {
  return slab.readUInt32LE(at + 12);
}

/** Where the packed headers begin. @internal */
export function headersStart(place: Place): number {
  return replyStart(place) + Math.max(0, replyLength(place));
}

/** Length of the payload. @internal */
export function payloadLength({ _batch: { slab }, _at: at }: Place): number {
  return slab.readUInt32LE(at + 16);
}

/** Where the payload begins. @internal */
export function payloadStart(place: Place): number {
  return headersStart(place) + headersLength(place);
}

/** The status, 0 for none. @internal */
export function statusOf({ _batch: { slab }, _at: at }: Place): number {
  return slab.readUInt32LE(at + 20);
}

function unsigned({ _batch: { slab }, _at: at }: Place, field: number): number {
  return sequence(slab.readUInt32LE(at + field) + slab.readUInt32LE(at + field + 4) * 0x1_0000_0000);
}

/** @internal */
export const streamSequenceOf = (place: Place): number => unsigned(place, 32);
/** @internal */
export const consumerSequenceOf = (place: Place): number => unsigned(place, 40);
/** @internal */
export const deliveredOf = (place: Place): number => unsigned(place, 48);
/** @internal */
export const pendingOf = (place: Place): number => unsigned(place, 56);

/** When the stream stored it, nanoseconds since 1970. @internal */
export function nanosOf({ _batch: { slab }, _at: at }: Place): bigint {
  return slab.readBigInt64LE(at + 64);
}

/** Stream, consumer and domain. @internal */
export function namesOf(place: Place): [stream: string, consumer: string, domain: string] {
  const { slab } = place._batch;
  let start = payloadStart(place) + payloadLength(place);
  const next = (field: number): string => {
    const end = start + slab.readUInt32LE(place._at + field);
    const name = slab.toString("utf8", start, end);
    start = end;
    return name;
  };
  return [next(72), next(76), next(80)];
}
