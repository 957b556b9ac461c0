//! Who may sign for whom.
use super::claims::{AccountClaims, ClaimsData, OperatorClaims, UserClaims};
use super::limits::{SigningKey, UserRights, UserScope};

impl OperatorClaims {
    /// Whether these claims were issued by the operator or one of its signing keys.
    pub fn did_sign(&self, claims: &ClaimsData) -> bool {
        if claims.iss == self.claims.sub {
            return !self.nats.strict_signing_key_usage || claims.sub == self.claims.sub;
        }
        !claims.iss.is_empty() && self.nats.signing_keys.contains(&claims.iss)
    }
}

impl AccountClaims {
    /// Whether the user was issued by the account or one of its signing keys.
    pub fn did_sign(&self, user: &UserClaims) -> bool {
        let account = if user.nats.issuer_account.is_empty() { &user.claims.iss } else { &user.nats.issuer_account };
        *account == self.claims.sub && (user.claims.iss == self.claims.sub || self.signing_key(user).is_some())
    }

    /// The entry of the signing key that issued the user; `None`: the account's own key, or a stranger.
    pub fn signing_key(&self, user: &UserClaims) -> Option<&SigningKey> {
        self.nats.signing_keys.iter().find(|signing| signing.key() == user.claims.iss)
    }

    /// The scope whose rights the user gets, when a scoped signing key issued him.
    pub fn scope(&self, user: &UserClaims) -> Option<&UserScope> {
        match self.signing_key(user) {
            Some(SigningKey::Scoped(scope)) => Some(scope),
            _ => None,
        }
    }

    /// Revokes the tokens of a user (or of all with `*`) issued up to `at`. An older revocation never replaces a newer one.
    pub fn revoke(&mut self, public_key: &str, at: i64) {
        let entry = self.nats.revocations.entry(public_key.to_owned()).or_insert(at);
        *entry = (*entry).max(at);
    }

    /// Whether a token of the user issued at that time is revoked.
    pub fn is_revoked(&self, public_key: &str, issued_at: i64) -> bool {
        let covers = |key: &str| self.nats.revocations.get(key).is_some_and(|&at| at >= issued_at);
        covers("*") || covers(public_key)
    }
}

impl UserClaims {
    /// Whether the user has no rights of his own, as a scoped signing key demands.
    pub fn has_empty_rights(&self) -> bool {
        self.nats.rights == UserRights::default()
    }

    /// The account the user belongs to: the one named, or the issuer.
    pub fn account(&self) -> &str {
        if self.nats.issuer_account.is_empty() { &self.claims.iss } else { &self.nats.issuer_account }
    }
}
