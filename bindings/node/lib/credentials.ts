/** Credentials: who we are, never shown. */

import { chmod, writeFile } from "node:fs/promises";
import { inspect } from "node:util";

import { invalid } from "./errors.js";

/** What proves who a client is. It never shows its secret. */
export class Credentials {
  readonly #field: "credsFile" | "credsText";
  readonly #value: string;
  /** The credentials' name, where a broker made them. */
  readonly name: string | undefined;
  /** Their namespace, where a broker made them. */
  readonly namespace: string | undefined;

  private constructor(field: "credsFile" | "credsText", value: string, name?: string, namespace?: string) {
    this.#field = field;
    this.#value = value;
    this.name = name;
    this.namespace = namespace;
  }

  /** A `.creds` file, read again at each connect. */
  static file(path: string): Credentials {
    return new Credentials("credsFile", path);
  }

  /** The text of a `.creds` file. */
  static text(text: string): Credentials {
    return new Credentials("credsText", text);
  }

  /** @internal */
  static _made(text: string, name: string, namespace: string): Credentials {
    return new Credentials("credsText", text, name, namespace);
  }

  /** Writes the text to a file that only its owner may read. */
  async save(path: string): Promise<void> {
    if (this.#field === "credsFile") throw invalid("these credentials are a file already");
    await writeFile(path, "", { mode: 0o600 });
    // An older file may have had other rights.
    await chmod(path, 0o600);
    await writeFile(path, this.#value);
  }

  /** @internal */
  _document(): Record<string, string> {
    return { [this.#field]: this.#value };
  }

  /** Says nothing of the secret. */
  toJSON(): object {
    return {};
  }

  /** @internal */
  [inspect.custom](): unknown {
    const what = this.#field === "credsFile" ? `file ${this.#value}` : (this.name ?? "text");
    return `Credentials { ${what} }`;
  }
}
