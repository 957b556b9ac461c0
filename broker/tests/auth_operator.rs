//! Operator mode: who comes in by JWT, the same on our server and on nats-server.

mod auth_common;

use std::time::{SystemTime, UNIX_EPOCH};

use auth_common::{Raw, Server, nats_server, our_binary};
use data_encoding::BASE64URL_NOPAD;
use natsune_credentials::KeyPair;
use natsune_credentials::jwt::{
    self, AccountClaims, OperatorClaims, Permission, Permissions, ResponsePermission, SigningKey, UserClaims,
    UserScope, encode,
};
use serde_json::json;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// An operator with accounts, and users to try.
struct World {
    operator: KeyPair,
    operator_token: String,
    accounts: Vec<(String, String)>,
    system: String,
    users: Vec<Case>,
}

struct Case {
    what: String,
    token: String,
    /// Signs the nonce; `None`: nothing is signed.
    signer: Option<KeyPair>,
    steps: Vec<&'static str>,
}

impl World {
    fn new() -> World {
        let operator = KeyPair::new_operator();
        let operator_token = encode(&mut OperatorClaims::new(operator.public_key()), &operator).unwrap();
        let mut world =
            World { operator, operator_token, accounts: Vec::new(), system: String::new(), users: Vec::new() };
        world.system = world.account(&KeyPair::new_account(), |_| {});
        world
    }

    fn account(&mut self, key: &KeyPair, change: impl FnOnce(&mut AccountClaims)) -> String {
        let mut claims = AccountClaims::new(key.public_key());
        change(&mut claims);
        let token = encode(&mut claims, &self.operator).unwrap();
        self.accounts.push((key.public_key(), token));
        key.public_key()
    }

    /// A user signed by `signer`; it belongs to `account` when that is not the signer itself.
    fn user(
        &mut self,
        what: &str,
        signer: &KeyPair,
        account: &KeyPair,
        steps: &[&'static str],
        change: impl FnOnce(&mut UserClaims),
    ) {
        let key = KeyPair::new_user();
        let mut claims = UserClaims::new(key.public_key());
        if signer.public_key() != account.public_key() {
            claims.nats.issuer_account = account.public_key();
        }
        change(&mut claims);
        let token = encode(&mut claims, signer).unwrap();
        self.users.push(Case { what: what.to_owned(), token, signer: Some(key), steps: steps.to_vec() });
    }

    fn config(&self) -> String {
        let preload: Vec<String> = self.accounts.iter().map(|(id, token)| format!("  {id}: {token}\n")).collect();
        format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n{}}}\n",
            self.operator_token,
            self.system,
            preload.concat()
        )
    }

    /// Each user on both servers; returns what ours said.
    fn run(&self) -> Vec<(String, Vec<String>)> {
        let config = self.config();
        let ours = Server::start(our_binary(), &config);
        let theirs = nats_server().map(|program| Server::start(&program, &config));
        let mut all = Vec::new();
        for case in &self.users {
            let heard = hears(&ours, case);
            if let Some(theirs) = &theirs {
                assert_eq!(heard, hears(theirs, case), "{}", case.what);
            }
            all.push((case.what.clone(), heard));
        }
        all
    }
}

fn hears(server: &Server, case: &Case) -> Vec<String> {
    let mut raw = Raw::dial(&server.address);
    let mut fields = json!({"jwt": case.token});
    if let Some(key) = &case.signer {
        fields["sig"] = raw.sign(key).into();
    }
    raw.say_connect(fields);
    let mut heard = raw.until_pong();
    for step in &case.steps {
        if heard.last().is_some_and(|line| line == "closed") {
            break;
        }
        // Which subscription gets a message first is nobody's promise.
        let mut answers = raw.settle(step);
        answers.sort();
        heard.extend(answers);
    }
    heard
}

fn refused(heard: &[String]) -> bool {
    heard == ["-ERR 'Authorization Violation'", "closed"]
}

/// The names of the users that were not let in.
fn turned_away(all: &[(String, Vec<String>)]) -> Vec<&str> {
    all.iter().filter(|(_, heard)| refused(heard)).map(|(what, _)| what.as_str()).collect()
}

#[test]
fn the_chain_of_signatures() {
    let mut world = World::new();
    let (account, signing, stranger) = (KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
    let other = KeyPair::new_account();
    world.account(&account, |claims| claims.nats.signing_keys.push(SigningKey::Plain(signing.public_key())));
    world.account(&other, |_| {});
    world.user("good: own key", &account, &account, &["PUB a 1\r\nx\r\n"], |_| {});
    world.user("good: signing key", &signing, &account, &["SUB a 1\r\n"], |_| {});
    world.user("bad: a stranger's key", &stranger, &account, &[], |_| {});
    world.user("bad: unknown account", &stranger, &stranger, &[], |_| {});
    world.user("bad: another account's key", &other, &account, &[], |_| {});
    world.user("bad: a signing key for another account", &signing, &other, &[], |_| {});
    world.user("bad: expired", &account, &account, &[], |user| user.claims.exp = now() - 10);
    world.user("bad: not yet", &account, &account, &[], |user| user.claims.nbf = now() + 1000);
    world.user("good: in time", &account, &account, &[], |user| {
        (user.claims.nbf, user.claims.exp) = (now() - 10, now() + 1000)
    });
    world.user("bad: nothing signed", &account, &account, &[], |_| {});
    world.users.last_mut().unwrap().signer = None;
    world.user("bad: signed by somebody else", &account, &account, &[], |_| {});
    world.users.last_mut().unwrap().signer = Some(KeyPair::new_user());
    let token = world.users[0].token.clone();
    let forged = |what: &str, token: String| Case {
        what: what.to_owned(),
        token,
        signer: Some(KeyPair::new_user()),
        steps: Vec::new(),
    };
    world.users.push(forged("bad: cut", token[..token.len() - 4].to_owned()));
    world.users.push(forged("bad: no token", "eyJ.x.y".to_owned()));
    let account_token = world.accounts[1].1.clone();
    world.users.push(forged("bad: an account's token", account_token));
    world.users.push(Case { what: "bad: empty".to_owned(), token: String::new(), signer: None, steps: Vec::new() });
    let all = world.run();
    let bad: Vec<&str> = all.iter().map(|(what, _)| what.as_str()).filter(|what| what.starts_with("bad")).collect();
    assert_eq!(turned_away(&all), bad);
}

#[test]
fn what_an_account_allows() {
    let mut world = World::new();
    let key = |world: &mut World, change: fn(&mut AccountClaims)| {
        let key = KeyPair::new_account();
        world.account(&key, change);
        key
    };
    let expired = key(&mut world, |claims| claims.claims.exp = now() - 10);
    let closed = key(&mut world, |claims| claims.nats.limits.conn = 0);
    let small = key(&mut world, |claims| (claims.nats.limits.payload, claims.nats.limits.subs) = (10, 1));
    let strict = key(&mut world, |claims| claims.nats.limits.disallow_bearer = true);
    let free = key(&mut world, |_| {});
    let quiet = key(&mut world, |claims| {
        claims.nats.default_permissions = Permissions {
            publish: Permission { allow: vec!["a.>".to_owned()], deny: vec!["a.x".to_owned()] },
            ..Permissions::default()
        };
    });
    const OPS: &[&str] = &[
        "SUB a.b 1\r\n",
        "SUB c 2\r\n",
        "PUB a.b 1\r\n1\r\n",
        "PUB a.x 1\r\n1\r\n",
        "PUB b 1\r\n1\r\n",
        "PUB a.b 11\r\n12345678901\r\n",
    ];
    world.user("expired account", &expired, &expired, &[], |_| {});
    world.user("no connections", &closed, &closed, &[], |_| {});
    world.user("small", &small, &small, OPS, |_| {});
    world.user("default permissions", &quiet, &quiet, OPS, |_| {});
    world.user("permissions of its own", &quiet, &quiet, OPS, |user| {
        user.nats.rights.publish.deny = vec!["b".to_owned()]
    });
    world.user("subscriptions", &free, &free, OPS, |user| user.nats.rights.subs = 1);
    world.user("payload", &free, &free, OPS, |user| user.nats.rights.payload = 10);
    for (what, account) in [("bearer", &free), ("bearer forbidden", &strict)] {
        world.user(what, account, account, &[], |user| user.nats.rights.bearer_token = true);
        world.users.last_mut().unwrap().signer = None;
    }
    let all = world.run();
    assert_eq!(turned_away(&all), ["expired account", "bearer forbidden"]);
}

#[test]
fn what_a_user_may() {
    let mut world = World::new();
    let account = KeyPair::new_account();
    world.account(&account, |_| {});
    const OPS: &[&str] = &["SUB a 1\r\n", "SUB a q 2\r\n", "SUB > 3\r\n", "PUB a 1\r\nx\r\n", "PUB b 1\r\nx\r\n"];
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    world.user("publish", &account, &account, OPS, |user| user.nats.rights.publish.allow = list(&["b"]));
    world.user("subscribe", &account, &account, OPS, |user| user.nats.rights.subscribe.allow = list(&["a q", "b"]));
    world.user("deny", &account, &account, OPS, |user| {
        (user.nats.rights.publish.deny, user.nats.rights.subscribe.deny) = (list(&["a"]), list(&["a"]))
    });
    world.user("answers", &account, &account, OPS, |user| {
        user.nats.rights.resp = Some(ResponsePermission { max: 1, ttl: 0 })
    });
    world.user("kind", &account, &account, OPS, |user| user.nats.rights.allowed_connection_types = list(&["STANDARD"]));
    world.user("other kind", &account, &account, OPS, |user| {
        user.nats.rights.allowed_connection_types = list(&["WEBSOCKET"])
    });
    world.user("near", &account, &account, OPS, |user| user.nats.rights.src = list(&["10.0.0.0/8", "127.0.0.0/8"]));
    world.user("far", &account, &account, OPS, |user| user.nats.rights.src = list(&["10.0.0.0/8"]));
    let range = |start: &str, end: &str| vec![jwt::TimeRange { start: start.to_owned(), end: end.to_owned() }];
    world.user("all day", &account, &account, OPS, |user| user.nats.rights.times = range("00:00:00", "23:59:59"));
    let all = world.run();
    assert_eq!(turned_away(&all), ["other kind", "far"]);
}

#[test]
fn scoped_signing_keys() {
    let mut world = World::new();
    let (account, scoped) = (KeyPair::new_account(), KeyPair::new_account());
    world.account(&account, |claims| {
        claims.claims.name = "acc".to_owned();
        let mut scope = UserScope::new(scoped.public_key(), "role");
        scope.template.publish.allow = vec!["own.{{name()}}".to_owned(), "{{account-name()}}.{{tag(team)}}".to_owned()];
        scope.template.subs = 1;
        claims.nats.signing_keys.push(SigningKey::Scoped(Box::new(scope)));
    });
    const OPS: &[&str] = &[
        "PUB own.bob 1\r\nx\r\n",
        "PUB own.eve 1\r\nx\r\n",
        "PUB acc.red 1\r\nx\r\n",
        "PUB acc.blue 1\r\nx\r\n",
        "SUB a 1\r\n",
        "SUB b 2\r\n",
    ];
    let empty = |user: &mut UserClaims| {
        user.nats.rights = UserClaims::scoped(user.claims.sub.clone()).nats.rights;
        user.claims.name = "bob".to_owned();
    };
    world.user("tagged", &scoped, &account, OPS, |user| {
        empty(user);
        user.nats.tags = vec!["team:red".to_owned(), "team:green".to_owned()];
    });
    world.user("without a tag", &scoped, &account, OPS, empty);
    world.user("with rights of its own", &scoped, &account, OPS, |user| user.claims.name = "bob".to_owned());
    let all = world.run();
    assert_eq!(turned_away(&all), ["with rights of its own"]);
    assert_eq!(all[0].1.iter().filter(|line| line.starts_with("-ERR 'Permissions")).count(), 2, "{:?}", all[0]);
}

#[test]
fn revocations() {
    let mut world = World::new();
    let (account, all_revoked) = (KeyPair::new_account(), KeyPair::new_account());
    world.user("revoked", &account, &account, &[], |_| {});
    world.user("good", &account, &account, &[], |_| {});
    world.user("all revoked", &all_revoked, &all_revoked, &[], |_| {});
    let revoked = world.users[0].signer.as_ref().unwrap().public_key();
    let other = world.users[1].signer.as_ref().unwrap().public_key();
    world.account(&account, |claims| {
        claims.revoke(&revoked, now() + 10);
        claims.revoke(&other, now() - 100);
    });
    world.account(&all_revoked, |claims| claims.revoke("*", now() + 10));
    assert_eq!(turned_away(&world.run()), ["revoked", "all revoked"]);
}

/// Version 1: the type stands beside `nats`, and only the claims are signed.
fn version_1(subject: &str, signer: &KeyPair, kind: &str, nats: serde_json::Value) -> String {
    let header = BASE64URL_NOPAD.encode(br#"{"typ":"jwt","alg":"ed25519"}"#);
    let claims = json!({"jti": "X", "iat": now(), "iss": signer.public_key(), "name": "old", "sub": subject, "type": kind, "nats": nats});
    let claims = BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
    let signature = BASE64URL_NOPAD.encode(&signer.sign(claims.as_bytes()).unwrap());
    format!("{header}.{claims}.{signature}")
}

#[test]
fn old_tokens() {
    let mut world = World::new();
    let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
    world.operator_token = version_1(&world.operator.public_key(), &world.operator, "operator", json!({}));
    let limits = json!({"limits": {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "wildcards": true}});
    world.accounts.push((account.public_key(), version_1(&account.public_key(), &world.operator, "account", limits)));
    let token = version_1(&user.public_key(), &account, "user", json!({"pub": {"allow": ["a"]}}));
    world.users.push(Case {
        what: "old".to_owned(),
        token,
        signer: Some(user),
        steps: vec!["PUB a 1\r\nx\r\n", "PUB b 1\r\nx\r\n", "SUB c 1\r\n"],
    });
    let all = world.run();
    assert_eq!(all[0].1, ["-ERR 'Permissions Violation for Publish to \"b\"'"]);
}

#[test]
fn a_broken_operator_or_account_does_not_start() {
    let mut world = World::new();
    let account = KeyPair::new_account();
    world.account(&account, |_| {});
    let stranger = World::new();
    let refused = |config: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.conf");
        std::fs::write(&path, config).unwrap();
        let (code, _, said) = auth_common::run(our_binary(), &["-c", path.to_str().unwrap(), "-p", "-1"]);
        assert_eq!(code, 1, "{said}");
        said
    };
    let good = world.config();
    let said = refused(&good.replace(&world.operator_token, &stranger.operator_token));
    assert!(said.contains("not signed by a trusted operator"), "{said}");
    let said = refused(
        &good
            .replace(&format!("  {}: ", account.public_key()), &format!("  {}: ", KeyPair::new_account().public_key())),
    );
    assert!(said.contains("the token of another account"), "{said}");
    let said = refused(&good.replace(&world.operator_token, &world.accounts[0].1));
    assert!(said.contains("operator: "), "{said}");
    refused(&format!("{good}\nauthorization {{ token: x }}"));
}

#[test]
fn operators_and_tokens_from_files() {
    let mut world = World::new();
    let account = KeyPair::new_account();
    world.account(&account, |_| {});
    world.user("good", &account, &account, &[], |_| {});
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("op.jwt"),
        format!("-----BEGIN NATS OPERATOR JWT-----\n{}\n------END NATS OPERATOR JWT------\n", world.operator_token),
    )
    .unwrap();
    std::fs::write(dir.path().join("server.conf"), world.config().replace(&world.operator_token, "op.jwt")).unwrap();
    let server = Server::start_in(our_binary(), dir);
    assert!(hears(&server, &world.users[0]).is_empty());
}

#[test]
fn the_end_of_a_token_ends_the_connection() {
    for program in [Some(our_binary().to_owned()), nats_server()].into_iter().flatten() {
        for (whose, said) in
            [("user", "-ERR 'User Authentication Expired'"), ("account", "-ERR 'Account Authentication Expired'")]
        {
            // Longer and longer: a server may take its time to start.
            let heard = [2, 8, 32].into_iter().find_map(|seconds| {
                let mut world = World::new();
                let account = KeyPair::new_account();
                let mut end = now() + seconds;
                world.account(&account, |claims| claims.claims.exp = if whose == "account" { end } else { 0 });
                let server = Server::start(&program, &world.config());
                end = now() + seconds;
                world.user("short", &account, &account, &[], |user| {
                    user.claims.exp = if whose == "user" { end } else { 0 };
                });
                let case = &world.users[0];
                let mut raw = Raw::dial(&server.address);
                let sig = raw.sign(case.signer.as_ref().unwrap());
                raw.say_connect(json!({"jwt": case.token, "sig": sig}));
                raw.until_pong().is_empty().then(|| (raw.until_closed(), hears(&server, case)))
            });
            let (heard, again) = heard.expect("was let in at least once");
            assert_eq!(heard, [said], "{whose} on {}", program.display());
            // On the real one this may still be within the last second.
            assert!(program != our_binary() || refused(&again), "{whose}: {again:?}");
        }
    }
}
