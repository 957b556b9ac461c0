/** Headers: ordered, several values a name, names as they are written (ADR-4). */

import { inspect } from "node:util";

import { invalid, type NatsError } from "./errors.js";
import { EMPTY } from "./native.js";

/** What headers can be made of. */
export type HeadersLike = Headers | Iterable<readonly [string, string]> | Record<string, string | readonly string[]>;

/** The headers of a message: ordered, multi-value, case-sensitive. */
export class Headers implements Iterable<[string, string]> {
  #pairs: [string, string][];

  constructor(headers?: HeadersLike) {
    this.#pairs = headers === undefined ? [] : pairsOf(headers);
  }

  /** The first value of `name`. */
  get(name: string): string | undefined {
    return this.#pairs.find((pair) => pair[0] === name)?.[1];
  }

  /** All values of `name`, in order. */
  values(name: string): string[] {
    return this.#pairs.filter((pair) => pair[0] === name).map((pair) => pair[1]);
  }

  /** Whether `name` is there. */
  has(name: string): boolean {
    return this.#pairs.some((pair) => pair[0] === name);
  }

  /** One value, in place of all that were there. */
  set(name: string, value: string): void {
    this.delete(name);
    this.#pairs.push([name, value]);
  }

  /** One value more. */
  append(name: string, value: string): void {
    this.#pairs.push([name, value]);
  }

  /** Removes `name`. */
  delete(name: string): void {
    this.#pairs = this.#pairs.filter((pair) => pair[0] !== name);
  }

  /** How many values there are in all. */
  get size(): number {
    return this.#pairs.length;
  }

  /** Names and values, in order. */
  *[Symbol.iterator](): IterableIterator<[string, string]> {
    for (const [name, value] of this.#pairs) yield [name, value];
  }

  /** Pairs of name and value. */
  toJSON(): [string, string][] {
    return [...this];
  }

  /** @internal */
  [inspect.custom](): unknown {
    return `Headers ${inspect([...this])}`;
  }
}

function wrong(): NatsError {
  return invalid("headers are `Headers`, pairs of strings, or an object of strings", "headers");
}

function pairsOf(headers: HeadersLike | null): [string, string][] {
  if (typeof headers !== "object" || headers === null) throw wrong();
  const pairs: [string, string][] = [];
  if (Symbol.iterator in headers) {
    for (const pair of headers as Iterable<readonly [string, string]>) {
      if (!Array.isArray(pair)) throw wrong();
      pairs.push([pair[0], pair[1]]);
    }
  } else {
    for (const [name, value] of Object.entries(headers)) {
      for (const each of Array.isArray(value) ? (value as string[]) : [value as string]) pairs.push([name, each]);
    }
  }
  return pairs;
}

/** Headers as they cross into the native part, which checks them. @internal */
export function packHeaders(headers: HeadersLike | undefined): Uint8Array {
  if (headers === undefined) return EMPTY;
  const pairs = pairsOf(headers);
  let length = 0;
  for (const [name, value] of pairs) {
    if (typeof name !== "string" || typeof value !== "string") {
      throw invalid("names and values of headers are strings", "headers");
    }
    length += 8 + Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  const packed = Buffer.allocUnsafe(length);
  let at = 0;
  for (const pair of pairs) {
    for (const text of pair) {
      const written = packed.write(text, at + 4);
      at = packed.writeUInt32LE(written, at) + written;
    }
  }
  return packed;
}

/** The headers at `at` of a batch. @internal */
export function unpackHeaders(slab: Buffer, at: number, length: number): Headers {
  const headers = new Headers();
  const end = at + length;
  const text = (): string => {
    const size = slab.readUInt32LE(at);
    const start = at + 4;
    at = start + size;
    return slab.toString("utf8", start, at);
  };
  while (at < end) headers.append(text(), text());
  return headers;
}
