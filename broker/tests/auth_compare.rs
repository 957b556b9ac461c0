//! The same clients against our server and nats-server: who comes in, who may do what, and the exact words of each refusal.

mod auth_common;

use auth_common::{Raw, Server, nats_server, our_binary};
use natsune_credentials::KeyPair;
use serde_json::{Value, json};

/// What a client does, and what it hears.
fn hears(server: &Server, connect: &Value, key: Option<&KeyPair>, steps: &[&str]) -> Vec<String> {
    let mut raw = Raw::dial(&server.address);
    let mut fields = connect.clone();
    if let Some(key) = key {
        fields["sig"] = raw.sign(key).into();
    }
    raw.say_connect(fields);
    let mut heard = raw.until_pong();
    for step in steps {
        if heard.last().is_some_and(|line| line == "closed") {
            break;
        }
        heard.push(format!("> {}", step.trim_end().replace("\r\n", "|")));
        heard.extend(raw.settle(step));
    }
    heard
}

/// Both servers hear the same and answer the same.
fn same(config: &str, cases: &[(Value, Option<&KeyPair>, &[&str])]) {
    let ours = Server::start(our_binary(), config);
    let theirs = nats_server().map(|program| Server::start(&program, config));
    for (connect, key, steps) in cases {
        let heard = hears(&ours, connect, *key, steps);
        println!("{connect}: {heard:?}");
        if let Some(theirs) = &theirs {
            assert_eq!(heard, hears(theirs, connect, *key, steps), "{connect} under {config}");
        }
    }
}

#[test]
fn users_and_passwords() {
    let hash = bcrypt::hash("right", 4).unwrap();
    let config = format!(
        "authorization {{ users = [ {{user: a, password: plain}}, {{user: b, password: \"{hash}\"}}, {{user: c}} ] }}"
    );
    same(
        &config,
        &[
            (json!({"user": "a", "pass": "plain"}), None, &["PUB x 1\r\n1\r\n"]),
            (json!({"user": "a", "pass": "wrong"}), None, &[]),
            (json!({"user": "b", "pass": "right"}), None, &[]),
            (json!({"user": "b", "pass": "wrong"}), None, &[]),
            (json!({"user": "b", "pass": hash}), None, &[]),
            (json!({"user": "c"}), None, &[]),
            (json!({"user": "nobody", "pass": "x"}), None, &[]),
            (json!({"user": "", "pass": ""}), None, &[]),
            (json!({"auth_token": "plain"}), None, &[]),
            (json!({}), None, &[]),
        ],
    );
}

#[test]
fn one_user_and_one_token() {
    same(
        "authorization { user: u, password: p }",
        &[(json!({"user": "u", "pass": "p"}), None, &[]), (json!({"user": "u"}), None, &[]), (json!({}), None, &[])],
    );
    same(
        "authorization { token: secret }",
        &[
            (json!({"auth_token": "secret"}), None, &[]),
            (json!({"auth_token": "Secret"}), None, &[]),
            (json!({"user": "secret"}), None, &[]),
            (json!({}), None, &[]),
        ],
    );
    let hash = bcrypt::hash("secret", 4).unwrap();
    same(
        &format!("authorization {{ token: \"{hash}\" }}"),
        &[(json!({"auth_token": "secret"}), None, &[]), (json!({"auth_token": hash}), None, &[])],
    );
    same("port: -1", &[(json!({}), None, &[]), (json!({"user": "any", "pass": "thing"}), None, &[])]);
}

#[test]
fn keys() {
    let (known, other) = (KeyPair::new_user(), KeyPair::new_user());
    let config = format!(
        "authorization {{ users = [ {{nkey: {}, permissions {{ publish: a }}}}, {{user: u, password: p}} ] }}",
        known.public_key()
    );
    same(
        &config,
        &[
            (json!({"nkey": known.public_key()}), Some(&known), &["PUB a 0\r\n\r\n", "PUB b 0\r\n\r\n"]),
            (json!({"nkey": known.public_key()}), Some(&other), &[]),
            (json!({"nkey": known.public_key()}), None, &[]),
            (json!({"nkey": known.public_key(), "sig": "!!"}), None, &[]),
            (json!({"nkey": other.public_key()}), Some(&other), &[]),
            (json!({"user": "u", "pass": "p"}), None, &[]),
        ],
    );
}

#[test]
fn the_user_of_those_who_say_nothing() {
    let config = "no_auth_user: guest\naccounts { A { users: [ {user: guest, password: x, permissions { subscribe: open } } ] }, B { users [ {user: b, password: b} ] } }";
    same(
        config,
        &[
            (json!({}), None, &["SUB open 1\r\n", "SUB closed 2\r\n"]),
            (json!({"user": "guest", "pass": "x"}), None, &[]),
            (json!({"user": "guest", "pass": "y"}), None, &[]),
            (json!({"pass": "x"}), None, &[]),
            (json!({"auth_token": "x"}), None, &[]),
            (json!({"jwt": "a.b.c"}), None, &["SUB closed 2\r\n"]),
            (json!({"user": "b", "pass": "b"}), None, &["SUB closed 2\r\n"]),
        ],
    );
}

const OPS: &[&str] = &[
    "SUB a 1\r\n",
    "SUB a q 2\r\n",
    "SUB a.> 3\r\n",
    "SUB > 4\r\n",
    "SUB * 5\r\n",
    "SUB a.* 6\r\n",
    "SUB a.b 7\r\n",
    "SUB a.b q1 8\r\n",
    "SUB a.b q2 9\r\n",
    "SUB _INBOX.> 10\r\n",
    "UNSUB 1\r\nUNSUB 2\r\nUNSUB 3\r\nUNSUB 4\r\nUNSUB 5\r\nUNSUB 6\r\nUNSUB 7\r\nUNSUB 8\r\nUNSUB 9\r\nUNSUB 10\r\n",
    "PUB a 1\r\nx\r\n",
    "PUB a.b 1\r\nx\r\n",
    "PUB a.b.c 1\r\nx\r\n",
    "PUB z 1\r\nx\r\n",
    "PUB a reply 1\r\nx\r\n",
];

#[test]
fn permissions_in_all_their_forms() {
    for permissions in [
        "{}",
        "{ publish: a }",
        "{ publish: [a, 'a.*'], subscribe: [\"a.>\"] }",
        "{ publish { allow: '>' , deny: [a, 'a.b'] }, subscribe { deny: 'a.b' } }",
        "{ subscribe { allow: ['a.b', 'a.b q1'] } }",
        "{ subscribe { allow: ['a.b q1'] } }",
        "{ subscribe { deny: ['a.b q1', 'z'] } }",
        "{ subscribe { allow: 'a.>', deny: 'a.>' } }",
        "{ subscribe { allow: 'a.b' } , publish { deny: '>' } }",
        "{ allow_responses: true }",
        "{ allow_responses: true, publish: a }",
        "{ publish { deny: a } , allow_responses: { max: 2, expires: '1m' } }",
    ] {
        let config = format!("authorization {{ users = [ {{user: u, password: p, permissions {permissions}}} ] }}");
        same(&config, &[(json!({"user": "u", "pass": "p"}), None, OPS)]);
    }
}

/// nats-server reads an empty list of allowed subjects as "all"; here it is what it says.
#[test]
fn an_empty_list_allows_nothing() {
    for permissions in ["{ publish: [], subscribe: [] }", "{ publish { allow: [] }, subscribe { allow: [] } }"] {
        let config = format!("authorization {{ users = [ {{user: u, password: p, permissions {permissions}}} ] }}");
        let server = Server::start(our_binary(), &config);
        let heard = hears(&server, &json!({"user": "u", "pass": "p"}), None, OPS);
        assert_eq!(heard.iter().filter(|line| line.starts_with("-ERR")).count(), 15, "{heard:?}");
    }
}

/// nats-server 2.15.1 lets `SUB >` through an allowed `*` (and `a.>` through `a.*`): it takes `>` for one word.
#[test]
fn everything_is_more_than_one_word() {
    let config = "authorization { users = [ {user: u, password: p, permissions { subscribe: '*' } } ] }";
    let server = Server::start(our_binary(), config);
    let heard =
        hears(&server, &json!({"user": "u", "pass": "p"}), None, &["SUB > 1\r\n", "SUB * 2\r\n", "SUB a 3\r\n"]);
    assert_eq!(heard[1], "-ERR 'Permissions Violation for Subscription to \">\"'");
    assert_eq!(heard.len(), 4, "{heard:?}");
}

#[test]
fn defaults_fill_in_for_users_without_permissions() {
    let config = "authorization { default_permissions { publish: a }, users = [ {user: u, password: p}, {user: v, password: p, permissions { publish: z }} ] }";
    same(config, &[(json!({"user": "u", "pass": "p"}), None, OPS), (json!({"user": "v", "pass": "p"}), None, OPS)]);
    let config = "accounts { A { default_permissions { subscribe: a }, users = [ {user: u, password: p} ] } }";
    same(config, &[(json!({"user": "u", "pass": "p"}), None, OPS)]);
}

#[test]
fn a_wildcard_over_a_denied_subject_is_filtered() {
    let config = "authorization { users = [ {user: u, password: p, permissions { subscribe { deny: ['a.secret', 'b.>'] } }}, {user: w, password: p} ] }";
    let programs = [Some(our_binary().to_owned()), nats_server()];
    let mut heard = programs.into_iter().flatten().map(|program| {
        let server = Server::start(&program, config);
        let mut reader = Raw::connect(&server.address, json!({"user": "u", "pass": "p"}));
        reader.until_pong();
        assert!(reader.settle("SUB > 1\r\nSUB a.* q 2\r\n").is_empty());
        let mut writer = Raw::connect(&server.address, json!({"user": "w", "pass": "p"}));
        writer.until_pong();
        writer.settle("PUB a.open 1\r\n1\r\nPUB a.secret 1\r\n2\r\nPUB b.x 1\r\n3\r\nPUB c 1\r\n4\r\n");
        let mut heard = reader.settle("");
        heard.sort();
        heard
    });
    let ours = heard.next().unwrap();
    assert_eq!(ours, ["1", "1", "4", "MSG a.open 1 1", "MSG a.open 2 1", "MSG c 1 1"]);
    if let Some(theirs) = heard.next() {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn limits_of_accounts() {
    let config = "accounts { A { users = [ {user: u, password: p} ], limits { max_connections: 1, max_payload: 10, max_subscriptions: 2 } } }";
    let programs = [Some(our_binary().to_owned()), nats_server()];
    let mut heard = programs.into_iter().flatten().map(|program| {
        let server = Server::start(&program, config);
        let mut first = Raw::connect(&server.address, json!({"user": "u", "pass": "p"}));
        let mut heard = first.until_pong();
        heard.push(first.info["max_payload"].to_string());
        heard.extend(first.settle("SUB a 1\r\nSUB b 2\r\n"));
        heard.extend(first.settle("SUB c 3\r\n"));
        heard.extend(Raw::connect(&server.address, json!({"user": "u", "pass": "p"})).until_pong());
        heard.extend(first.settle("PUB a 11\r\n12345678901\r\n"));
        heard
    });
    let ours = heard.next().unwrap();
    if let Some(theirs) = heard.next() {
        assert_eq!(ours, theirs);
    }
    assert!(ours.contains(&"-ERR 'maximum account active connections exceeded'".to_owned()), "{ours:?}");
    assert!(ours.contains(&"-ERR 'Maximum Payload Violation'".to_owned()), "{ours:?}");
}

#[test]
fn what_may_stand_before_connect() {
    for config in [
        "port: -1",
        "authorization { user: u, password: p }",
        "no_auth_user: g\nauthorization { users [ {user: g, password: g} ] }",
    ] {
        let programs = [Some(our_binary().to_owned()), nats_server()];
        let mut heard = programs.into_iter().flatten().map(|program| {
            let server = Server::start(&program, config);
            let all: Vec<_> = ["PING\r\n", "PUB a 1\r\nx\r\nPING\r\n", "SUB a 1\r\nPING\r\n", "PONG\r\nPING\r\n"]
                .into_iter()
                .map(|text| {
                    let mut raw = Raw::dial(&server.address);
                    raw.send(text);
                    raw.until_pong()
                })
                .collect();
            all
        });
        let ours = heard.next().unwrap();
        println!("{config}: {ours:?}");
        if let Some(theirs) = heard.next() {
            assert_eq!(ours, theirs, "{config}");
        }
    }
}

#[test]
fn secrets_stay_out_of_the_log() {
    let hash = bcrypt::hash("canary-hash", 4).unwrap();
    let config = format!(
        "debug: true, trace: true\nauthorization {{ users = [ {{user: a, password: canary-password}}, {{user: b, password: \"{hash}\"}} ] }}"
    );
    let server = Server::start(our_binary(), &config);
    for connect in [
        json!({"user": "a", "pass": "canary-password"}),
        json!({"user": "a", "pass": "canary-wrong"}),
        json!({"user": "b", "pass": "canary-hash"}),
        json!({"auth_token": "canary-token", "jwt": "canary-jwt", "sig": "canary-sig"}),
    ] {
        Raw::connect(&server.address, connect).until_pong();
    }
    auth_common::eventually("the refusals are logged", || server.log().matches("authentication error").count() >= 2);
    assert!(!server.log().contains("canary"), "{}", server.log());
    assert!(!server.log().contains(&hash), "{}", server.log());
}
