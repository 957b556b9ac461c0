//! NATS JWTs, version 2: claims of operators, accounts and users, signed with NKeys.
//!
//! Version 1 tokens are read too, and become version 2 claims.
mod chain;
mod claims;
mod limits;
mod migrate;
mod validate;

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha512_256};

pub use claims::{
    Account, AccountClaims, Authorization, Claim, Claims, ClaimsData, Operator, OperatorClaims, OtherClaims, User,
    UserClaims,
};
pub use limits::{
    AccountLimits, JetStreamLimits, NO_LIMIT, Permission, Permissions, ResponsePermission, SigningKey, TimeRange,
    UserRights, UserScope,
};
pub use validate::validate;

use crate::error::Error;
use crate::nkey::{self, KeyKind, KeyPair};

/// The largest token that is looked at, as in the Go library.
pub const MAX_TOKEN: usize = 1024 * 1024;

const ALG_V1: &str = "ed25519";
const ALG_V2: &str = "ed25519-nkey";

/// Signs the claims. Sets `jti`, `iat`, `iss`, the type and the version in them.
pub fn encode<C: Claim>(claims: &mut C, signer: &KeyPair) -> Result<String, Error> {
    encode_at(claims, signer, now())
}

/// Like [`encode`], with the time of issue given.
pub fn encode_at<C: Claim>(claims: &mut C, signer: &KeyPair, issued_at: i64) -> Result<String, Error> {
    claims.check_issuer(signer.kind())?;
    claims.check_subject()?;
    claims.prepare();
    let data = claims.data_mut();
    data.iss = signer.public_key();
    data.iat = issued_at;
    data.jti.clear();
    data.jti = BASE32_NOPAD.encode(&Sha512_256::digest(go_json(data)?.as_bytes()));
    let header = format!(r#"{{"typ":"JWT","alg":"{ALG_V2}"}}"#);
    let mut token = BASE64URL_NOPAD.encode(header.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(go_json(claims)?.as_bytes(), &mut token);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut token);
    if token.len() > MAX_TOKEN {
        return Err(Error::Token("too large"));
    }
    Ok(token)
}

/// Reads a token and verifies its signature. Whether the issuer is to be trusted, and the times, are the caller's to check
/// (`did_sign`, [`validate`]).
pub fn decode(token: &str) -> Result<Claims, Error> {
    let parts = Parts::split(token)?;
    let identity = parts.identity()?;
    let version = identity.version();
    match (version, parts.algorithm()?.as_str()) {
        (1, ALG_V1) | (2, ALG_V2) => {}
        (1 | 2, _) => return Err(Error::Token("algorithm not allowed")),
        _ => return Err(Error::Token("unsupported version")),
    }
    let mut signature = [0u8; 64];
    if BASE64URL_NOPAD.decode_len(parts.signature.len()) != Ok(signature.len()) {
        return Err(Error::Signature);
    }
    BASE64URL_NOPAD.decode_mut(parts.signature.as_bytes(), &mut signature).map_err(|_| Error::Signature)?;
    // Version 1 signed the claims alone.
    let signed = if version == 1 { parts.claims } else { parts.signed };
    nkey::verify(&identity.iss, signed.as_bytes(), &signature)?;

    let mut json = serde_json::from_slice(&parts.body)?;
    drop_nulls(&mut json);
    let claims = match (identity.kind(), version) {
        ("operator", 1) => Claims::Operator(migrate::operator(json)?),
        ("account", 1) => Claims::Account(migrate::account(json)?),
        ("user", 1) => Claims::User(migrate::user(json)?),
        (_, 1) => Claims::Other(migrate::other(json)?),
        ("operator", _) => Claims::Operator(read(json)?),
        ("account", _) => Claims::Account(claims::settle_tiers(read(json)?)),
        ("user", _) => Claims::User(read(json)?),
        _ => Claims::Other(read(json)?),
    };
    let issuer = KeyKind::of(&identity.iss).ok_or(Error::Key("malformed issuer"))?;
    claims.check_issuer(issuer)?;
    Ok(claims)
}

/// The subject of a token that nobody verified; only good to explain a mistake.
pub(crate) fn peek_subject(token: &str) -> Option<String> {
    let identity = Parts::split(token).ok()?.identity().ok()?;
    Some(identity.sub).filter(|subject| !subject.is_empty())
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn read<T: DeserializeOwned>(json: Value) -> Result<T, Error> {
    Ok(serde_json::from_value(json)?)
}

/// JSON as Go writes it, so that hashes and tokens are the same to the byte.
fn go_json<T: Serialize>(value: &T) -> Result<String, Error> {
    let json = serde_json::to_string(value)?;
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return Ok(json);
    }
    // These can only stand inside strings.
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    for letter in json.chars() {
        match letter {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            letter => out.push(letter),
        }
    }
    Ok(out)
}

/// Go reads `null` as absent.
fn drop_nulls(json: &mut Value) {
    match json {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A token cut at its dots, the claims decoded.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    signed: &'a str,
    body: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Parts<'a>, Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::Token("too large"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Token("expected three parts"))?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Token("expected three parts"))?;
        if claims.contains('.') {
            return Err(Error::Token("expected three parts"));
        }
        let body = BASE64URL_NOPAD.decode(claims.as_bytes()).map_err(|_| Error::Token("not base64url"))?;
        Ok(Parts { header, claims, signature, signed, body })
    }

    fn algorithm(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Header {
            typ: String,
            alg: String,
        }
        let json = BASE64URL_NOPAD.decode(self.header.as_bytes()).map_err(|_| Error::Token("not base64url"))?;
        let header: Header = serde_json::from_slice(&json)?;
        if !header.typ.eq_ignore_ascii_case("jwt") {
            return Err(Error::Token("not a JWT"));
        }
        Ok(header.alg.to_ascii_lowercase())
    }

    /// What is needed to verify: read alone first, so that nothing large is built from an unverified token.
    fn identity(&self) -> Result<Identity, Error> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

#[derive(Deserialize)]
struct Identity {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    /// Only version 1 has it here.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    nats: Option<Generic>,
}

#[derive(Deserialize)]
struct Generic {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    version: Option<i64>,
}

impl Identity {
    fn version(&self) -> i64 {
        match &self.kind {
            Some(kind) if !kind.is_empty() => 1,
            _ => self.nats.as_ref().and_then(|nats| nats.version).unwrap_or(0),
        }
    }

    fn kind(&self) -> &str {
        let inner = self.nats.as_ref().and_then(|nats| nats.kind.as_deref());
        self.kind.as_deref().filter(|kind| !kind.is_empty()).or(inner).unwrap_or_default()
    }
}
