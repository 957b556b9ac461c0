// What the two programs share: a round to warm up, a measured round, one JSON line.

export const PAYLOAD = Buffer.alloc(128, "x");

/** A message as the case wants it: its subject and its payload are looked at. */
export function seen(subject, data) {
  if (data.length !== PAYLOAD.length || subject.length === 0) throw new Error(`${data.length} bytes on ${subject}`);
}

/** So many at once, each one operation after the other. */
export async function lanes(parallel, count, once) {
  let left = count;
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await once();
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
}

/** `CASE URL COUNT`: makes the case's round, warms up and measures. */
export async function run(make) {
  const [name, url, number] = process.argv.slice(2);
  const count = Number(number);
  const round = await make(name, url);
  await round(Math.floor(count / 4));
  const begun = process.hrtime.bigint();
  const before = process.cpuUsage();
  await round(count);
  const used = process.cpuUsage(before);
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  console.log(JSON.stringify({ case: name, ops: count, seconds, cpu_seconds: (used.user + used.system) / 1e6 }));
  process.exit(0);
}
