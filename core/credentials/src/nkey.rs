//! NKeys: Ed25519 keys written as base32 with a kind and a checksum.
//!
//! What is public goes through the `nkeys` crate. Secrets go to the curve crate below it: `nkeys` keeps a second copy of the seed
//! that nothing wipes.
use std::fmt;
use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signer, SigningKey};
use rand::RngExt;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::secret::Secret;

const PUBLIC_TEXT: usize = 56;
const PUBLIC_BYTES: usize = 35;
const SEED_TEXT: usize = 58;
const SEED_BYTES: usize = 36;
const SEED_PREFIX: u8 = 18 << 3;

/// Whose key it is; the first letter of the public form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// `O`: signs accounts.
    Operator,
    /// `A`: signs users.
    Account,
    /// `U`: connects.
    User,
    /// `N`: names a server.
    Server,
    /// `C`: names a cluster.
    Cluster,
    /// `X`: encrypts; cannot sign.
    Curve,
}

impl KeyKind {
    const ALL: [KeyKind; 6] =
        [KeyKind::Operator, KeyKind::Account, KeyKind::User, KeyKind::Server, KeyKind::Cluster, KeyKind::Curve];

    /// The kind of a public key, when the whole key is well-formed.
    pub fn of(public_key: &str) -> Option<KeyKind> {
        decode_public(public_key).ok().map(|(kind, _)| kind)
    }

    fn prefix(self) -> u8 {
        let letter = match self {
            KeyKind::Account => 0,
            KeyKind::Cluster => 2,
            KeyKind::Server => 13,
            KeyKind::Operator => 14,
            KeyKind::User => 20,
            KeyKind::Curve => 23,
        };
        letter << 3
    }

    fn from_prefix(prefix: u8) -> Option<KeyKind> {
        KeyKind::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyKind::Operator => "an operator key",
            KeyKind::Account => "an account key",
            KeyKind::User => "a user key",
            KeyKind::Server => "a server key",
            KeyKind::Cluster => "a cluster key",
            KeyKind::Curve => "a curve key",
        })
    }
}

/// A key that can sign. Clones share the secret, which is wiped with the last of them.
#[derive(Clone)]
pub struct KeyPair {
    kind: KeyKind,
    public: Arc<str>,
    // Behind a pointer so that moving a pair leaves no copies of the secret behind.
    signing: Arc<SigningKey>,
}

impl KeyPair {
    /// A new operator.
    pub fn new_operator() -> KeyPair {
        KeyPair::generate(KeyKind::Operator)
    }

    /// A new account.
    pub fn new_account() -> KeyPair {
        KeyPair::generate(KeyKind::Account)
    }

    /// A new user.
    pub fn new_user() -> KeyPair {
        KeyPair::generate(KeyKind::User)
    }

    /// A new server identity.
    pub fn new_server() -> KeyPair {
        KeyPair::generate(KeyKind::Server)
    }

    /// Reads a seed (`SU…`, `SA…`, `SO…`); blanks around it are allowed.
    pub fn from_seed(seed: &str) -> Result<KeyPair, Error> {
        let raw = unpack::<SEED_TEXT, SEED_BYTES>(seed.trim())?;
        let [first, second, secret @ .., _, _] = &*raw;
        if first & 0xf8 != SEED_PREFIX {
            return Err(Error::Key("not a seed"));
        }
        let prefix = (first & 7) << 5 | second >> 3;
        let kind = KeyKind::from_prefix(prefix).filter(|_| second & 7 == 0).ok_or(Error::Key("unknown kind"))?;
        if kind == KeyKind::Curve {
            return Err(Error::KeyKind { expected: "a key that can sign", got: kind });
        }
        Ok(KeyPair::from_secret(kind, secret))
    }

    /// The public key, 56 characters.
    pub fn public_key(&self) -> String {
        self.public.to_string()
    }

    /// The seed, 58 characters.
    pub fn seed(&self) -> Result<Secret, Error> {
        let prefix = self.kind.prefix();
        let mut raw = Zeroizing::new([0u8; SEED_BYTES]);
        let [first, second, secret @ .., _, _] = &mut *raw;
        *first = SEED_PREFIX | prefix >> 5;
        *second = (prefix & 31) << 3;
        secret.copy_from_slice(self.signing.as_bytes());
        pack(&mut *raw).map(Secret::new)
    }

    /// Signs; 64 bytes.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.signing.try_sign(data).map_err(|_| Error::Signature)?;
        Ok(signature.to_bytes().to_vec())
    }

    /// Whose key it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    fn generate(kind: KeyKind) -> KeyPair {
        let mut secret = Zeroizing::new([0u8; 32]);
        rand::rng().fill(&mut secret[..]);
        KeyPair::from_secret(kind, &secret)
    }

    fn from_secret(kind: KeyKind, secret: &[u8; 32]) -> KeyPair {
        let signing = Arc::new(SigningKey::from_bytes(secret));
        let mut raw = [0u8; PUBLIC_BYTES];
        let [first, key @ .., _, _] = &mut raw;
        *first = kind.prefix();
        key.copy_from_slice(signing.verifying_key().as_bytes());
        // The buffer has the right length, so there is nothing that could fail.
        let public = pack(&mut raw).unwrap_or_default();
        KeyPair { kind, public: public.into(), signing }
    }
}

/// Shows the public key only.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

/// Checks a signature made with the key behind `public_key`. All lengths are checked before any arithmetic on curves.
pub fn verify(public_key: &str, data: &[u8], sig: &[u8]) -> Result<(), Error> {
    if sig.len() != 64 {
        return Err(Error::Signature);
    }
    let (kind, _) = decode_public(public_key)?;
    if kind == KeyKind::Curve {
        return Err(Error::KeyKind { expected: "a key that can sign", got: kind });
    }
    let key = nkeys::KeyPair::from_public_key(public_key).map_err(|_| Error::Key("not a point on the curve"))?;
    key.verify(data, sig).map_err(|_| Error::Signature)
}

fn decode_public(text: &str) -> Result<(KeyKind, [u8; 32]), Error> {
    let raw = unpack::<PUBLIC_TEXT, PUBLIC_BYTES>(text)?;
    let [prefix, key @ .., _, _] = &*raw;
    let kind = KeyKind::from_prefix(*prefix).ok_or(Error::Key("unknown kind"))?;
    Ok((kind, *key))
}

/// Base32 to bytes, with the length checked first and the checksum last.
fn unpack<const TEXT: usize, const BYTES: usize>(text: &str) -> Result<Zeroizing<[u8; BYTES]>, Error> {
    if text.len() != TEXT {
        return Err(Error::Key("wrong length"));
    }
    let mut raw = Zeroizing::new([0u8; BYTES]);
    let written = BASE32_NOPAD.decode_mut(text.as_bytes(), &mut raw[..]).map_err(|_| Error::Key("not base32"))?;
    let (body, sum) = raw.split_last_chunk::<2>().ok_or(Error::Key("wrong length"))?;
    if written != BYTES || crc16(body) != u16::from_le_bytes(*sum) {
        return Err(Error::Key("wrong checksum"));
    }
    Ok(raw)
}

/// Bytes to base32; the last two are filled with the checksum.
fn pack(raw: &mut [u8]) -> Result<String, Error> {
    let (body, sum) = raw.split_last_chunk_mut::<2>().ok_or(Error::Key("wrong length"))?;
    *sum = crc16(body).to_le_bytes();
    Ok(BASE32_NOPAD.encode(raw))
}

/// CRC-16/XMODEM.
fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0u16, |mut crc, &byte| {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        }
        crc
    })
}
