//! The `.creds` file: a user's JWT and seed between banners.
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::jwt;
use crate::nkey::{KeyKind, KeyPair};
use crate::secret::Secret;

/// A token of the largest size with generous text around it.
const MAX_TEXT: usize = jwt::MAX_TOKEN + 64 * 1024;

/// What a user connects with.
#[derive(Clone)]
pub struct Creds {
    /// The user's token. Public: it is useless without the key, unless it is a bearer token; so it is not shown.
    pub jwt: String,
    /// The user's key.
    pub key: KeyPair,
}

impl fmt::Debug for Creds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Creds").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Creds {
    /// Reads the text of a `.creds` file, with LF or CR LF and with any text around the two blocks; the bare token and the
    /// bare seed on lines of their own do as well. The token is not verified: that is for the server.
    pub fn parse(text: &str) -> Result<Creds, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::Creds("too large"));
        }
        let mut blocks = Blocks { lines: text.lines() };
        let (token, seed) = match (blocks.next(), blocks.next()) {
            (Some(token), Some(seed)) => (Some(token), Some(seed)),
            (Some(token), None) => (Some(token), bare_seed(text)),
            (None, _) => (bare_token(text), bare_seed(text)),
        };
        let token = token.filter(|token| is_token(token)).ok_or(Error::Creds("no JWT found"))?;
        let key = KeyPair::from_seed(seed.ok_or(Error::Creds("no seed found"))?)?;
        if key.kind() != KeyKind::User {
            return Err(Error::KeyKind { expected: "a user seed", got: key.kind() });
        }
        if token.len() > jwt::MAX_TOKEN {
            return Err(Error::Creds("JWT too large"));
        }
        // A mix-up of two users is told here, where it can be explained; a token that cannot be read is the server's affair.
        if jwt::peek_subject(token).is_some_and(|subject| subject != key.public_key()) {
            return Err(Error::Creds("the seed does not belong to the JWT"));
        }
        Ok(Creds { jwt: token.to_owned(), key })
    }

    /// Reads a file, at most as much of it as a valid one can have.
    pub fn load(path: impl AsRef<Path>) -> Result<Creds, Error> {
        let file = File::open(path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 * 1024));
        file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes)?;
        Creds::parse(std::str::from_utf8(&bytes).map_err(|_| Error::Creds("not UTF-8"))?)
    }

    /// The text of the file, to the byte as `nsc` writes it.
    pub fn format(&self) -> Result<Secret, Error> {
        let seed = self.key.seed()?;
        let pieces = [
            "-----BEGIN NATS USER JWT-----\n",
            &self.jwt,
            "\n------END NATS USER JWT------\n\n",
            "************************* IMPORTANT *************************\n",
            "NKEY Seed printed below can be used to sign and prove identity.\n",
            "NKEYs are sensitive and should be treated as secrets.\n\n",
            "-----BEGIN USER NKEY SEED-----\n",
            seed.expose(),
            "\n------END USER NKEY SEED------\n\n",
            "*************************************************************\n",
        ];
        // In one allocation: a string that grows would leave the seed behind in freed memory.
        let mut text = String::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            text.push_str(piece);
        }
        Ok(Secret::new(text))
    }
}

/// The values between two banner lines, in order.
struct Blocks<'a> {
    lines: std::str::Lines<'a>,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut lines = self.lines.clone();
        loop {
            if !is_banner(lines.next()?) {
                continue;
            }
            let mut ahead = lines.clone();
            let (value, end) = (ahead.next()?.trim(), ahead.next()?);
            if is_value(value) && is_banner(end) {
                self.lines = ahead;
                return Some(value);
            }
        }
    }
}

/// At least three dashes, anything, at least three dashes at the end.
fn is_banner(line: &str) -> bool {
    line.trim_end().strip_suffix("---").is_some_and(|line| line.contains("---"))
}

fn is_value(line: &str) -> bool {
    !line.is_empty()
        && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'='))
}

fn bare_token(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| line.starts_with("ey") && is_value(line) && is_token(line))
}

fn is_token(text: &str) -> bool {
    text.matches('.').count() == 2
}

fn bare_seed(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| line.starts_with("SU") && is_value(line))
}
