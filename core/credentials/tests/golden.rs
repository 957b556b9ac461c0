//! Vectors made by the official Go and JavaScript libraries (`golden/gen-go`, `golden/gen-js`): read, verified, reproduced.
use data_encoding::BASE64URL_NOPAD;
use natsune_credentials::jwt::{self, AccountClaims, Claims, OperatorClaims, OtherClaims, UserClaims};
use natsune_credentials::{Creds, KeyPair, verify};
use serde_json::Value;

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn go() -> Value {
    vectors(include_str!("golden/go.json"))
}

fn js() -> Value {
    vectors(include_str!("golden/js.json"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

/// Our claims as JSON, whatever their kind.
fn to_json(claims: &Claims) -> Value {
    match claims {
        Claims::Operator(claims) => serde_json::to_value(claims),
        Claims::Account(claims) => serde_json::to_value(claims),
        Claims::User(claims) => serde_json::to_value(claims),
        Claims::Other(claims) => serde_json::to_value(claims),
        _ => unreachable!(),
    }
    .unwrap()
}

#[test]
fn keys_and_signatures_agree_bit_for_bit() {
    let mut signatures = 0;
    for vectors in [go(), js()] {
        for key in list(&vectors, "keys") {
            let pair = KeyPair::from_seed(text(key, "seed")).unwrap();
            assert_eq!(pair.public_key(), text(key, "public"));
            assert_eq!(pair.seed().unwrap().expose(), text(key, "seed"));
            for (data, signature) in key["signatures"].as_object().unwrap() {
                let signature = BASE64URL_NOPAD.decode(signature.as_str().unwrap().as_bytes()).unwrap();
                assert_eq!(pair.sign(data.as_bytes()).unwrap(), signature);
                verify(text(key, "public"), data.as_bytes(), &signature).unwrap();
                signatures += 1;
            }
        }
    }
    assert_eq!(signatures, (20 + 16) * 4);
}

#[test]
fn tokens_of_go_are_read_as_go_reads_them_and_reproduced() {
    let mut same = 0;
    for vector in list(&go(), "tokens") {
        let (name, token) = (text(vector, "name"), text(vector, "token"));
        let claims = jwt::decode(token).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut expected = vector["claims"].clone();
        drop_nulls(&mut expected);
        assert_eq!(to_json(&claims), expected, "{name}");
        jwt::validate(&claims, 1_700_000_000).unwrap_or_else(|error| panic!("{name}: {error}"));
        if name.starts_with("v1") {
            continue;
        }
        let signer = KeyPair::from_seed(text(vector, "signer")).unwrap();
        let again = match claims.clone() {
            Claims::Operator(mut claims) => encode_again::<OperatorClaims>(&mut claims, &signer),
            Claims::Account(mut claims) => encode_again::<AccountClaims>(&mut claims, &signer),
            Claims::User(mut claims) => encode_again::<UserClaims>(&mut claims, &signer),
            Claims::Other(mut claims) => encode_again::<OtherClaims>(&mut claims, &signer),
            _ => unreachable!(),
        };
        // Exports and imports are kept as JSON, whose keys come out in another order; all else is the same to the byte.
        if name == "account, full" || name == "activation" {
            assert_eq!(jwt::decode(&again).unwrap(), claims, "{name}");
        } else {
            assert_eq!(again, token, "{name}");
            same += 1;
        }
    }
    assert_eq!(same, 9);
}

fn encode_again<C: jwt::Claim>(claims: &mut C, signer: &KeyPair) -> String {
    let issued_at = claims.data().iat;
    jwt::encode_at(claims, signer, issued_at).unwrap()
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[test]
fn tokens_of_javascript_keep_everything_they_say() {
    for vector in list(&js(), "tokens") {
        let (name, kind) = (text(vector, "name"), text(vector, "kind"));
        let claims = jwt::decode(text(vector, "token")).unwrap_or_else(|error| panic!("{name}: {error}"));
        let read = match &claims {
            Claims::Operator(_) => "operator",
            Claims::Account(_) => "account",
            Claims::User(_) => "user",
            _ => "other",
        };
        assert_eq!(read, kind, "{name}");
        jwt::validate(&claims, 1_700_000_000).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut expected = vector["claims"].clone();
        if name.starts_with("v1") {
            // Migrated: the type stands beside the document in version 1.
            let top = expected.as_object_mut().unwrap();
            let kind = top.remove("type").unwrap();
            top["nats"]["type"] = kind;
        }
        assert_contains(&to_json(&claims), &expected, name);
    }
}

/// Everything in `part` is in `whole`; what means "nothing" may be left out.
fn assert_contains(whole: &Value, part: &Value, at: &str) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                let at = format!("{at}.{key}");
                match whole.get(key) {
                    Some(have) => assert_contains(have, value, &at),
                    None => assert!(is_nothing(value), "{at} is lost"),
                }
            }
        }
        (Value::Array(whole), Value::Array(part)) if whole.len() == part.len() => {
            for (index, (have, value)) in whole.iter().zip(part).enumerate() {
                assert_contains(have, value, &format!("{at}[{index}]"));
            }
        }
        _ => assert_eq!(whole, part, "{at}"),
    }
}

fn is_nothing(value: &Value) -> bool {
    value == 0 || value == false || value == "" || value.as_array().is_some_and(Vec::is_empty)
}

#[test]
fn old_tokens_become_new_claims() {
    let find = |name: &str| {
        let vectors = go();
        let vector = list(&vectors, "tokens").iter().find(|vector| text(vector, "name") == name).unwrap();
        jwt::decode(text(vector, "token")).unwrap()
    };
    let Claims::User(user) = find("v1 user") else { panic!() };
    assert_eq!((user.nats.version, user.nats.rights.subs, user.nats.rights.payload), (1, jwt::NO_LIMIT, 100));
    assert_eq!(user.nats.rights.src, ["10.0.0.0/8", "192.168.1.0/24"]);
    assert!(user.nats.rights.bearer_token && !user.nats.issuer_account.is_empty());
    let Claims::Account(account) = find("v1 account") else { panic!() };
    assert!(account.did_sign(&user) && account.is_revoked(&user.claims.sub, 7));
    let Claims::Operator(operator) = find("v1 operator") else { panic!() };
    assert!(operator.did_sign(&account.claims));
}

#[test]
fn creds_files_of_both_are_read_and_those_of_go_written() {
    for (vectors, exact) in [(go(), true), (js(), false)] {
        for vector in list(&vectors, "creds") {
            let creds = Creds::parse(text(vector, "text")).unwrap();
            assert_eq!(
                (creds.jwt.as_str(), creds.key.public_key().as_str()),
                (text(vector, "jwt"), text(vector, "public"))
            );
            if exact {
                assert_eq!(creds.format().unwrap().expose(), text(vector, "text"));
            }
        }
    }
}
