/** Documents cross as JSON: names in snake_case, durations in seconds, instants as RFC 3339. */

import { invalid, NatsError } from "./errors.js";
import { camel, snake } from "./names.js";

/** Fields whose keys are the user's or the server's own words. */
const MAPS = new Set(["metadata", "extra", "subjects"]);
/** Fields whose keys are words, with documents as values. */
const MAPS_OF_DOCUMENTS = new Set(["tiers"]);

/** Durations: milliseconds here, seconds there. A test compares this list with the documents. */
export const DURATIONS: ReadonlySet<string> = new Set([
  "ackWait",
  "active",
  "backoff",
  "connectTimeout",
  "delay",
  "drainTimeout",
  "duplicateWindow",
  "expires",
  "heartbeat",
  "idleHeartbeat",
  "inactiveThreshold",
  "maxAge",
  "maxExpires",
  "pauseRemaining",
  "pingInterval",
  "priorityTimeout",
  "publishTimeout",
  "reconnectDelay",
  "reconnectDelayMax",
  "requestTimeout",
  "seconds",
  "subjectDeleteMarkerTtl",
  "subscribeTimeout",
  "syncInterval",
  "timeout",
  "ttl",
  "writeTimeout",
]);

/** Instants: Date here. */
export const INSTANTS: ReadonlySet<string> = new Set([
  "created",
  "firstTimestamp",
  "lastActive",
  "lastTimestamp",
  "pauseUntil",
  "startTime",
  "timestamp",
]);

type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** A document or options as JSON text; undefined and null are absence. */
export function toDocument(value: object): string {
  return JSON.stringify(write(value, ""));
}

function write(value: unknown, field: string): Json | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (!Number.isFinite(value)) throw invalid(`\`${field}\` must be a finite number`, field);
      return DURATIONS.has(field) ? value / 1000 : value;
    case "bigint":
      if (BigInt(Number(value)) !== value) throw invalid(`\`${field}\` is too large a number`, field);
      return Number(value);
    case "object":
      if (value === null) return undefined;
      if (Array.isArray(value)) return value.map((each) => write(each, field) ?? null);
      if (value instanceof Date) return instant(value, field);
      if (MAPS.has(field)) return value as Json;
      return writeObject(value, field);
    case "undefined":
      return undefined;
    default:
      throw invalid(`\`${field}\` cannot be a ${typeof value}`, field);
  }
}

function writeObject(value: object, field: string): Json {
  const written: Record<string, Json> = {};
  const words = MAPS_OF_DOCUMENTS.has(field);
  for (const [name, each] of Object.entries(value) as [string, unknown][]) {
    const found = write(each, name);
    if (found !== undefined) written[words ? name : snake(name)] = found;
  }
  return written;
}

function instant(value: Date, field: string): string {
  if (Number.isNaN(value.getTime())) throw invalid(`\`${field}\` is an invalid Date`, field);
  return value.toISOString();
}

/** The document of a JSON text; null fields are left out. */
export function fromDocument<T>(text: string): T {
  return read(JSON.parse(text) as Json, "") as T;
}

function read(value: Json, field: string): unknown {
  if (typeof value === "number") {
    if (field.endsWith("equence")) return sequence(value);
    // Nanoseconds are what servers count in; the rest is noise of the division.
    return DURATIONS.has(field) ? Math.round(value * 1e9) / 1e6 : value;
  }
  if (typeof value === "string") return INSTANTS.has(field) ? new Date(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => read(each, field));
  if (MAPS.has(field)) return value;
  const document: Record<string, unknown> = {};
  const words = MAPS_OF_DOCUMENTS.has(field);
  for (const [name, each] of Object.entries(value)) {
    if (each === null) continue;
    const here = words ? name : camel(name);
    document[here] = read(each, here);
  }
  return document;
}

/** A sequence, which must be a number that JavaScript can count with. */
export function sequence(value: number): number {
  if (Number.isSafeInteger(value)) return value;
  throw new NatsError("unsupported", "a sequence beyond 2^53 cannot be a number of JavaScript", { applied: "maybe" });
}

/** A time-out as the hot lane takes it: whole milliseconds, 0 for the client's own. */
export function milliseconds(timeout: number | undefined): number {
  if (timeout === undefined) return 0;
  if (!(timeout >= 0) || !Number.isFinite(timeout)) {
    throw invalid("`timeout` is a number of milliseconds from 0 on", "timeout");
  }
  return Math.max(1, Math.round(timeout));
}
