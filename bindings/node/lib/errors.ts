/** One class of errors; `code` says what to do. */

import { types } from "node:util";

import { camel } from "./names.js";

/** What went wrong. New codes may come: have a default branch. */
export type ErrorCode =
  | "invalid_argument"
  | "auth"
  | "permission"
  | "connection"
  | "closed"
  | "timeout"
  | "no_responders"
  | "not_found"
  | "already_exists"
  | "conflict"
  | "limit_exceeded"
  | "busy"
  | "unavailable"
  | "unsupported"
  | "integrity"
  | "server"
  | "internal"
  | (string & {});

/** Facts beside the code. */
export interface ErrorDetail {
  /** JetStream's number of the error. */
  errCode?: number;
  /** The status that the server answered with. */
  status?: number;
  /** The subject it was about. */
  subject?: string;
  /** The server it was about. */
  server?: string;
  /** The server's own words. */
  description?: string;
  /** The option that was wrong. */
  field?: string;
  [name: string]: unknown;
}

/** Every error of this package but the reason of an AbortSignal, which passes through as it is. */
export class NatsError extends Error {
  override readonly name = "NatsError";
  /** What went wrong; act on this. */
  readonly code: ErrorCode;
  /** Facts beside the code. */
  readonly detail: ErrorDetail;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Whether the call had an effect on the server. */
  readonly applied: "no" | "maybe" | "yes";

  constructor(
    code: ErrorCode,
    message: string,
    more: {
      detail?: ErrorDetail;
      retryable?: boolean;
      applied?: "no" | "maybe" | "yes";
      cause?: unknown;
    } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.detail = more.detail ?? {};
    this.retryable = more.retryable ?? false;
    this.applied = more.applied ?? "no";
  }
}

/** The caller gave something that can never work. */
export function invalid(message: string, field?: string): NatsError {
  return new NatsError("invalid_argument", message, field === undefined ? {} : { detail: { field } });
}

interface Failure {
  code: ErrorCode;
  message: string;
  detail: Record<string, unknown>;
  retryable: boolean;
  applied: "no" | "maybe" | "yes";
}

/** The error of what the native part threw. */
export function natsError(thrown: unknown): NatsError {
  if (thrown instanceof NatsError) return thrown;
  // Not `instanceof Error`: in a test runner with contexts of its own the native part's errors have another `Error`.
  if (!types.isNativeError(thrown)) return new NatsError("internal", String(thrown), { applied: "maybe" });
  if (thrown.message.startsWith("{")) {
    const { code, message, detail, retryable, applied } = JSON.parse(thrown.message) as Failure;
    const facts: ErrorDetail = {};
    for (const [name, fact] of Object.entries(detail)) if (fact !== null) facts[camel(name)] = fact;
    const field = detail["field"];
    if (typeof field !== "string") return new NatsError(code, message, { detail: facts, retryable, applied });
    // The field as it is written here, not as it crosses.
    facts.field = camel(field);
    const text = message.replaceAll(`\`${field}\``, `\`${facts.field}\``);
    return new NatsError(code, text, { detail: facts, retryable, applied });
  }
  // Said by Node-API before the native part was reached: a value of the wrong type.
  if ((thrown as NodeJS.ErrnoException).code !== "GenericFailure") return invalid(thrown.message);
  return new NatsError("internal", thrown.message, { applied: "maybe" });
}
