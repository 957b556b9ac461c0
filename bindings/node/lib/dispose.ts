/** `await using` in versions of Node that do not know its symbol yet. Imported before every class that has it. */

if ((Symbol as { asyncDispose?: symbol }).asyncDispose === undefined) {
  Object.defineProperty(Symbol, "asyncDispose", { value: Symbol.for("Symbol.asyncDispose") });
}
