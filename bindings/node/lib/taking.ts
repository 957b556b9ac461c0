/** What is taken in batches. The batch belongs to the object, never to an iterator: leaving a loop loses nothing. */

import { type Batch, ENDED, pool } from "./batch.js";
import type { Client } from "./client.js";
import { milliseconds } from "./documents.js";
import { natsError } from "./errors.js";
import { type Remains, whenForgotten } from "./forgotten.js";
import { Failed, give, queue, wait } from "./lane.js";
import type { Kind } from "./message.js";
import { native } from "./native.js";

/** The most messages that are taken at once. */
const BATCH = 256;
/** The most bytes that are taken at once (one larger message comes by itself). */
const BYTES = 4 << 20;
/** Milliseconds after which a loop that never waits lets everything else run. */
const SLICE = 1;
/** The longest time that a timer can wait. */
const LONGEST = 0x7fff_ffff;
/** What the native part can count to. */
const MOST = 0xffff_ffff;

const finishReady = (id: number): boolean => {
  native.finish(id);
  return true;
};

const immediate = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** How to wait. */
export interface WaitOptions {
  /** Rejects with the signal's own reason; what comes later is not lost. */
  signal?: AbortSignal | undefined;
}

/** Messages that come: iterate them, or ask for the next one. */
export abstract class Taking<M> implements AsyncIterable<M> {
  /** @internal */
  readonly _client: Client;
  /** @internal */
  readonly _remains: Remains;
  readonly #kind: Kind<M>;
  #batch: Batch | undefined;
  #next = 0;
  #count = 0;
  /** How many were taken last and not reported as handled yet. */
  #taken = 0;
  #over = false;
  #stopped = false;
  /** Messages handed out since the loop last waited, and when that was. */
  #unwaited = 0;
  #since = 0;

  /** @internal */
  protected constructor(client: Client, kind: Kind<M>, handle: number, warning?: string) {
    this._client = client;
    this.#kind = kind;
    this._remains = { handle, client: client._remains };
    if (warning !== undefined) this._remains.warning = warning;
    whenForgotten(this, this._remains);
  }

  /** Goes on where the last iteration was left; ends when this ends. */
  [Symbol.asyncIterator](): AsyncIterableIterator<M> {
    return new Messages(this, undefined);
  }

  /** The same with a signal: an abort makes the loop throw the signal's reason, and loses nothing. */
  messages(options: WaitOptions = {}): AsyncIterableIterator<M> {
    return new Messages(this, options.signal);
  }

  /** Lists of what is there, at most `max` messages each; ends as the iteration does. */
  batches(max = BATCH, options: WaitOptions = {}): AsyncIterableIterator<M[]> {
    return new Batches(this, Math.min(Math.max(1, max), MOST), options.signal);
  }

  /** The next message; undefined when none came within `timeout` milliseconds, or when it ended. */
  async next(options: WaitOptions & { timeout?: number | undefined } = {}): Promise<M | undefined> {
    const { signal, timeout } = options;
    signal?.throwIfAborted();
    const deadline = timeout === undefined ? undefined : performance.now() + milliseconds(timeout);
    for (;;) {
      const found = this._pop();
      if (found !== undefined) return found;
      const taken = this._fill(BATCH);
      if (taken === false) return undefined;
      if (taken === true) {
        await this._breathe();
        continue;
      }
      const left = deadline === undefined ? undefined : deadline - performance.now();
      if (left !== undefined && left <= 0) return undefined;
      await this._ready(signal, left);
    }
  }

  /** The next message of the batch. @internal */
  _pop(): M | undefined {
    if (this.#next >= this.#count || this.#batch === undefined) return undefined;
    const batch = this.#batch;
    const at = batch.entry(this.#next);
    this.#next += 1;
    if (this.#next === this.#count) this.#batch = undefined;
    return this.#kind._of(batch, at);
  }

  /** Takes what is there. True: something; false: it ended; undefined: nothing yet. @internal */
  _fill(most: number): boolean | undefined {
    if (this._left > 0) return true;
    // The batch is empty and more is asked for: all that was taken before has been handled.
    const done = this.#taken;
    this.#taken = 0;
    if (this.#over) {
      this.#handled(done);
      return false;
    }
    pool.begin();
    let batch;
    try {
      batch = pool.batch(native.take(this._handle, most, BYTES, done, pool.slab, pool.at), this._client);
    } catch (thrown) {
      this._remains.over = true;
      throw natsError(thrown);
    }
    const ended = batch.state === ENDED;
    if (ended) this._end();
    if (batch.count === 0) return ended ? false : undefined;
    this.#batch = batch;
    this.#next = 0;
    this.#taken = this.#count = batch.count;
    this.#unwaited += done;
    return true;
  }

  /** Says that the last ones were handled, too: a drain waits for that. */
  #handled(done: number): void {
    if (done === 0) return;
    try {
      native.take(this._handle, 1, 0, done, pool.slab, pool.at);
    } catch {
      // Closed: nobody wants to know.
    }
  }

  /** Waits until there may be something to take; false: not within `timeout`. @internal */
  async _ready(signal: AbortSignal | undefined, timeout?: number): Promise<boolean> {
    signal?.throwIfAborted();
    let id: number;
    try {
      id = native.startReady(queue, this._handle);
    } catch (thrown) {
      // Closed by ourselves in the meantime: the end, not a failure.
      if (this.#over) return true;
      throw natsError(thrown);
    }
    const timer = timeout === undefined ? undefined : setTimeout(give, Math.min(timeout, LONGEST), id, false);
    try {
      const outcome = await wait(id, finishReady, signal);
      if (!(outcome instanceof Failed)) return outcome;
      if (this.#over) return true;
      throw outcome.error();
    } finally {
      clearTimeout(timer);
      this.#unwaited = 0;
      this.#since = performance.now();
    }
  }

  /** Lets everything else run now and then, when a flood would keep the loop from it. @internal */
  async _breathe(): Promise<void> {
    if (this.#unwaited < BATCH && performance.now() - this.#since < SLICE) return;
    await immediate();
    this.#unwaited = 0;
    this.#since = performance.now();
  }

  /** How many wait in the batch. @internal */
  get _left(): number {
    return this.#count - this.#next;
  }

  /** @internal */
  get _handle(): number {
    return this._remains.handle;
  }

  /** Ended by `_stop`: there is nothing to ask any more. @internal */
  get _stopped(): boolean {
    return this.#stopped;
  }

  /** Nothing comes any more; what is in the batch is still given. @internal */
  _end(): void {
    this.#over = true;
    this._remains.over = true;
  }

  /** Ends it at once and gives back what was not handed out. @internal */
  _stop(): M[] {
    const left: M[] = [];
    for (let found = this._pop(); found !== undefined; found = this._pop()) left.push(found);
    this._end();
    this.#taken = 0;
    this.#stopped = true;
    native.closeHandle(this._handle);
    return left;
  }

  /** A loop over the messages was left. @internal */
  _leave(): void {
    // A subscription goes on; others end.
  }
}

/** A hand-written iterator: a generator would cost twice as much for each message. */
class Messages<M> implements AsyncIterableIterator<M> {
  readonly #of: Taking<M>;
  readonly #signal: AbortSignal | undefined;

  constructor(of: Taking<M>, signal: AbortSignal | undefined) {
    this.#of = of;
    this.#signal = signal;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<M, undefined>> {
    if (this.#signal === undefined) {
      const found = this.#of._pop();
      if (found !== undefined) return Promise.resolve({ value: found, done: false });
    }
    return this.#filled();
  }

  return(): Promise<IteratorResult<M, undefined>> {
    this.#of._leave();
    return Promise.resolve({ value: undefined, done: true });
  }

  async #filled(): Promise<IteratorResult<M, undefined>> {
    const of = this.#of;
    for (;;) {
      this.#signal?.throwIfAborted();
      const found = of._pop();
      if (found !== undefined) return { value: found, done: false };
      const filled = of._fill(BATCH);
      if (filled === false) return { value: undefined, done: true };
      await (filled === true ? of._breathe() : of._ready(this.#signal));
    }
  }
}

class Batches<M> implements AsyncIterableIterator<M[]> {
  readonly #of: Taking<M>;
  readonly #max: number;
  readonly #signal: AbortSignal | undefined;

  constructor(of: Taking<M>, max: number, signal: AbortSignal | undefined) {
    this.#of = of;
    this.#max = max;
    this.#signal = signal;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<M[], undefined>> {
    const of = this.#of;
    for (;;) {
      this.#signal?.throwIfAborted();
      const batch: M[] = [];
      while (batch.length < this.#max) {
        const found = of._pop();
        if (found === undefined) break;
        batch.push(found);
      }
      if (batch.length > 0) return { value: batch, done: false };
      const filled = of._fill(this.#max);
      if (filled === false) return { value: undefined, done: true };
      await (filled === true ? of._breathe() : of._ready(this.#signal));
    }
  }

  return(): Promise<IteratorResult<M[], undefined>> {
    this.#of._leave();
    return Promise.resolve({ value: undefined, done: true });
  }
}
