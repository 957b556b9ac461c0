//! The claims themselves: what all tokens share, and the documents of operators, accounts and users.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::limits::{AccountLimits, JetStreamLimits, Permissions, SigningKey, UserRights, is_false, is_zero};
use crate::error::Error;
use crate::nkey::KeyKind;

/// What every token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimsData {
    /// Audience.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub aud: String,
    /// Valid until, in seconds since 1970; 0: for ever.
    #[serde(skip_serializing_if = "is_zero")]
    pub exp: i64,
    /// The token's own id, set by encoding.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// Issued at, set by encoding.
    #[serde(skip_serializing_if = "is_zero")]
    pub iat: i64,
    /// The signer's public key, set by encoding.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Not valid before; 0: from ever.
    #[serde(skip_serializing_if = "is_zero")]
    pub nbf: i64,
    /// Whom the token is about: a public key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub: String,
}

/// Any token, verified.
#[allow(clippy::large_enum_variant, reason = "decoded one at a time and taken apart at once")]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Claims {
    /// An operator's.
    Operator(OperatorClaims),
    /// An account's.
    Account(AccountClaims),
    /// A user's.
    User(UserClaims),
    /// Activations, authorization requests and responses, generic claims: the document as it is.
    Other(OtherClaims),
}

impl Claims {
    /// What every token says.
    pub fn data(&self) -> &ClaimsData {
        match self {
            Claims::Operator(claims) => &claims.claims,
            Claims::Account(claims) => &claims.claims,
            Claims::User(claims) => &claims.claims,
            Claims::Other(claims) => &claims.claims,
        }
    }

    pub(super) fn check_issuer(&self, issuer: KeyKind) -> Result<(), Error> {
        match self {
            Claims::Operator(claims) => claims.check_issuer(issuer),
            Claims::Account(claims) => claims.check_issuer(issuer),
            Claims::User(claims) => claims.check_issuer(issuer),
            Claims::Other(claims) => claims.check_issuer(issuer),
        }
    }
}

/// Claims that can be signed.
pub trait Claim: Serialize + sealed::Sealed {
    /// What every token says.
    fn data(&self) -> &ClaimsData;
    /// The same, to be changed.
    fn data_mut(&mut self) -> &mut ClaimsData;
    #[doc(hidden)]
    fn prepare(&mut self);
    #[doc(hidden)]
    fn check_issuer(&self, issuer: KeyKind) -> Result<(), Error>;
    #[doc(hidden)]
    fn check_subject(&self) -> Result<(), Error>;
}

mod sealed {
    pub trait Sealed {}
}

fn subject_is(data: &ClaimsData, kind: KeyKind) -> Result<(), Error> {
    match KeyKind::of(&data.sub) {
        Some(have) if have == kind => Ok(()),
        Some(got) => Err(Error::KeyKind { expected: "a subject of the claims' own kind", got }),
        None => Err(Error::Claims("the subject is not a public key".to_owned())),
    }
}

/// Type, version and tags, and what this crate does not know.
macro_rules! claim {
    ($claims:ident, $kind:literal, $subject:expr, $expected:literal, $($issuer:pat_param)|+) => {
        impl sealed::Sealed for $claims {}
        impl Claim for $claims {
            fn data(&self) -> &ClaimsData {
                &self.claims
            }
            fn data_mut(&mut self) -> &mut ClaimsData {
                &mut self.claims
            }
            fn prepare(&mut self) {
                self.nats.kind = $kind.to_owned();
                self.nats.version = 2;
                self.sort();
            }
            fn check_issuer(&self, issuer: KeyKind) -> Result<(), Error> {
                match issuer {
                    $($issuer)|+ => Ok(()),
                    got => Err(Error::KeyKind { expected: $expected, got }),
                }
            }
            fn check_subject(&self) -> Result<(), Error> {
                subject_is(&self.claims, $subject)
            }
        }
    };
}

/// An operator: the root of trust, signed by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperatorClaims {
    /// What every token says.
    #[serde(flatten)]
    pub claims: ClaimsData,
    /// The operator's document.
    #[serde(default)]
    pub nats: Operator,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The operator's document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operator {
    /// Further keys that sign accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<String>,
    /// Where accounts are looked up.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account_server_url: String,
    /// Where tools connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operator_service_urls: Vec<String>,
    /// The system account's public key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_account: String,
    /// The oldest server version allowed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub assert_server_version: String,
    /// The operator's own key must not sign accounts.
    #[serde(skip_serializing_if = "is_false")]
    pub strict_signing_key_usage: bool,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `operator`, set by encoding.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// 2, set by encoding; 1 after reading an old token.
    #[serde(skip_serializing_if = "is_zero")]
    pub version: i64,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl OperatorClaims {
    /// Claims of the operator with this public key.
    pub fn new(subject: impl Into<String>) -> OperatorClaims {
        let claims = ClaimsData { sub: subject.into(), ..ClaimsData::default() };
        OperatorClaims { claims, ..OperatorClaims::default() }
    }

    fn sort(&mut self) {}
}

claim!(OperatorClaims, "operator", KeyKind::Operator, "an operator key as issuer", KeyKind::Operator);

/// An account: a closed subject space, signed by the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountClaims {
    /// What every token says.
    #[serde(flatten)]
    pub claims: ClaimsData,
    /// The account's document.
    #[serde(default)]
    pub nats: Account,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The account's document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Imports, as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Value>,
    /// Exports, as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<Value>,
    /// What the operator allows.
    pub limits: AccountLimits,
    /// Further keys that sign users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<SigningKey>,
    /// Users whose tokens issued at or before the time are void; `*` stands for all users.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub revocations: BTreeMap<String, i64>,
    /// For users who have none of their own.
    pub default_permissions: Permissions,
    /// Subject mappings, as they are.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub mappings: Map<String, Value>,
    /// Authorization by a service of the account.
    pub authorization: Authorization,
    /// Message tracing, as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Value>,
    /// `system` or `owner`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_traffic: String,
    /// A text for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where people read more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub info_url: String,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `account`, set by encoding.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// 2, set by encoding; 1 after reading an old token.
    #[serde(skip_serializing_if = "is_zero")]
    pub version: i64,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Authorization by a service (auth callout).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Authorization {
    /// The users that are the service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub auth_users: Vec<String>,
    /// Accounts the service may put users into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_accounts: Vec<String>,
    /// The curve key requests are encrypted for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

impl AccountClaims {
    /// Claims of the account with this public key: no limits, JetStream off.
    pub fn new(subject: impl Into<String>) -> AccountClaims {
        let claims = ClaimsData { sub: subject.into(), ..ClaimsData::default() };
        let nats = Account { limits: AccountLimits::unlimited(), ..Account::default() };
        AccountClaims { claims, nats, extra: Map::new() }
    }

    /// The order of the Go library, so that equal accounts give equal tokens.
    fn sort(&mut self) {
        fn subject(value: &Value) -> &str {
            value.get("subject").and_then(Value::as_str).unwrap_or_default()
        }
        self.nats.signing_keys.sort_by(|a, b| a.key().cmp(b.key()));
        self.nats.exports.sort_by(|a, b| subject(a).cmp(subject(b)));
        self.nats.imports.sort_by(|a, b| subject(a).cmp(subject(b)));
    }
}

claim!(AccountClaims, "account", KeyKind::Account, "an operator key as issuer", KeyKind::Operator | KeyKind::Account);

/// Tiers and flat limits exclude each other; servers take the tiers.
pub(super) fn settle_tiers(mut account: AccountClaims) -> AccountClaims {
    if !account.nats.limits.tiered_limits.is_empty() {
        account.nats.limits.jetstream = JetStreamLimits::default();
    }
    account
}

/// A user: who may connect, signed by the account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserClaims {
    /// What every token says.
    #[serde(flatten)]
    pub claims: ClaimsData,
    /// The user's document.
    #[serde(default)]
    pub nats: User,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The user's document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Permissions and limits.
    #[serde(flatten)]
    pub rights: UserRights,
    /// The account, when a signing key of it signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub issuer_account: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `user`, set by encoding.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// 2, set by encoding; 1 after reading an old token.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version: i64,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl UserClaims {
    /// Claims of the user with this public key: everything allowed, nothing limited.
    pub fn new(subject: impl Into<String>) -> UserClaims {
        let mut claims = UserClaims::scoped(subject);
        claims.nats.rights = UserRights::unlimited();
        claims
    }

    /// Claims of a user who gets the rights of a scoped signing key, and so must not have any of his own.
    pub fn scoped(subject: impl Into<String>) -> UserClaims {
        let claims = ClaimsData { sub: subject.into(), ..ClaimsData::default() };
        UserClaims { claims, ..UserClaims::default() }
    }

    fn sort(&mut self) {}
}

claim!(UserClaims, "user", KeyKind::User, "an account key as issuer", KeyKind::Account);

/// A token of a type this crate has no document for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OtherClaims {
    /// What every token says.
    #[serde(flatten)]
    pub claims: ClaimsData,
    /// The document, `type` included.
    #[serde(default)]
    pub nats: Map<String, Value>,
    /// Fields beside it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl OtherClaims {
    /// The type, as the document says.
    pub fn kind(&self) -> &str {
        self.nats.get("type").and_then(Value::as_str).unwrap_or_default()
    }
}

impl sealed::Sealed for OtherClaims {}

impl Claim for OtherClaims {
    fn data(&self) -> &ClaimsData {
        &self.claims
    }

    fn data_mut(&mut self) -> &mut ClaimsData {
        &mut self.claims
    }

    fn prepare(&mut self) {
        self.nats.insert("version".to_owned(), Value::from(2));
    }

    fn check_issuer(&self, issuer: KeyKind) -> Result<(), Error> {
        match (self.kind(), issuer) {
            // A type with a document of its own must not come in by this door.
            ("operator" | "account" | "user", got) => Err(Error::KeyKind { expected: "claims of another type", got }),
            ("activation", KeyKind::Account | KeyKind::Operator) => Ok(()),
            ("authorization_request", KeyKind::Server) => Ok(()),
            ("authorization_response", KeyKind::Account) => Ok(()),
            ("activation" | "authorization_request" | "authorization_response", got) => {
                Err(Error::KeyKind { expected: "an issuer that may sign this type", got })
            }
            _ => Ok(()),
        }
    }

    fn check_subject(&self) -> Result<(), Error> {
        if self.claims.sub.is_empty() {
            return Err(Error::Claims("no subject".to_owned()));
        }
        Ok(())
    }
}
