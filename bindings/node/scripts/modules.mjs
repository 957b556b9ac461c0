/** Writes the ESM entry: a thin list of names over the one CommonJS implementation. */

import { readFile, writeFile } from "node:fs/promises";

const dist = new URL("../dist/", import.meta.url);
const source = await readFile(new URL("index.js", dist), "utf8");
const found = source.matchAll(/^(?:Object\.defineProperty\(exports, "(\w+)"|exports\.(\w+) = )/gm);
const names = [...new Set([...found].map((match) => match[1] ?? match[2]))].filter((name) => name !== "__esModule").sort();
if (!names.includes("connect") || !names.includes("version")) throw new Error(`no exports found, only ${names.join(" ")}`);
await writeFile(new URL("index.mjs", dist), `import natsune from "./index.js";\nexport const { ${names.join(", ")} } = natsune;\n`);
await writeFile(new URL("index.d.mts", dist), 'export * from "./index.js";\n');
