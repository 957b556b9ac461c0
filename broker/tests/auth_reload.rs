//! What a reload does to users and their sessions, and what guessing passwords costs.

mod auth_common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auth_common::{Raw, Server, eventually, our_binary, run};
use natsune_broker::auth::{AccountEvent, Auth, ConnectDoc, PeerContext};
use natsune_broker::config::{Config, NamespacesConfig};
use natsune_broker::log::Log;
use natsune_broker::router::Router;
use serde_json::json;

fn rewrite(server: &Server, config: &str) {
    std::fs::write(server.dir.path().join("server.conf"), config).unwrap();
    server.reload();
}

fn user(server: &Server, name: &str, pass: &str) -> (Raw, Vec<String>) {
    let mut raw = Raw::connect(&server.address, json!({"user": name, "pass": pass}));
    let heard = raw.until_pong();
    (raw, heard)
}

#[test]
fn a_reload_ends_the_sessions_of_those_who_lost_their_rights() {
    let config = |users: &str| format!("authorization {{ users = [ {users} ] }}");
    let server = Server::start(
        our_binary(),
        &config(
            "{user: stays, password: a}, {user: removed, password: a}, {user: changed, password: a}, {user: less, password: a}",
        ),
    );
    let (mut stays, _) = user(&server, "stays", "a");
    let others: Vec<Raw> = ["removed", "changed", "less"].iter().map(|name| user(&server, name, "a").0).collect();
    rewrite(
        &server,
        &config(
            "{user: stays, password: a}, {user: changed, password: b}, {user: less, password: a, permissions { publish: x }}, {user: new, password: n}",
        ),
    );
    for mut other in others {
        assert_eq!(other.until_closed(), ["-ERR 'Authorization Violation'"]);
    }
    assert!(stays.settle("").is_empty());
    assert!(user(&server, "new", "n").1.is_empty());
    assert!(user(&server, "changed", "b").1.is_empty());
    let (mut less, _) = user(&server, "less", "a");
    assert_eq!(less.settle("PUB y 1\r\n1\r\n"), ["-ERR 'Permissions Violation for Publish to \"y\"'"]);

    // A broken file changes nothing.
    rewrite(&server, "authorization { users = [ {user: stays");
    eventually("the error is logged", || server.log().contains("Failed to reload"));
    assert!(stays.settle("").is_empty());
    assert!(user(&server, "new", "n").1.is_empty());
}

#[test]
fn guessing_gets_slow_and_the_right_password_does_not() {
    let server = Server::start(our_binary(), "authorization { user: u, password: right, timeout: 10 }");
    let timed = |pass: &str| {
        let started = Instant::now();
        let heard = user(&server, "u", pass).1;
        (heard, started.elapsed())
    };
    let refusals: Vec<Duration> = (0..14)
        .map(|_| {
            let (heard, took) = timed("wrong");
            assert_eq!(heard, ["-ERR 'Authorization Violation'", "closed"]);
            took
        })
        .collect();
    // Ten for free, then 100, 200, 400 and 800 ms.
    assert!(refusals[10..].iter().sum::<Duration>() > Duration::from_millis(1500), "{refusals:?}");
    let (heard, took) = timed("right");
    assert!(heard.is_empty() && took < refusals[13], "{heard:?} after {took:?}");
}

fn peer() -> PeerContext {
    PeerContext { nonce: String::new(), tls_subject: None, addr: None, kind: "STANDARD" }
}

fn login(name: &str, pass: &str) -> ConnectDoc {
    ConnectDoc { user: Some(name.to_owned()), pass: Some(pass.to_owned()), ..ConnectDoc::default() }
}

fn auth(config: &Config) -> (Arc<Auth>, Arc<Router>) {
    let router = Arc::new(Router::new());
    (Auth::new(config, router.clone(), Log::off()).unwrap(), router)
}

#[tokio::test]
async fn hashing_leaves_the_runtime_alone() {
    let hash = bcrypt::hash("right", 10).unwrap();
    let config =
        Config::parse_str(&format!("authorization {{ users = [ {{user: u, password: \"{hash}\"}} ] }}")).unwrap();
    let (auth, _) = auth(&config);
    let logins: Vec<_> = (0..8)
        .map(|_| {
            let auth = auth.clone();
            tokio::spawn(async move { auth.authenticate(&login("u", "right"), &peer()).await.is_ok() })
        })
        .collect();
    // This runtime has one thread: it goes on turning while the passwords are hashed.
    let mut turns = 0;
    while !logins.iter().all(|login| login.is_finished()) {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns > 100, "{turns}");
    for login in logins {
        assert!(login.await.unwrap());
    }
}

#[tokio::test]
async fn listeners_hear_of_accounts_until_they_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { namespaces: Some(NamespacesConfig { dir: dir.path().to_owned() }), ..Config::ephemeral() };
    let heard = |auth: &Auth| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = log.clone();
        auth.watch_accounts(move |event| {
            note.lock().unwrap().push(match event {
                AccountEvent::Present(account) => format!("+{} {}", account.name, account.jetstream().enabled),
                AccountEvent::Removed(account) => format!("-{}", account.name),
            });
        });
        log
    };
    let (auth_1, router) = auth(&config);
    let log = heard(&auth_1);
    let mut start = std::mem::take(&mut *log.lock().unwrap());
    start.sort();
    assert_eq!(start, ["+$G true", "+$SYS false"]);
    let namespaces = auth_1.namespaces().unwrap();
    let id = namespaces.create_namespace("a").unwrap().id;
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), [format!("+{id} true")]);
    assert!(router.account(&id).is_some());
    namespaces.create_credentials("a", "x").unwrap();
    assert!(log.lock().unwrap().is_empty(), "its settings are the same");
    let generation = *auth_1.subscribe_changes().borrow();
    namespaces.delete_namespace("a").unwrap();
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), [format!("-{id}")]);
    assert!(router.account(&id).is_none());
    assert!(*auth_1.subscribe_changes().borrow() > generation);

    // Its data may still be there: the next start says so again, until somebody says that it is gone.
    let (auth_2, _) = auth(&config);
    assert!(heard(&auth_2).lock().unwrap().contains(&format!("-{id}")));
    auth_2.forget(&id);
    auth_2.forget("$G");
    auth_2.forget("../../etc/passwd");
    let (auth_3, _) = auth(&config);
    assert!(!heard(&auth_3).lock().unwrap().contains(&format!("-{id}")));
}

#[tokio::test]
async fn accounts_of_a_configuration_come_and_go_with_it() {
    let text = "accounts { A { users = [ {user: a, password: a} ], jetstream: enabled }, B { users = [ {user: b, password: b} ] }, SYS { users = [ {user: s, password: s} ], jetstream: true } }\nsystem_account: SYS\njetstream: true";
    let (auth, router) = auth(&Config::parse_str(text).unwrap());
    let enabled = |name: &str| router.account(name).map(|account| account.jetstream().enabled);
    assert_eq!(
        (enabled("A"), enabled("B"), enabled("SYS"), enabled("$G")),
        (Some(true), Some(false), Some(false), Some(false))
    );
    assert_eq!(auth.system_account().name, "SYS");
    let a = auth.authenticate(&login("a", "a"), &peer()).await.unwrap();
    let b = auth.authenticate(&login("b", "b"), &peer()).await.unwrap();
    assert_eq!((a.account.name.as_str(), b.account.name.as_str()), ("A", "B"));
    assert!(auth.still_valid(&a).is_none() && auth.still_valid(&b).is_none());
    auth.reload(
        &Config::parse_str(
            "accounts { A { users = [ {user: a, password: a} ], jetstream { max_streams: 3 } } }\njetstream: true",
        )
        .unwrap(),
    )
    .unwrap();
    assert_eq!((auth.still_valid(&a), auth.still_valid(&b)), (None, Some("Authorization Violation")));
    assert_eq!(a.account.jetstream().max_streams, 3, "the same account with new settings");
    assert!(auth.authenticate(&login("b", "b"), &peer()).await.is_err());
    assert_eq!(auth.system_account().name, "$SYS");
}

#[test]
fn a_check_of_the_file_looks_at_operators_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conf");
    std::fs::write(&path, "operator: eyJhbGciOiJlZDI1NTE5In0.e30.x\nresolver: MEMORY\nnamespaces { dir: never-made }")
        .unwrap();
    let (code, _, said) = run(our_binary(), &["-t", "-c", path.to_str().unwrap()]);
    assert_eq!((code, said.contains("operator: ")), (1, true), "{said}");
    std::fs::write(&path, format!("namespaces {{ dir: {:?} }}", dir.path().join("ns"))).unwrap();
    let (code, ..) = run(our_binary(), &["-t", "-c", path.to_str().unwrap()]);
    assert_eq!((code, dir.path().join("ns").exists()), (0, false), "a check makes nothing");
}
