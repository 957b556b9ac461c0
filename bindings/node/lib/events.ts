/** What happens to a client's connection, as an iterator. */

import type { Event } from "./client_types.js";
import { ENDED } from "./batch.js";
import type { Client } from "./client.js";
import { fromDocument } from "./documents.js";
import { natsError } from "./errors.js";
import { type Remains, whenForgotten } from "./forgotten.js";
import { Failed, give, open, queue, wait } from "./lane.js";
import { native } from "./native.js";

const MOST = 64;

const finishNothing = (id: number): void => {
  native.finish(id);
};

/** Events from the moment it was made. Leaving the loop ends it. */
export class Events implements AsyncIterableIterator<Event>, AsyncDisposable {
  // Children keep their parents.
  readonly #client: Client;
  readonly #signal: AbortSignal | undefined;
  readonly #opened: Promise<Remains>;
  #events: string[] = [];
  #over = false;
  readonly #waiting = new Set<number>();

  private constructor(client: Client, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#signal = signal;
    this.#opened = this.#open();
    // Told by the first next().
    this.#opened.catch(() => undefined);
  }

  /** @internal */
  static _of(client: Client, signal: AbortSignal | undefined): Events {
    return new Events(client, signal);
  }

  async #open(): Promise<Remains> {
    const remains = { handle: await open(this.#client._handle, "events") };
    whenForgotten(this, remains);
    return remains;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next event; ends when the client is closed. */
  async next(): Promise<IteratorResult<Event, undefined>> {
    const { handle } = await this.#opened;
    for (;;) {
      this.#signal?.throwIfAborted();
      const text = this.#events.shift();
      if (text !== undefined) return { value: fromDocument<Event>(text), done: false };
      if (this.#over) return { value: undefined, done: true };
      const id = this.#take(handle);
      if (id === undefined) continue;
      this.#waiting.add(id);
      try {
        const outcome = await wait(id, finishNothing, this.#signal);
        if (outcome instanceof Failed) throw outcome.error();
      } finally {
        this.#waiting.delete(id);
      }
    }
  }

  #take(handle: number): number | undefined {
    try {
      const [texts, state] = native.takeEvents(handle, MOST);
      this.#events = texts;
      this.#over = state === ENDED;
      return texts.length > 0 || this.#over ? undefined : native.startReady(queue, handle);
    } catch (thrown) {
      throw natsError(thrown);
    }
  }

  /** Ends it, also for those who wait. */
  async return(): Promise<IteratorResult<Event, undefined>> {
    this.#over = true;
    this.#events = [];
    for (const id of this.#waiting) give(id, undefined);
    const remains = await this.#opened.catch(() => undefined);
    if (remains !== undefined) native.closeHandle(remains.handle);
    return { value: undefined, done: true };
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
