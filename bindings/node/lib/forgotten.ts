/** Objects that were forgotten without being closed: their handles are closed, without waiting. */

import type { Hold } from "./alive.js";
import { native } from "./native.js";

/** What stays of an object when it is gone. It must not refer to the object. */
export interface Remains {
  handle: number;
  /** It was closed, or ended by itself. */
  over?: boolean;
  /** Said as a warning when it was still open, and its client too. */
  warning?: string;
  client?: Remains;
  hold?: Hold;
}

const registry = new FinalizationRegistry<Remains>((remains) => {
  remains.hold?.drop();
  native.closeHandle(remains.handle);
  const open = remains.over !== true && remains.client?.over !== true;
  if (open && remains.warning !== undefined) process.emitWarning(remains.warning, "NatsuneWarning");
});

/** Closes what `remains` says when `object` is forgotten. */
export function whenForgotten(object: object, remains: Remains): void {
  registry.register(object, remains);
}
