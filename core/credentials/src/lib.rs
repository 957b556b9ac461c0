//! NATS credentials: NKeys, JWT v2 claims and the `.creds` format.
//!
//! ```
//! use natsune_credentials::{Creds, KeyPair, jwt};
//!
//! let account = KeyPair::new_account();
//! let user = KeyPair::new_user();
//! let mut claims = jwt::UserClaims::new(user.public_key());
//! claims.nats.rights.publish.allow.push("orders.>".to_owned());
//! let token = jwt::encode(&mut claims, &account)?;
//!
//! let file = Creds { jwt: token, key: user }.format()?;
//! let back = Creds::parse(file.expose())?;
//! assert!(matches!(jwt::decode(&back.jwt)?, jwt::Claims::User(user) if user.claims.iss == account.public_key()));
//! # Ok::<(), natsune_credentials::Error>(())
//! ```
#![forbid(unsafe_code)]
// Tokens and files come from strangers: nothing may panic on them.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

mod creds;
mod error;
pub mod jwt;
mod nkey;
mod secret;

pub use creds::Creds;
pub use error::Error;
pub use nkey::{KeyKind, KeyPair, verify};
pub use secret::Secret;
