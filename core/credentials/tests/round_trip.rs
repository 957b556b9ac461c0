//! What is signed here is read back here, and what was tampered with is not.
use natsune_credentials::jwt::{self, Claims, SigningKey, UserScope};
use natsune_credentials::{Creds, Error, KeyKind, KeyPair, verify};
use serde_json::json;

#[test]
fn keys_round_trip_and_agree_with_nkeys() {
    for pair in [KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user(), KeyPair::new_server()] {
        let seed = pair.seed().unwrap();
        let back = KeyPair::from_seed(seed.expose()).unwrap();
        let reference = nkeys::KeyPair::from_seed(seed.expose()).unwrap();
        assert_eq!(back.public_key(), reference.public_key());
        assert_eq!(reference.seed().unwrap(), seed.expose());
        assert_eq!(KeyKind::of(&pair.public_key()), Some(pair.kind()));
        let signature = pair.sign(b"nonce").unwrap();
        assert_eq!(signature, reference.sign(b"nonce").unwrap());
        verify(&pair.public_key(), b"nonce", &signature).unwrap();
        assert!(matches!(verify(&pair.public_key(), b"other", &signature), Err(Error::Signature)));
        assert!(matches!(verify(&pair.public_key(), b"nonce", &signature[..63]), Err(Error::Signature)));
    }
}

/// A bearer token is a secret by itself.
#[test]
fn debug_shows_no_token() {
    let creds = Creds { jwt: "eyJ0.b.c".to_owned(), key: KeyPair::new_user() };
    let shown = format!("{creds:?}");
    assert!(!shown.contains("eyJ0") && shown.contains(&creds.key.public_key()), "{shown}");
}

#[test]
fn malformed_keys_are_told_apart_from_good_ones() {
    let seed = KeyPair::new_user().seed().unwrap();
    let seed = seed.expose();
    assert!(KeyPair::from_seed(&format!(" {seed}\n")).is_ok());
    for at in 0..seed.len() {
        let mut bytes = seed.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(KeyPair::from_seed(std::str::from_utf8(&bytes).unwrap()).is_err(), "byte {at}");
    }
    for bad in ["", "SU", &seed[1..], &format!("{seed}A"), &"A".repeat(58), &"ü".repeat(29), &seed.to_lowercase()] {
        assert!(KeyPair::from_seed(bad).is_err(), "{bad}");
        assert!(KeyKind::of(bad).is_none());
    }
    // Public keys and seeds are not taken for each other.
    assert!(KeyPair::from_seed(&KeyPair::new_user().public_key()).is_err());
}

#[test]
fn nothing_secret_is_ever_shown() {
    let key = KeyPair::new_user();
    let seed = key.seed().unwrap();
    let creds = Creds { jwt: "ey.e30.x".to_owned(), key: key.clone() };
    let file = creds.format().unwrap();
    let wrong = format!("{}A", seed.expose());
    let shown = format!(
        "{key:?} {seed:?} {creds:?} {file:?} {:?} {}",
        KeyPair::from_seed(&wrong),
        Creds::parse(&wrong).unwrap_err()
    );
    assert!(shown.contains(&key.public_key()));
    assert!(!shown.contains(&seed.expose()[..20]), "{shown}");
}

#[test]
fn a_chain_of_trust() {
    let (operator, account, signing, user) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_user());
    let mut operator_claims = jwt::OperatorClaims::new(operator.public_key());
    let token = jwt::encode(&mut operator_claims, &operator).unwrap();
    let Claims::Operator(operator_claims) = jwt::decode(&token).unwrap() else { panic!() };

    let mut account_claims = jwt::AccountClaims::new(account.public_key());
    account_claims.claims.name = "orders".to_owned();
    account_claims.nats.limits.jetstream.disk_storage = -1;
    account_claims.nats.exports.push(json!({"name": "a<b", "subject": "orders.>", "type": "stream"}));
    let mut scope = UserScope::new(signing.public_key(), "reader");
    scope.template.subscribe.allow.push("orders.>".to_owned());
    account_claims.nats.signing_keys.push(SigningKey::Scoped(Box::new(scope)));
    account_claims.revoke(&user.public_key(), 5);
    account_claims.nats.extra.insert("later".to_owned(), json!({"kept": true}));
    let token = jwt::encode(&mut account_claims, &operator).unwrap();
    let decoded = jwt::decode(&token).unwrap();
    jwt::validate(&decoded, 0).unwrap();
    assert_eq!(decoded, Claims::Account(account_claims.clone()));
    assert!(operator_claims.did_sign(decoded.data()) && account_claims.nats.limits.jetstream_enabled());

    let mut user_claims = jwt::UserClaims::scoped(user.public_key());
    user_claims.nats.issuer_account = account.public_key();
    user_claims.claims.exp = 100;
    let token = jwt::encode_at(&mut user_claims, &signing, 6).unwrap();
    let decoded = jwt::decode(&token).unwrap();
    assert_eq!(decoded, Claims::User(user_claims.clone()));
    assert!(jwt::validate(&decoded, 100).is_ok());
    assert!(matches!(jwt::validate(&decoded, 101), Err(Error::Expired)));
    assert!(account_claims.did_sign(&user_claims) && user_claims.has_empty_rights());
    assert_eq!(account_claims.scope(&user_claims).unwrap().role, "reader");
    assert!(!account_claims.is_revoked(&user.public_key(), 6) && account_claims.is_revoked(&user.public_key(), 5));

    // The wrong signer, the wrong subject.
    assert!(matches!(jwt::encode(&mut user_claims, &operator), Err(Error::KeyKind { .. })));
    assert!(matches!(jwt::encode(&mut user_claims, &user), Err(Error::KeyKind { .. })));
    user_claims.claims.sub = account.public_key();
    assert!(jwt::encode(&mut user_claims, &signing).is_err());
}

#[test]
fn every_changed_byte_of_a_token_is_noticed() {
    let account = KeyPair::new_account();
    let mut claims = jwt::UserClaims::new(KeyPair::new_user().public_key());
    let token = jwt::encode(&mut claims, &account).unwrap();
    jwt::decode(&token).unwrap();
    for at in 0..token.len() {
        for other in [b'A', b'_', b'.', b'=', b'\n'] {
            let mut bytes = token.clone().into_bytes();
            if bytes[at] != other {
                bytes[at] = other;
                assert!(jwt::decode(std::str::from_utf8(&bytes).unwrap()).is_err(), "byte {at}");
            }
        }
        assert!(jwt::decode(&token[..at]).is_err());
    }
    assert!(jwt::decode(&format!("{token}A")).is_err());
    assert!(matches!(jwt::decode(&"a".repeat(jwt::MAX_TOKEN + 1)), Err(Error::Token("too large"))));
}

#[test]
fn creds_files() {
    let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
    let token = jwt::encode(&mut jwt::UserClaims::new(user.public_key()), &account).unwrap();
    let creds = Creds { jwt: token.clone(), key: user.clone() };
    let text = creds.format().unwrap();
    let text = text.expose();
    let seed = user.seed().unwrap();
    let accepted = [
        text.to_owned(),
        text.replace('\n', "\r\n"),
        format!("# a comment\nand more\n\n{text}"),
        text.trim_end().trim_end_matches('*').trim_end().to_owned(),
        text.replace("NATS USER JWT", "USER JWT").replace("------END", "-----END"),
        text.replace(seed.expose(), &format!("  {}  ", seed.expose())),
        format!("{token}\n{}\n", seed.expose()),
        format!("-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n{}", seed.expose()),
    ];
    for text in accepted {
        let back = Creds::parse(&text).unwrap();
        assert_eq!((back.jwt, back.key.public_key()), (token.clone(), user.public_key()));
    }
    let stranger = KeyPair::new_user().seed().unwrap();
    let as_account = KeyPair::new_account().seed().unwrap();
    let refused = [
        String::new(),
        token.clone(),
        seed.expose().to_owned(),
        text.replace(seed.expose(), ""),
        text.replace(&token, ""),
        text.replace(seed.expose(), stranger.expose()),
        text.replace(seed.expose(), as_account.expose()),
        "-".repeat(2 * jwt::MAX_TOKEN),
    ];
    for text in refused {
        assert!(Creds::parse(&text).is_err());
    }

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("user.creds");
    std::fs::write(&path, text).unwrap();
    assert_eq!(Creds::load(&path).unwrap().jwt, token);
    assert!(matches!(Creds::load(dir.path().join("none")), Err(Error::Io(_))));
}
