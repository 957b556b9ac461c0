/** Whatever waits: an id in this environment's one queue, which is drained when the native part wakes us. */

import { natsError, type NatsError } from "./errors.js";
import { native } from "./native.js";

/** What an operation ended with when it failed. It becomes an error where the caller waits, so that the stack is theirs. */
export class Failed {
  constructor(readonly thrown: unknown) {}

  error(): NatsError {
    return natsError(this.thrown);
  }
}

/** Somebody who waits for an id. */
interface Waiter {
  readonly id: number;
  resolve(outcome: unknown): void;
  reject(reason: unknown): void;
  finish(id: number): unknown;
  readonly signal: AbortSignal | undefined;
}

const waiting = new Map<number, Waiter>();
/** One listener for each signal, however many wait with it. */
const aborts = new WeakMap<AbortSignal, Set<Waiter>>();
const ids = new Float64Array(256);
/** The queue of this thread. */
export const queue = native.queueNew(drain);

function drain(): void {
  let count: number;
  do {
    count = native.queueDrain(queue, ids);
    for (let index = 0; index < count; index += 1) {
      const waiter = waiting.get(ids[index] ?? 0);
      if (waiter === undefined) continue;
      forget(waiter);
      let outcome: unknown;
      try {
        outcome = waiter.finish(waiter.id);
      } catch (thrown) {
        outcome = new Failed(thrown);
      }
      waiter.resolve(outcome);
    }
  } while (count === ids.length);
}

function forget(waiter: Waiter): void {
  waiting.delete(waiter.id);
  const { signal } = waiter;
  if (signal === undefined) return;
  const waiters = aborts.get(signal);
  waiters?.delete(waiter);
  if (waiters?.size !== 0) return;
  aborts.delete(signal);
  signal.removeEventListener("abort", abort);
}

function abort(this: AbortSignal): void {
  for (const waiter of aborts.get(this) ?? []) {
    forget(waiter);
    native.cancel(waiter.id);
    waiter.reject(this.reason);
  }
}

/**
 * Until `id` is finished; gives what `finish` gives, or how it failed. An abort cancels the operation, which leaves nothing
 * behind, and rejects with the signal's own reason.
 */
export function wait<T>(id: number, finish: (id: number) => T, signal?: AbortSignal): Promise<T | Failed> {
  return new Promise<T | Failed>((resolve, reject) => {
    const waiter = { id, resolve, reject, finish, signal } as Waiter;
    waiting.set(id, waiter);
    if (signal === undefined) return;
    let waiters = aborts.get(signal);
    if (waiters === undefined) {
      waiters = new Set();
      aborts.set(signal, waiters);
      signal.addEventListener("abort", abort);
    }
    waiters.add(waiter);
  });
}

/** Cancels a wait of ours, which then gives `outcome`. */
export function give(id: number, outcome: unknown): void {
  const waiter = waiting.get(id);
  if (waiter === undefined) return;
  forget(waiter);
  native.cancel(id);
  waiter.resolve(outcome);
}

const finish = (id: number): number | string | undefined => native.finish(id);

/** An operation of the control lane, and its result. */
export async function run(
  target: number,
  verb: string,
  document = "{}",
  signal?: AbortSignal,
): Promise<number | string | undefined> {
  signal?.throwIfAborted();
  const outcome = await wait(started(target, verb, document), finish, signal);
  if (outcome instanceof Failed) throw outcome.error();
  return outcome;
}

function started(target: number, verb: string, document: string): number {
  try {
    return native.start(queue, target, verb, document);
  } catch (thrown) {
    throw natsError(thrown);
  }
}

/** An operation that gives a handle. */
export async function open(target: number, verb: string, document?: string, signal?: AbortSignal): Promise<number> {
  return (await run(target, verb, document, signal)) as number;
}

/** An operation that gives a document. */
export async function ask(target: number, verb: string, document?: string, signal?: AbortSignal): Promise<string> {
  return (await run(target, verb, document, signal)) as string;
}

/** A call of the native part that fails with our errors. */
export function called<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw natsError(thrown);
  }
}
