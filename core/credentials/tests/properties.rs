//! Claims, keys and files with random contents come back as they were; random text never panics.
use natsune_credentials::jwt::{self, Claims, Permission, TimeRange, UserClaims};
use natsune_credentials::{Creds, KeyKind, KeyPair, verify};
use proptest::prelude::*;
use serde_json::json;

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(".{0,8}|[a-z*>.]{1,8}", 0..4)
}

fn permission() -> impl Strategy<Value = Permission> {
    (texts(), texts()).prop_map(|(allow, deny)| Permission { allow, deny })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn users_come_back_as_they_were(
        name in ".{0,12}", aud in ".{0,6}", exp: i64, nbf: i64, issued_at: i64,
        publish in permission(), subscribe in permission(), tags in texts(), times in "[0-9:]{0,8}", subs: i64, bearer: bool,
        extra in ".{0,8}",
    ) {
        let account = KeyPair::new_account();
        let mut user = UserClaims::new(KeyPair::new_user().public_key());
        (user.claims.name, user.claims.aud, user.claims.exp, user.claims.nbf) = (name, aud, exp, nbf);
        let rights = &mut user.nats.rights;
        (rights.publish, rights.subscribe, rights.subs, rights.bearer_token) = (publish, subscribe, subs, bearer);
        rights.times.push(TimeRange { start: times.clone(), end: times });
        user.nats.tags = tags;
        user.nats.extra.insert(format!("x-{extra}"), json!({"kept": [1, 2.5, extra]}));
        user.extra.insert("beside".to_owned(), json!(true));
        let token = jwt::encode_at(&mut user, &account, issued_at).unwrap();
        prop_assert_eq!(jwt::decode(&token).unwrap(), Claims::User(user));
    }

    #[test]
    fn nothing_panics_on_nonsense(text in ".{0,80}", token in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}") {
        prop_assert!(jwt::decode(&text).is_err() && jwt::decode(&token).is_err());
        prop_assert!(Creds::parse(&text).is_err() && KeyPair::from_seed(&text).is_err() && KeyKind::of(&text).is_none());
        prop_assert!(verify(&text, b"", &[0; 64]).is_err());
    }

    #[test]
    fn a_signature_is_good_for_its_data_and_key_only(data: Vec<u8>, flip in 0usize..512) {
        let (key, other) = (KeyPair::new_user(), KeyPair::new_user());
        let mut signature = key.sign(&data).unwrap();
        prop_assert!(verify(&key.public_key(), &data, &signature).is_ok());
        prop_assert!(verify(&other.public_key(), &data, &signature).is_err());
        signature[flip / 8] ^= 1 << (flip % 8);
        prop_assert!(verify(&key.public_key(), &data, &signature).is_err());
    }
}
