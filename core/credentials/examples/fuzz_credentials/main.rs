//! Mutated tokens and files: `cargo run --release -p natsune-credentials --example fuzz_credentials -- --target jwt|creds --seed 1 --count N`.
#[path = "../../../protocol/examples/fuzz_protocol/mutator.rs"]
mod mutator;

use data_encoding::BASE64URL_NOPAD;
use mutator::{Options, Random};
use natsune_credentials::jwt::{self, Claim, Claims};
use natsune_credentials::{Creds, KeyKind, KeyPair};
use serde_json::Value;

const GO: &str = include_str!("../../tests/golden/go.json");
const JS: &str = include_str!("../../tests/golden/js.json");

/// One input in so many is signed again after its claims were changed: the way behind the signature, which is slow.
const SIGNED: usize = 16;

const WORDS: &[&[u8]] = &[
    b".",
    b"..",
    b"=",
    b"-",
    b"_",
    b"e30",
    b"eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ",
    b"\r\n",
    b"\n",
    b"---",
    b"-----\n",
    b"-----BEGIN NATS USER JWT-----\n",
    b"\n------END NATS USER JWT------\n",
    b"-----BEGIN USER NKEY SEED-----\n",
    b"SU",
    b"SA",
    b"\xff",
    b"\xc3\xa4",
    b" ",
];

const JSON_WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e400",
    b"9223372036854775808",
    b"\"nats\":{\"type\":\"user\",\"version\":2},",
    b"\"type\":\"user\",",
    b"\"version\":1,",
    b"\"version\":3,",
    b"\"limits\":{},",
    b"\"signing_keys\":[{\"kind\":\"user_scope\"}],",
    b"\"src\":\"10.0.0.0/8,\",",
    b"\"exp\":1,",
    b"\"iss\":\"\",",
    b"\\u0000",
    b"\xff",
];

fn main() {
    let options = Options::from_args(&["jwt", "creds"]);
    if options.target == "jwt" { tokens(&options) } else { files(&options) }
}

fn vectors(list: &str, field: &str) -> Vec<Vec<u8>> {
    [GO, JS]
        .iter()
        .flat_map(|text| serde_json::from_str::<Value>(text).expect("the vectors are JSON")[list].as_array().cloned())
        .flatten()
        .map(|vector| vector[field].as_str().expect("a string").as_bytes().to_vec())
        .collect()
}

fn tokens(options: &Options) {
    let seeds = vectors("tokens", "token");
    let bodies: Vec<Vec<u8>> = seeds
        .iter()
        .map(|token| {
            let body = token.split(|&byte| byte == b'.').nth(1).expect("three parts");
            BASE64URL_NOPAD.decode(body).expect("base64")
        })
        .collect();
    let signers: Vec<KeyPair> = vectors("keys", "seed")
        .iter()
        .filter_map(|seed| KeyPair::from_seed(std::str::from_utf8(seed).expect("ASCII")).ok())
        .collect();
    assert!(signers.iter().any(|pair| pair.kind() == KeyKind::Operator));
    let mut input = Vec::new();
    mutator::run(options, |random| {
        if random.below(SIGNED) == 0 {
            random.mutate(&bodies, JSON_WORDS, &mut input);
            let token = sign(random, &signers, &input);
            if let Ok(claims) = jwt::decode(&token) {
                use_claims(claims, &signers);
            }
        } else {
            random.mutate(&seeds, WORDS, &mut input);
            if let Ok(token) = std::str::from_utf8(&input) {
                // Whatever is accepted was one of the vectors; version 1 does not sign the header.
                let signed =
                    |token: &[u8]| token.iter().position(|&byte| byte == b'.').map(|dot| token[dot..].to_vec());
                let known = || seeds.iter().any(|seed| signed(seed) == signed(&input));
                assert!(jwt::decode(token).is_err() || known(), "accepted: {token}");
            }
        }
    });
}

/// The body as a token that verifies, if it names its issuer.
fn sign(random: &mut Random, signers: &[KeyPair], body: &[u8]) -> String {
    let issuer = serde_json::from_slice::<Value>(body).ok().and_then(|body| Some(body["iss"].as_str()?.to_owned()));
    let signer = signers.iter().find(|pair| Some(pair.public_key()) == issuer).unwrap_or(random.pick(signers));
    let old = random.below(4) == 0;
    let header: &[u8] =
        if old { br#"{"typ":"JWT","alg":"ed25519"}"# } else { br#"{"typ":"JWT","alg":"ed25519-nkey"}"# };
    let (header, body) = (BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(body));
    let signed = if old { body.clone() } else { format!("{header}.{body}") };
    let signature = signer.sign(signed.as_bytes()).expect("keys sign");
    format!("{header}.{body}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// Everything a broker does with claims; and what is signed again reads back the same.
fn use_claims(claims: Claims, signers: &[KeyPair]) {
    let _ = jwt::validate(&claims, 1_700_000_000);
    match claims {
        Claims::Operator(mut operator) => {
            operator.did_sign(&operator.claims);
            again(&mut operator, signers);
        }
        Claims::Account(mut account) => {
            account.is_revoked("*", 5);
            account.nats.limits.jetstream_enabled();
            again(&mut account, signers);
        }
        Claims::User(mut user) => {
            user.has_empty_rights();
            jwt::AccountClaims::new(user.account()).did_sign(&user);
            again(&mut user, signers);
        }
        Claims::Other(mut other) => again(&mut other, signers),
        _ => {}
    }
}

fn again<C: Claim>(claims: &mut C, signers: &[KeyPair]) {
    let Some(signer) = signers.iter().find(|pair| pair.public_key() == claims.data().iss) else { return };
    if let Ok(token) = jwt::encode_at(claims, signer, 1) {
        let back = jwt::decode(&token).expect("what is signed here is read here");
        assert_eq!(back.data(), claims.data());
    }
}

fn files(options: &Options) {
    let mut seeds = vectors("creds", "text");
    let plain = seeds.clone();
    seeds.extend(plain.iter().map(|text| String::from_utf8_lossy(text).replace('\n', "\r\n").into_bytes()));
    seeds.extend(plain.iter().map(|text| [b"leading text\n", &text[..]].concat()));
    let mut input = Vec::new();
    mutator::run(options, |random| {
        random.mutate(&seeds, WORDS, &mut input);
        let text = String::from_utf8_lossy(&input);
        if let Ok(creds) = Creds::parse(&text) {
            let file = creds.format().expect("what was read can be written");
            let back = Creds::parse(file.expose()).expect("what was written can be read");
            assert_eq!((back.jwt, back.key.public_key()), (creds.jwt, creds.key.public_key()));
        }
    });
}
