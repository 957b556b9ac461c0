/** The spelling of field names: `camelCase` here, `snake_case` across. */

const known = new Map<string, string>();

function remembered(name: string, spell: (name: string) => string): string {
  let spelled = known.get(name);
  if (spelled === undefined) {
    spelled = spell(name);
    // Names of unknown fields come from outside: not without end.
    if (known.size < 1000) known.set(name, spelled);
  }
  return spelled;
}

/** `max_age` as `maxAge`. */
export function camel(name: string): string {
  if (!name.includes("_")) return name;
  return remembered(name, (name) => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()));
}

/** `maxAge` as `max_age`. */
export function snake(name: string): string {
  return remembered(name, (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}
