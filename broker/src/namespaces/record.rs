//! What stands in the files: the operator, and one namespace with its credentials.

use natsune_credentials::jwt::{self, AccountClaims, JetStreamLimits, NO_LIMIT, OperatorClaims, SigningKey};
use natsune_credentials::{KeyPair, Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use super::error::NamespaceError;

/// The form of the files; a newer one is refused instead of being written back without what it holds more.
const VERSION: u32 = 1;

/// A seed in a file.
#[derive(Clone)]
pub(super) struct Seed(Secret);

impl Seed {
    fn of(key: &KeyPair) -> Result<Seed, NamespaceError> {
        Ok(Seed(key.seed()?))
    }

    pub(super) fn key(&self) -> Result<KeyPair, NamespaceError> {
        Ok(KeyPair::from_seed(self.0.expose())?)
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seed, D::Error> {
        Ok(Seed(Secret::new(String::deserialize(deserializer)?)))
    }
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(format!("its version {other} is newer than this program"))),
    }
}

/// `operator.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct OperatorRecord {
    #[serde(deserialize_with = "version")]
    version: u32,
    pub(super) jwt: String,
    pub(super) key: Seed,
}

impl OperatorRecord {
    pub(super) fn create() -> Result<OperatorRecord, NamespaceError> {
        let key = KeyPair::new_operator();
        let mut claims = OperatorClaims::new(key.public_key());
        claims.claims.name = "natsune".to_owned();
        Ok(OperatorRecord { version: VERSION, jwt: jwt::encode(&mut claims, &key)?, key: Seed::of(&key)? })
    }
}

/// `namespaces/<id>.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct NamespaceRecord {
    #[serde(deserialize_with = "version")]
    version: u32,
    pub(super) id: String,
    pub(super) name: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) created_at: OffsetDateTime,
    pub(super) jwt: String,
    /// Signs users. The account's own key is not needed again and not kept.
    pub(super) signing_key: Seed,
    #[serde(default)]
    pub(super) credentials: Vec<CredentialsRecord>,
}

/// Credentials: never the seed, which its owner alone has.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CredentialsRecord {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) public_key: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) created_at: OffsetDateTime,
    /// When its token was signed; a revocation must reach that far.
    pub(super) issued_at: i64,
}

impl NamespaceRecord {
    pub(super) fn create(
        name: &str,
        operator: &KeyPair,
        at: OffsetDateTime,
    ) -> Result<NamespaceRecord, NamespaceError> {
        let signing = KeyPair::new_account();
        let mut claims = AccountClaims::new(KeyPair::new_account().public_key());
        claims.claims.name = name.to_owned();
        claims.nats.signing_keys.push(SigningKey::Plain(signing.public_key()));
        claims.nats.limits.jetstream = JetStreamLimits {
            mem_storage: NO_LIMIT,
            disk_storage: NO_LIMIT,
            streams: NO_LIMIT,
            consumer: NO_LIMIT,
            max_ack_pending: NO_LIMIT,
            ..JetStreamLimits::default()
        };
        Ok(NamespaceRecord {
            version: VERSION,
            id: claims.claims.sub.clone(),
            name: name.to_owned(),
            created_at: at,
            jwt: jwt::encode(&mut claims, operator)?,
            signing_key: Seed::of(&signing)?,
            credentials: Vec::new(),
        })
    }

    /// Signs the account anew without these credentials.
    pub(super) fn revoke(
        &mut self,
        credentials: &CredentialsRecord,
        operator: &KeyPair,
        at: i64,
    ) -> Result<(), NamespaceError> {
        let jwt::Claims::Account(mut claims) = jwt::decode(&self.jwt)? else {
            return Err(NamespaceError::Credentials(natsune_credentials::Error::Claims(
                "not the token of an account".to_owned(),
            )));
        };
        // A clock that was set back must not leave the token good.
        claims.revoke(&credentials.public_key, at.max(credentials.issued_at));
        self.jwt = jwt::encode(&mut claims, operator)?;
        self.credentials.retain(|other| other.id != credentials.id);
        Ok(())
    }
}
