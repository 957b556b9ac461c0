//! Users by JWT: the chain from a trusted operator over the account to the user, checked at connect and again after changes.

use std::collections::HashMap;
use std::sync::Arc;

use natsune_credentials::jwt::{
    self, AccountClaims, Claims, ClaimsData, JetStreamLimits, OperatorClaims, Permission,
    Permissions as JwtPermissions, UserClaims, UserRights,
};

use super::connect::{ConnectDoc, PeerContext};
use super::error::AuthError;
use super::identity::UserLimits;
use super::permissions::Permissions;
use super::realm::{Admitted, Proof};
use super::{origin, signature, template};
use crate::config::{ConfigError, PermissionsConfig, ResponsesConfig, SubjectRule};
use crate::router::{AccountJetStream, AccountSettings};

/// Trusted operators and the accounts they signed.
#[derive(Clone, Default)]
pub(super) struct Operators {
    trusted: Vec<Arc<OperatorClaims>>,
    accounts: HashMap<String, Arc<Entry>>,
}

/// An account and the token that says so.
pub(super) struct Entry {
    token: String,
    pub(super) claims: AccountClaims,
}

/// By what a user was let in: what it presented, and what that gave it.
pub(super) struct JwtProof {
    user: UserClaims,
    rights: UserRights,
}

/// Why a token is not enough: the reason for the log, and what a connected client would be told.
struct Refused(&'static str, AuthError);

impl Operators {
    /// Trusts one more operator.
    pub(super) fn trust(&mut self, token: &str, now: i64) -> Result<Arc<OperatorClaims>, ConfigError> {
        let wrong = |why: String| ConfigError::new(format!("operator: {why}"));
        let claims = jwt::decode(token).map_err(|error| wrong(error.to_string()))?;
        jwt::validate(&claims, now).map_err(|error| wrong(error.to_string()))?;
        let Claims::Operator(claims) = claims else {
            return Err(wrong("this is the token of something else".to_owned()));
        };
        if !claims.did_sign(&claims.claims) {
            return Err(wrong("the token is not signed by the operator itself".to_owned()));
        }
        let claims = Arc::new(claims);
        self.trusted.push(Arc::clone(&claims));
        Ok(claims)
    }

    /// Adds an account that a trusted operator signed. What was checked before is taken from `known`.
    pub(super) fn add_account(
        &mut self,
        id: &str,
        token: &str,
        known: &Operators,
        now: i64,
    ) -> Result<Arc<Entry>, String> {
        let entry = match known.accounts.get(id).filter(|entry| entry.token == token) {
            Some(entry) => Arc::clone(entry),
            None => Arc::new(self.check_account(id, token, now)?),
        };
        self.accounts.insert(id.to_owned(), Arc::clone(&entry));
        Ok(entry)
    }

    /// Takes an account over as it was known; false: it was not.
    pub(super) fn keep_account(&mut self, id: &str, known: &Operators) -> bool {
        known.accounts.get(id).map(|entry| self.accounts.insert(id.to_owned(), Arc::clone(entry))).is_some()
    }

    fn check_account(&self, id: &str, token: &str, now: i64) -> Result<Entry, String> {
        let claims = jwt::decode(token).map_err(|error| error.to_string())?;
        match jwt::validate(&claims, now) {
            // The times are looked at whenever somebody connects.
            Ok(()) | Err(natsune_credentials::Error::Expired | natsune_credentials::Error::NotYetValid) => {}
            Err(error) => return Err(error.to_string()),
        }
        let claims = match claims {
            Claims::Account(claims) if claims.claims.sub == id => claims,
            Claims::Account(_) => return Err("this is the token of another account".to_owned()),
            _ => return Err("this is the token of something else".to_owned()),
        };
        if !self.trusted.iter().any(|operator| operator.did_sign(&claims.claims)) {
            return Err("the token is not signed by a trusted operator".to_owned());
        }
        if !claims.nats.authorization.auth_users.is_empty() {
            // Without the call to the service its decision would be missing.
            return Err("external authorization is not supported yet".to_owned());
        }
        Ok(Entry { token: token.to_owned(), claims })
    }

    /// The accounts by public key.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&str, &Arc<Entry>)> {
        self.accounts.iter().map(|(id, entry)| (id.as_str(), entry))
    }

    /// Checks a client that presents a token.
    pub(super) fn authenticate(
        &self,
        token: &str,
        connect: &ConnectDoc,
        peer: &PeerContext,
        now: i64,
    ) -> Result<Admitted, AuthError> {
        let Ok(claims) = jwt::decode(token) else {
            return Err(AuthError::Violation("the token cannot be read or its signature is wrong"));
        };
        let well_formed = match jwt::validate(&claims, now) {
            Ok(()) | Err(natsune_credentials::Error::Expired | natsune_credentials::Error::NotYetValid) => true,
            Err(_) => false,
        };
        let Claims::User(user) = claims else { return Err(AuthError::Violation("the token is not one of a user")) };
        if !well_formed {
            return Err(AuthError::Violation("the token is malformed"));
        }
        // All failures look the same to the client.
        let (rights, expires_at) =
            self.check(&user, peer, now).map_err(|Refused(reason, _)| AuthError::Violation(reason))?;
        if !rights.bearer_token && !signature::check(&user.claims.sub, &peer.nonce, connect.sig.as_deref()) {
            return Err(AuthError::Violation("the nonce is not signed by the key of the token"));
        }
        let account = user.account().to_owned();
        let permissions = Arc::new(permissions(&self.effective(&account, &rights)));
        let count = |limit: i64| u64::try_from(limit).ok();
        Ok(Admitted {
            account,
            user: user.claims.sub.clone(),
            name: Some(user.claims.name.clone()).filter(|name| !name.is_empty()),
            permissions,
            expires_at,
            public_key: Some(user.claims.sub.clone()),
            limits: UserLimits { max_subscriptions: count(rights.subs), max_payload: count(rights.payload) },
            proof: Proof::Jwt(Arc::new(JwtProof { user, rights })),
        })
    }

    /// Everything but the signature of the nonce: who signed, for how long, with which rights, from where.
    fn check(&self, user: &UserClaims, peer: &PeerContext, now: i64) -> Result<(UserRights, Option<i64>), Refused> {
        let violation = |reason| Refused(reason, AuthError::Violation(reason));
        let rights = self.standing(user, now)?;
        if rights.proxy_required {
            return Err(violation("the token is only good through a proxy"));
        }
        let kinds = &rights.allowed_connection_types;
        if !kinds.is_empty() && !kinds.iter().any(|kind| kind.eq_ignore_ascii_case(peer.kind)) {
            return Err(violation("the token is not good for this kind of connection"));
        }
        if !origin::allows(&rights.src, peer.addr.map(|addr| addr.ip())) {
            return Err(violation("the token is not good for this address"));
        }
        let until = origin::until(&rights.times, &rights.times_location, now)
            .ok_or(violation("the token is not good at this time of day"))?;
        let account = self.accounts.get(user.account()).map_or(0, |entry| entry.claims.claims.exp);
        let ends = [user.claims.exp, account].into_iter().filter(|exp| *exp > 0).chain(until);
        Ok((rights, ends.min()))
    }

    /// What can change while a client is connected: times, the account, its keys, its revocations.
    fn standing(&self, user: &UserClaims, now: i64) -> Result<UserRights, Refused> {
        let violation = |reason| Refused(reason, AuthError::Violation(reason));
        if expired(&user.claims, now) {
            return Err(Refused("the token has expired", AuthError::UserExpired));
        }
        if early(&user.claims, now) {
            return Err(violation("the token is not valid yet"));
        }
        let entry = self
            .accounts
            .get(user.account())
            .ok_or(Refused("the account of the token is not known", AuthError::AccountExpired))?;
        let account = &entry.claims;
        if expired(&account.claims, now) {
            return Err(Refused("the account has expired", AuthError::AccountExpired));
        }
        if early(&account.claims, now) {
            return Err(violation("the account is not valid yet"));
        }
        if !account.did_sign(user) {
            return Err(violation("the token is not signed by a key of its account"));
        }
        let rights = match account.scope(user) {
            None => user.nats.rights.clone(),
            Some(_) if !user.has_empty_rights() => {
                return Err(violation("the token has rights of its own, but its signing key gives them"));
            }
            Some(scope) => template::fill(&scope.template, user, account)
                .ok_or(violation("the rights of the signing key cannot be filled in for this user"))?,
        };
        if rights.bearer_token && account.nats.limits.disallow_bearer {
            return Err(violation("the account does not allow bearer tokens"));
        }
        if account.is_revoked(&user.claims.sub, user.claims.iat) {
            return Err(Refused("the token was revoked", AuthError::UserRevoked));
        }
        Ok(rights)
    }

    /// Why a client that was let in would not be any more.
    pub(super) fn still_admits(&self, proof: &JwtProof, now: i64) -> Option<AuthError> {
        match self.standing(&proof.user, now) {
            Ok(rights) if rights == proof.rights => None,
            Ok(_) => Some(AuthError::Violation("its rights were changed")),
            Err(Refused(_, error)) => Some(error),
        }
    }

    /// A user without permissions gets the account's default ones.
    fn effective(&self, account: &str, rights: &UserRights) -> JwtPermissions {
        let own = rights.permissions();
        let silent = own.publish.is_empty() && own.subscribe.is_empty() && own.resp.is_none();
        match self.accounts.get(account) {
            Some(entry) if silent => entry.claims.nats.default_permissions.clone(),
            _ => own,
        }
    }
}

fn expired(claims: &ClaimsData, now: i64) -> bool {
    // From the second on in which sessions are ended: nobody is let in only to be closed at once.
    claims.exp > 0 && now >= claims.exp
}

fn early(claims: &ClaimsData, now: i64) -> bool {
    claims.nbf > now
}

impl Entry {
    /// What in the account does nothing here.
    pub(super) fn not_served(&self) -> Option<&'static str> {
        let nats = &self.claims.nats;
        let idle = !nats.imports.is_empty() || !nats.exports.is_empty() || !nats.mappings.is_empty();
        idle.then_some("its imports, exports and mappings are not served")
    }

    /// The limits of the account, in the router's terms.
    pub(super) fn settings(&self, jetstream_on: bool) -> AccountSettings {
        let limits = &self.claims.nats.limits;
        let flat;
        let jetstream = if limits.tiered_limits.is_empty() {
            &limits.jetstream
        } else {
            // One node keeps one copy: that is tier R1.
            flat = limits.tiered_limits.get("R1").cloned().unwrap_or_default();
            &flat
        };
        AccountSettings {
            jetstream: of_jetstream(jetstream, jetstream_on),
            max_connections: limits.conn,
            max_subscriptions: limits.subs,
            max_payload: limits.payload,
        }
    }
}

fn of_jetstream(limits: &JetStreamLimits, on: bool) -> AccountJetStream {
    // No bytes mean none; no count means any.
    let count = |limit: i64| if limit == 0 { -1 } else { limit };
    AccountJetStream {
        enabled: on && (limits.mem_storage != 0 || limits.disk_storage != 0),
        max_memory: limits.mem_storage,
        max_file: limits.disk_storage,
        max_streams: count(limits.streams),
        max_consumers: count(limits.consumer),
        max_ack_pending: count(limits.max_ack_pending),
        memory_max_stream_bytes: count(limits.mem_max_stream_bytes),
        store_max_stream_bytes: count(limits.disk_max_stream_bytes),
        max_bytes_required: limits.max_bytes_required,
    }
}

fn permissions(permissions: &JwtPermissions) -> Permissions {
    // In a token, unlike in a file, an empty list of allowed subjects allows all.
    let rule = |side: &Permission| SubjectRule {
        allow: Some(side.allow.clone()).filter(|list| !list.is_empty()),
        deny: side.deny.clone(),
    };
    let usual = ResponsesConfig::default();
    let allow_responses = permissions.resp.as_ref().map(|resp| ResponsesConfig {
        max: if resp.max == 0 { usual.max } else { u64::try_from(resp.max).ok() },
        expires: if resp.ttl == 0 {
            usual.expires
        } else {
            u64::try_from(resp.ttl).ok().map(std::time::Duration::from_nanos)
        },
    });
    Permissions::new(&PermissionsConfig {
        publish: rule(&permissions.publish),
        subscribe: rule(&permissions.subscribe),
        allow_responses,
    })
}
