// Writes ../js.json: keys, signatures, tokens and creds files as the official JavaScript libraries make them.
// Before that it checks that they read every token of ../go.json, which this crate reproduces to the byte.
//
// Run with: npm install && npm run --silent generate
import { readFileSync } from "node:fs";
import nkeys from "@nats-io/nkeys";
import jwt from "@nats-io/jwt";

const text = new TextEncoder();
const seed = (pair) => new TextDecoder().decode(pair.getSeed());

const go = JSON.parse(readFileSync(new URL("../go.json", import.meta.url), "utf8"));
// The library takes clusters' keys for something else; the other kinds sign the same.
const keys = [];
for (const key of go.keys.filter((key) => !key.seed.startsWith("SC"))) {
  const pair = nkeys.fromSeed(text.encode(key.seed));
  if (pair.getPublicKey() !== key.public) throw new Error(`another public key: ${key.public}`);
  const signatures = {};
  for (const data of Object.keys(key.signatures)) {
    signatures[data] = Buffer.from(pair.sign(text.encode(data))).toString("base64url");
  }
  keys.push({ seed: key.seed, public: key.public, signatures });
}
for (const { name, token } of go.tokens) {
  if (!jwt.decode(token).sub) throw new Error(`no subject: ${name}`);
}

const pick = (prefix, number) =>
  nkeys.fromSeed(text.encode(go.keys.filter((key) => key.seed.startsWith(prefix))[number].seed));
const [operator, operatorSigning] = [pick("SO", 0), pick("SO", 1)];
const [account, signing, scoped] = [pick("SA", 0), pick("SA", 1), pick("SA", 2)];
const user = pick("SU", 0);

const tokens = [];
async function add(name, kind, token) {
  const encoded = await token;
  tokens.push({ name, kind, token: encoded, claims: jwt.decode(encoded) });
  return encoded;
}

await add("operator", "operator", jwt.encodeOperator("O", operator, { signing_keys: [operatorSigning.getPublicKey()] }));
await add("account", "account", jwt.encodeAccount("A <&>", account, {
  limits: { conn: -1, subs: -1, payload: -1, data: -1, leaf: 0, imports: 5, exports: 5, wildcards: true, disk_storage: -1, mem_storage: 1024, streams: 3 },
  signing_keys: [signing.getPublicKey(), jwt.newScopedSigner(scoped, "reader", { sub: { allow: ["a.>"] }, payload: 9 })],
  exports: [{ name: "e", subject: "e.>", type: "stream" }],
  imports: [{ name: "i", subject: "i.>", account: signing.getPublicKey(), type: "service", local_subject: "x.>" }],
  revocations: { [user.getPublicKey()]: 12345, "*": 1 },
  default_permissions: { pub: { allow: ["p"] }, resp: { max: 1, ttl: 1000 } },
  tags: ["one"],
}, { signer: operator, exp: 4102444800 }));
await add("account, tiers", "account", jwt.encodeAccount("T", account, {
  limits: { conn: -1, tiered_limits: { R1: { disk_storage: 5 } } },
}, { signer: operator }));
const token = await add("user", "user", jwt.encodeUser("U", user, account, {
  pub: { allow: ["p.>"], deny: ["p.q"] }, sub: { allow: ["s q"] }, resp: { max: 2, ttl: 3 },
  src: ["10.0.0.0/8"], times: [{ start: "01:00:00", end: "02:00:00" }], locale: "Europe/Paris",
  bearer_token: true, allowed_connection_types: ["WEBSOCKET"], tags: ["t"],
}, { exp: 4102444800, nbf: 1500000000 }));
await add("user, signing key", "user", jwt.encodeUser("U", user, account, {}, { signer: signing }));
await add("user, scoped", "user", jwt.encodeUser("U", user, account, {}, { signer: scoped, scopedUser: true }));
await add("activation", "other", jwt.encodeActivation("act", signing, account, "stream", { subject: "e.>" }));
await add("generic", "other", jwt.encodeGeneric("gen", account, "special", { answer: 42 }));
await add("v1 user", "user", jwt.encodeUser("U", user, account, { pub: { allow: ["p"] } }, { algorithm: jwt.Algorithms.v1 }));
await add("v1 account", "account", jwt.encodeAccount("A", account, { limits: { conn: 3 } }, { signer: operator, algorithm: jwt.Algorithms.v1 }));

const creds = [{ text: new TextDecoder().decode(jwt.fmtCreds(token, user)), jwt: token, public: user.getPublicKey(), seed: seed(user) }];
console.log(JSON.stringify({ keys, tokens, creds }, null, 1));
