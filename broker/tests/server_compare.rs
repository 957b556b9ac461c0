//! The same bytes to our server and to the real one: the same answers.
//!
//! The real one is named by `NATSUNE_NATS_SERVER`; without it the test says that it was skipped, and fails under `CI=true`.

mod server_common;

use std::path::Path;
use std::process::Stdio;

use natsune_broker::Broker;
use server_common::{Raw, address, config, start, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const C: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n";
const V: &str = "CONNECT {\"verbose\":true,\"pedantic\":true,\"headers\":true}\r\n";
const A: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"user\":\"a\",\"pass\":\"b\"}\r\n";

/// `^` stands for [`C`], `~` for [`V`], `@` for [`A`], `|` for CR LF.
const OPEN: &[&str] = &[
    "PING|",
    "ping|PING|",
    "PING|PUB a 0||PING|",
    "CONNECT {}|PING|",
    "CONNECT null|PING|",
    "CONNECT []|PING|",
    "CONNECT {bad}|PING|",
    "CONNECT |PING|",
    "CONNECT {\"verbose\":\"yes\"}|PING|",
    "CONNECT {\"tls_required\":true}|PING|",
    "CONNECT {\"protocol\":7,\"verbose\":false}|PING|",
    "CONNECT {\"protocol\":-1,\"verbose\":false}|PING|",
    "CONNECT {\"no_responders\":true,\"verbose\":false}|PING|",
    "CONNECT {\"verbose\":false,\"echo\":false}|SUB a 1|PUB a 1|x|PING|",
    "CONNECT {\"verbose\":false,\"echo\":false,\"headers\":true,\"no_responders\":true}|SUB a 1|SUB r 2|PUB a r 1|x|PING|",
    "CONNECT {\"verbose\":false,\"headers\":false}|HPUB a 12 13|NATS/1.0||x|PING|",
    "CONNECT {\"verbose\":null,\"echo\":null,\"headers\":null,\"protocol\":null,\"user\":null}|PING|",
    "CONNECT {\"verbose\":true,\"verbose\":false}|PING|",
    "CONNECT {\"VERBOSE\":false,\"Pedantic\":false}|PING|",
    "CONNECT {\"verbose\":false,\"protocol\":1.0}|PING|",
    "CONNECT {\"verbose\":false,\"name\":5}|PING|",
    "CONNECT {\"verbose\":false,\"other\":{\"deep\":[1]}}|PING|",
    "CONNECT \"verbose\"|PING|",
    "^PING|PING|",
    "^^PING|",
    "^PING |PONG |PING x|",
    "^|PING|",
    "^ PING|",
    "^FOO|",
    "^MSG a 1 0||",
    "^INFO {}|PING|",
    "^PING|PONG|PONG|PING|",
    "GET / HTTP/1.1|Host: x||",
    "\u{16}\u{3}\u{1}",
    // Publishing and receiving.
    "^SUB foo 1|PUB foo 2|hi|PING|",
    "^SUB foo 1|PUB foo reply 2|hi|PING|",
    "^SUB foo 1|PUB foo 0||PING|",
    "^SUB foo 1|PUB\tfoo\t2|hi|PING|",
    "^sub foo 1|pub foo 2|hi|PING|",
    "^SUB * 1|SUB > 2|SUB foo.* 3|PUB foo 1|x|PING|",
    "^SUB foo.* 3|PUB foo.bar 1|x|PUB foo.bar.baz 1|x|PUB foo 1|x|PING|",
    "^SUB foo.> 3|PUB foo.bar 1|x|PUB foo.bar.baz 1|x|PUB foo 1|x|PING|",
    "^SUB > 1|SUB a.> 2|SUB *.* 3|SUB a.*.b 4|PUB a..b 1|x|PUB .b 1|x|PUB a. 1|x|PUB . 1|x|PUB .. 1|x|PUB a.b.. 1|x|PING|",
    "^SUB > 1|SUB r 2|UNSUB 1|SUB a.> 3|PUB a..b r 1|x|PING|",
    "^SUB a*b 1|PUB a*b 1|x|PUB aXb 1|x|PING|",
    "^SUB foo 1|PUB foo.* 1|x|PUB * 1|x|PING|",
    "^SUB foo.* 1|PUB foo.* 1|x|PING|",
    "^SUB foo 1|HPUB foo 12 14|NATS/1.0||hi|PING|",
    "^SUB foo 1|HPUB foo reply 22 24|NATS/1.0|Key: val||hi|PING|",
    "^SUB foo 1|HPUB foo 4 6|ABCDxx|PING|",
    "^SUB foo 1|PUB foo $JS.ACK.x 1|x|PUB foo _R_.x 1|x|PUB foo _GR_.x 1|x|PUB foo $GR.x 1|x|PING|",
    "^SUB foo 1|PUB foo $JS.ACK 1|x|PUB foo $JS.ACK. 1|x|PUB foo _R_ 1|x|PUB foo $JS.FC.x 1|x|PING|",
    "~HPUB foo $JS.ACK.x 12 12|NATS/1.0|||PING|",
    "^SUB foo 1|PUB foo 4|hi|PING|",
    "^SUB foo 1|PUB foo 1|hi|PING|",
    "^PUB foo -1|",
    "^PUB foo|",
    "^PUB |",
    "^PUB foo a b 1|x|",
    "^PUB foo 99999999|",
    "^PUB foo 1234567890123|",
    "^PUB foo +1|x|",
    "^HPUB foo 12 11|",
    "^HPUB foo a b 4 6|",
    "~PUB foo. 0||PUB .foo 0||PUB foo..bar 0||PUB foo.* 0||PUB > 0||PING|",
    "~SUB foo. 1|SUB a..b 2|SUB foo.>.a 3|SUB >.a 4|SUB . 5|SUB foo.*.> 6|PING|",
    "~SUB foo 1|PUB foo 2|hi|UNSUB 1|UNSUB 9|PING|",
    // Subscriptions.
    "^SUB foo 1|SUB foo 1|PUB foo 1|x|PING|",
    "~SUB foo 1|SUB a..b 1|PUB foo 1|x|PING|",
    "^SUB foo q 1|SUB foo q 2|UNSUB 2|PUB foo 1|x|PING|",
    "^SUB foo q 1|SUB foo 2|UNSUB 1|PUB foo 1|x|PING|",
    "^SUB foo 1|UNSUB 1 2|PUB foo 1|a|PUB foo 1|b|PUB foo 1|c|PING|",
    "^SUB foo 1|PUB foo 1|a|PUB foo 1|b|UNSUB 1 2|PUB foo 1|c|PING|",
    "^SUB foo 1|PUB foo 1|a|PUB foo 1|b|UNSUB 1 3|PUB foo 1|c|PUB foo 1|d|PING|",
    "^SUB foo 1|UNSUB 1 1|PUB foo 1|a|SUB foo 1|PUB foo 1|b|PING|",
    "^SUB foo 1|UNSUB 1 0|PUB foo 1|a|PING|",
    "^SUB foo 1|UNSUB 1 x|PUB foo 1|a|PING|",
    "^SUB foo|",
    "^SUB a b c d|",
    "^SUB  |",
    "^SUB|",
    "^UNSUB|",
    "^UNSUB 1 2 3|",
    // No responders.
    "^SUB inb 7|PUB none inb 1|x|PING|",
    "^SUB inb.* 7|HPUB none inb.1 12 13|NATS/1.0||x|PING|",
    "^SUB other 7|PUB none inb 1|x|PING|",
    "^SUB inb q 7|PUB none inb 1|x|PING|",
    "^SUB inb q 7|SUB inb 8|PUB none inb 1|x|PING|",
    "^PUB none 1|x|PING|",
    "^SUB inb 7|SUB svc q 8|PUB svc inb 1|x|PING|",
    "^SUB inb 7|UNSUB 7 1|PUB none inb 1|x|PUB none inb 1|x|PING|",
];

/// With [`USERS`] configured.
const USERS: &str = "
    authorization {
      timeout: 10
      users = [
        { user: a, password: b, permissions: { publish: [\"ok.>\", \"_R.*\"], subscribe: { allow: [\"ok.>\", \"q.x grp\", \"_R.*\"], deny: [\"ok.no\"] } } }
        { user: s, password: s, permissions: { subscribe: [\"svc\", \"_R.*\"], publish: { deny: [\"d\"] }, allow_responses: true } }
      ]
    }
    max_subscriptions: 3
    max_payload: 100
";

const RIGHTS: &[&str] = &[
    "PING|",
    "PUB a 1|x|",
    "SUB a 1|",
    "FOO|",
    "CONNECT {\"user\":\"a\",\"pass\":\"x\"}|PING|",
    "CONNECT {\"user\":\"nobody\",\"pass\":\"x\"}|PING|",
    "CONNECT {}|PING|",
    "CONNECT {\"auth_token\":\"b\"}|PING|",
    "CONNECT {\"user\":\"a\",\"pass\":\"b\",\"protocol\":9}|PING|",
    "CONNECT {\"user\":\"a\",\"pass\":\"b\"}|PUB no 1|x|PUB ok.a 1|x|SUB no 1|SUB ok.a 2|PING|",
    "@PING|",
    "@PUB no 1|x|PING|",
    "@PUB ok. 1|x|PUB ok..a 1|x|PUB _R. 1|x|PUB .ok 1|x|PING|",
    "@SUB ok. 1|SUB ok..a 2|SUB ok.a. q 3|SUB _R. 4|PING|",
    "@PUB ok.a no.r 1|x|PING|",
    "@PUB no $JS.ACK.x 1|x|PUB ok.a $JS.ACK.x 1|x|PING|",
    "@HPUB no 12 13|NATS/1.0||x|PING|",
    "@SUB no 1|SUB no q 2|PUB no 1|x|PING|",
    "@SUB q.x grp 1|SUB q.x other 2|SUB q.x 3|PING|",
    "@SUB > 1|SUB * 2|SUB ok.* 3|SUB ok.> 4|PING|",
    "@SUB ok.> 4|PUB ok.no 1|x|PUB ok.y 1|y|PING|",
    "@SUB ok.no 5|SUB ok.no q 6|PING|",
    "@SUB ok.a 1|SUB ok.b 2|SUB ok.c 3|SUB ok.d 4|PING|UNSUB 1|SUB ok.d 4|PING|",
    "@PUB ok.a 101|PING|",
    "@SUB _R.1 1|PUB ok.a _R.1 1|x|PING|",
];

fn expand(case: &str) -> String {
    case.replace('^', C).replace('~', V).replace('@', A).replace('|', "\r\n")
}

/// Without INFO, whose contents differ.
fn comparable(answer: &str) -> String {
    answer.split_inclusive("\r\n").filter(|line| !line.starts_with("INFO ")).collect()
}

async fn ask(address: &str, case: &str) -> String {
    let mut raw = Raw::dial(address).await;
    raw.line().await;
    let bytes = expand(case);
    let pongs = bytes.split("\r\n").filter(|line| line.to_ascii_uppercase().starts_with("PING")).count();
    raw.try_send(&bytes).await;
    comparable(&raw.answer(pongs).await)
}

struct Real {
    process: Child,
    address: String,
    _dir: tempfile::TempDir,
}

async fn real(program: &str, text: &str) -> Real {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("server.conf");
    std::fs::write(&file, text).expect("writes the configuration");
    let mut process = Command::new(program)
        .args(["-a", "127.0.0.1", "-p", "-1", "-c"])
        .arg(&file)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the real server starts");
    let mut log = BufReader::new(process.stderr.take().expect("its log")).lines();
    let mut address = String::new();
    while let Some(line) = within(log.next_line()).await.expect("its log") {
        if let Some((_, said)) = line.split_once("Listening for client connections on ") {
            address = said.trim().to_owned();
        }
        if line.contains("Server is ready") {
            break;
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    Real { process, address, _dir: dir }
}

async fn compare(text: &str, cases: &[&str]) {
    let Ok(program) = std::env::var("NATSUNE_NATS_SERVER") else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "NATSUNE_NATS_SERVER is not set");
        println!("skipped: NATSUNE_NATS_SERVER names no nats-server to compare with");
        return;
    };
    assert!(Path::new(&program).exists(), "{program} is not there");
    let ours: Broker = start(config(text)).await;
    let mut real = real(&program, text).await;
    let our_address = address(&ours.url());
    let mut different = Vec::new();
    for case in cases {
        let (theirs, our) = tokio::join!(ask(&real.address, case), ask(&our_address, case));
        if theirs != our {
            different.push(format!("{case:?}\n  real: {theirs:?}\n  ours: {our:?}"));
        }
    }
    let _ = real.process.kill().await;
    ours.shutdown().await;
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), cases.len(), different.join("\n"));
}

#[tokio::test]
async fn without_authentication() {
    compare("", OPEN).await;
}

#[tokio::test]
async fn with_users_and_rights() {
    compare(USERS, RIGHTS).await;
}
