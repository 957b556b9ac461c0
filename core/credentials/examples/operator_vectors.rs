//! Writes an operator with two accounts, users and an expired user: the vectors of the conformance scenarios.
//! `cargo run -p natsune-credentials --example operator_vectors -- FOLDER`
#![forbid(unsafe_code)]

use natsune_credentials::jwt::{AccountClaims, JetStreamLimits, OperatorClaims, UserClaims, encode};
use natsune_credentials::{Creds, KeyPair};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: operator_vectors FOLDER")?;
    let write = |name: &str, text: &str| std::fs::write(Path::new(&folder).join(name), text);
    let operator = KeyPair::new_operator();
    let system = account(&operator, "SYS")?;
    let mut claims = OperatorClaims::new(operator.public_key());
    claims.claims.name = "natsune-test".to_owned();
    claims.nats.system_account = system.0.public_key();
    write("operator.jwt", &encode(&mut claims, &operator)?)?;
    write("system.pub", &system.0.public_key())?;
    write("system.jwt", &system.1)?;
    let mut first = None;
    for name in ["a", "b"] {
        let (key, jwt) = account(&operator, name)?;
        write(&format!("account_{name}.pub"), &key.public_key())?;
        write(&format!("account_{name}.jwt"), &jwt)?;
        write(&format!("{name}.creds"), &user(&key, name, 0)?)?;
        first.get_or_insert(key);
    }
    let account = first.ok_or("no account")?;
    // Long ago, so that it is expired on every machine's clock.
    write("expired.creds", &user(&account, "expired", 1_600_000_000)?)?;
    let key = KeyPair::new_user();
    write("user.pub", &key.public_key())?;
    write("user.seed", key.seed()?.expose())?;
    write("other.seed", KeyPair::new_user().seed()?.expose())?;
    Ok(())
}

fn account(operator: &KeyPair, name: &str) -> Result<(KeyPair, String), Box<dyn Error>> {
    let key = KeyPair::new_account();
    let mut claims = AccountClaims::new(key.public_key());
    claims.claims.name = name.to_owned();
    if name != "SYS" {
        claims.nats.limits.jetstream = JetStreamLimits {
            mem_storage: -1,
            disk_storage: -1,
            streams: -1,
            consumer: -1,
            ..JetStreamLimits::default()
        };
    }
    let jwt = encode(&mut claims, operator)?;
    Ok((key, jwt))
}

fn user(account: &KeyPair, name: &str, expires: i64) -> Result<String, Box<dyn Error>> {
    let key = KeyPair::new_user();
    let mut claims = UserClaims::new(key.public_key());
    claims.claims.name = name.to_owned();
    claims.claims.exp = expires;
    let jwt = encode(&mut claims, account)?;
    Ok(Creds { jwt, key }.format()?.expose().to_owned())
}
