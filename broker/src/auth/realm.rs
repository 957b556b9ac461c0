//! What the ways to authenticate have in common.

use std::sync::Arc;

use super::identity::UserLimits;
use super::operator::JwtProof;
use super::permissions::Permissions;
use super::simple::User;
use crate::config::Secret;

/// Somebody let in, before the account is looked up.
pub(super) struct Admitted {
    pub(super) account: String,
    pub(super) user: String,
    pub(super) name: Option<String>,
    pub(super) permissions: Arc<Permissions>,
    pub(super) expires_at: Option<i64>,
    pub(super) public_key: Option<String>,
    pub(super) limits: UserLimits,
    pub(super) proof: Proof,
}

impl Admitted {
    pub(super) fn new(account: &str, user: String, permissions: Arc<Permissions>, proof: Proof) -> Admitted {
        Admitted {
            account: account.to_owned(),
            user,
            name: None,
            permissions,
            expires_at: None,
            public_key: None,
            limits: UserLimits::default(),
            proof,
        }
    }
}

/// By what somebody was let in.
#[derive(Clone)]
pub(super) enum Proof {
    /// Nobody has to authenticate.
    Open,
    /// The token of that time.
    Token(Arc<Secret>),
    /// A user as configured at that time.
    User(Arc<User>),
    /// A user JWT.
    Jwt(Arc<JwtProof>),
}
