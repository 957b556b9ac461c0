/** Subscriptions. */

import type { SubscriptionStats } from "./client_types.js";
import type { Client } from "./client.js";
import { fromDocument, toDocument } from "./documents.js";
import { called, run } from "./lane.js";
import { Message } from "./message.js";
import { native } from "./native.js";
import { Taking, type WaitOptions } from "./taking.js";

/** How to subscribe. */
export interface SubscribeOptions {
  /** Queue group: each message goes to one member. */
  queue?: string;
  /** Messages kept before some are dropped (524,288). */
  pendingMessages?: number;
  /** Bytes kept before some are dropped (64 MiB). */
  pendingBytes?: number;
  /** What is dropped then: the new ones (the default), or the oldest. */
  whenFull?: "drop_new" | "drop_old";
  /** Ends by itself after so many messages. */
  maxMessages?: number;
  /** False: do not wait for the server's confirmation. */
  confirm?: boolean;
  /** Gives up waiting for the confirmation. */
  signal?: AbortSignal | undefined;
}

/** Messages of one subject. Leaving a loop over it does not end it; `unsubscribe`, `drain` and `await using` do. */
export class Subscription extends Taking<Message> implements AsyncDisposable {
  /** The subject that was subscribed to. */
  readonly subject: string;

  private constructor(client: Client, handle: number, subject: string) {
    super(client, Message, handle, `A subscription to ${subject} was forgotten: it is unsubscribed now`);
    this.subject = subject;
  }

  /** @internal */
  static _open(client: Client, handle: number, subject: string): Subscription {
    return new Subscription(client, handle, subject);
  }

  /** Ends it now, or after `after` messages in all. What waits is dropped; `drain` hands it out. */
  async unsubscribe(after?: number): Promise<void> {
    if (!this._stopped) await run(this._handle, "sub.unsubscribe", toDocument({ after }));
    if (after === undefined) this._remains.over = true;
  }

  /** Ends it when everything that came was handed out and handled. */
  async drain(options: WaitOptions = {}): Promise<void> {
    if (!this._stopped) await run(this._handle, "sub.drain", "{}", options.signal);
    this._remains.over = true;
  }

  /** Waits until it ended. */
  async closed(options: WaitOptions = {}): Promise<void> {
    if (!this._stopped) await run(this._handle, "sub.closed", "{}", options.signal);
  }

  /** Counters in one snapshot. What waits in the batch of this object counts as pending. */
  stats(): SubscriptionStats {
    const stats = fromDocument<SubscriptionStats>(called(() => native.info(this._handle, "sub.stats")));
    stats.pending += this._left;
    stats.delivered -= this._left;
    return stats;
  }

  /** Unsubscribes. */
  [Symbol.asyncDispose](): Promise<void> {
    this._stop();
    return Promise.resolve();
  }
}
