/** What keeps the process alive: one timer, referenced while anything that is open wants it. */

let wanted = 0;
let timer: NodeJS.Timeout | undefined;

/** One reason to stay alive. */
export class Hold {
  #held = false;

  /** Keeps the process alive; again is nothing. */
  take(): void {
    if (this.#held) return;
    this.#held = true;
    wanted += 1;
    timer ??= setInterval(() => undefined, 0x7fff_ffff);
    timer.ref();
  }

  /** No longer; again is nothing. */
  drop(): void {
    if (!this.#held) return;
    this.#held = false;
    wanted -= 1;
    if (wanted === 0) timer?.unref();
  }

  /** Keeps the process alive while `work` goes on. */
  static async during<T>(work: Promise<T>): Promise<T> {
    const hold = new Hold();
    hold.take();
    try {
      return await work;
    } finally {
      hold.drop();
    }
  }
}
