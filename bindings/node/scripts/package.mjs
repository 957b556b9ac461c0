/**
 * Lays out what is published: `node scripts/package.mjs <addon> <folder>` makes two packages in the folder, `natsune` and
 * its native part. Run it after `npm run build`.
 */

import { copyFile, cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const [addon, folder] = process.argv.slice(2);
if (addon === undefined || folder === undefined) throw new Error("node scripts/package.mjs <addon> <folder>");
const here = fileURLToPath(new URL("..", import.meta.url));
const licence = join(here, "../../LICENSE");

async function write(place, manifest) {
  await writeFile(join(place, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  if (existsSync(licence)) await copyFile(licence, join(place, "LICENSE"));
}

const main = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
const platform = JSON.parse(await readFile(join(here, "platforms/linux-x64-gnu/package.json"), "utf8"));
if (platform.version !== main.version) throw new Error(`versions differ: ${main.version} and ${platform.version}`);

const native = join(folder, "linux-x64-gnu");
await mkdir(native, { recursive: true });
await copyFile(addon, join(native, platform.main));
await write(native, platform);

const facade = join(folder, "natsune");
await mkdir(facade, { recursive: true });
await cp(join(here, "dist"), join(facade, "dist"), { recursive: true });
await copyFile(join(here, "README.md"), join(facade, "README.md"));
const { scripts: _, devDependencies: __, ...published } = main;
// Only what is published depends on the native part: here it is built, not fetched.
await write(facade, { ...published, optionalDependencies: { [platform.name]: platform.version } });
