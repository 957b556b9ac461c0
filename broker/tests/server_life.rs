//! The life of a server: several in one process, the monitor, reload, lame duck, memory, and the end.

mod server_common;

use std::time::{Duration, Instant};

use natsune_broker::Broker;
use natsune_broker::config::{Config, SocketSpec};
use serde_json::Value;
use server_common::{Raw, address, config, start, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn with_monitor(mut config: Config) -> Config {
    config.http = Some(SocketSpec { host: None, port: 0 });
    config
}

/// Status line, headers and body of a request.
async fn get(broker: &Broker, path: &str, host: &str) -> (u16, String, String) {
    let address = address(&broker.monitor_url().expect("a monitor"));
    let mut stream = within(TcpStream::connect(&address)).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    within(stream.write_all(request.as_bytes())).await.expect("asks");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

async fn document(broker: &Broker, path: &str) -> Value {
    let (status, _, body) = get(broker, path, "localhost").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

#[tokio::test]
async fn several_servers_live_in_one_process() {
    let (one, two) = (start(Config::ephemeral()).await, start(Config::ephemeral()).await);
    assert_ne!(one.url(), two.url());
    assert_ne!(one.id(), two.id());
    let mut raw = Raw::hello(&one, "").await;
    raw.send("SUB a 1\r\n").await;
    raw.fence().await;
    let mut other = Raw::hello(&two, "").await;
    other.send("PUB a 1\r\nx\r\n").await;
    other.fence().await;
    assert_eq!(raw.fence().await, "");
    one.shutdown().await;
    assert_eq!(other.fence().await, "", "the other server lives on");
    two.shutdown().await;
    let again = start(Config::ephemeral()).await;
    assert_eq!(Raw::hello(&again, "").await.fence().await, "");
    again.shutdown().await;
}

#[tokio::test]
async fn shutdown_is_quick_and_leaves_nothing_behind() {
    let broker = start(with_monitor(Config::ephemeral())).await;
    let (url, monitor) = (address(&broker.url()), address(&broker.monitor_url().expect("a monitor")));
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(Raw::hello(&broker, "").await);
    }
    let began = Instant::now();
    broker.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    for client in &mut clients {
        client.rest().await;
    }
    for address in [url, monitor] {
        within(async { while TcpStream::connect(&address).await.is_ok() {} }).await;
    }
}

#[tokio::test]
async fn dropping_without_shutdown_ends_it_too() {
    let broker = start(Config::ephemeral()).await;
    let mut client = Raw::hello(&broker, "").await;
    client.fence().await;
    let url = address(&broker.url());
    drop(broker);
    assert_eq!(client.rest().await, "");
    within(async { while TcpStream::connect(&url).await.is_ok() {} }).await;
}

#[tokio::test]
async fn a_port_in_use_is_said() {
    let broker = start(Config::ephemeral()).await;
    let port = address(&broker.url()).rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let error = Broker::start(Config { port, ..Config::ephemeral() }).await.expect_err("the port is taken");
    assert!(error.to_string().starts_with("Error listening on port: 127.0.0.1:"), "{error}");
    broker.shutdown().await;
}

#[tokio::test]
async fn the_monitor_shows_what_goes_on() {
    let broker = start(with_monitor(config("server_name: shown\nserver_tags: [\"a:b\"]"))).await;
    let mut raw = Raw::hello(&broker, ",\"name\":\"watched\",\"lang\":\"test\",\"version\":\"9\"").await;
    raw.send("SUB a.> q 7\r\nPUB a.b 5\r\nhello\r\nPUB c 3\r\nabc\r\n").await;
    raw.fence().await;
    let varz = document(&broker, "/varz").await;
    assert_eq!((&varz["server_name"], &varz["version"]), (&"shown".into(), &natsune_broker::COMPATIBLE_VERSION.into()));
    assert_eq!((&varz["connections"], &varz["total_connections"]), (&1.into(), &1.into()));
    assert_eq!((&varz["in_msgs"], &varz["in_bytes"]), (&2.into(), &8.into()));
    assert_eq!((&varz["out_msgs"], &varz["out_bytes"]), (&1.into(), &5.into()));
    assert_eq!((&varz["subscriptions"], &varz["tags"][0]), (&1.into(), &"a:b".into()));
    assert!(varz["mem"].as_u64() > Some(100_000));
    let connz = document(&broker, "/connz?subs=detail&auth=1").await;
    let connection = &connz["connections"][0];
    assert_eq!((&connz["num_connections"], &connection["name"]), (&1.into(), &"watched".into()));
    assert_eq!(
        (&connection["lang"], &connection["version"], &connection["account"]),
        (&"test".into(), &"9".into(), &"$G".into())
    );
    let sub = &connection["subscriptions_list_detail"][0];
    assert_eq!(
        (&sub["subject"], &sub["qgroup"], &sub["sid"], &sub["msgs"]),
        (&"a.>".into(), &"q".into(), &"7".into(), &1.into())
    );
    assert_eq!(document(&broker, "/connz?limit=0").await["num_connections"], 1);
    assert_eq!(document(&broker, "/connz?acc=%24G").await["num_connections"], 1);
    assert_eq!(document(&broker, "/connz?acc=%24SYS").await["num_connections"], 0);
    assert_eq!(document(&broker, "/subsz").await["num_subscriptions"], 1);
    assert_eq!(document(&broker, "/accstatz").await["account_statz"][1]["acc"], "$SYS");
    assert_eq!(document(&broker, "/healthz").await["status"], "ok");
    document(&broker, "/jsz").await;
    assert_eq!(get(&broker, "/connz?limit=x", "localhost").await.0, 400);
    assert_eq!(get(&broker, "/connz?state=closed", "localhost").await.0, 400);
    assert_eq!(get(&broker, "/healthz?account=A&stream=S", "localhost").await.0, 400);
    assert_eq!(get(&broker, "/nothing", "localhost").await.0, 404);
    broker.shutdown().await;
}

#[tokio::test]
async fn the_monitor_is_no_use_to_other_sites() {
    let broker = start(with_monitor(Config::ephemeral())).await;
    assert!(broker.monitor_url().expect("a monitor").starts_with("http://127.0.0.1:"));
    let (status, head, _) = get(&broker, "/varz", "127.0.0.1").await;
    assert_eq!(status, 200);
    assert!(!head.contains("access-control-allow-origin"));
    assert!(head.contains("cache-control: no-store"));
    assert_eq!(get(&broker, "/varz", "rebound.example").await.0, 403);
    let address = address(&broker.monitor_url().expect("a monitor"));
    let mut stream = within(TcpStream::connect(&address)).await.expect("connects");
    within(
        stream.write_all(b"POST /varz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    )
    .await
    .expect("asks");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("answers");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    broker.shutdown().await;
}

const TWO_USERS: &str = "authorization { users: [ {user: a, password: a}, {user: b, password: b} ] }";

#[tokio::test]
async fn a_reload_ends_who_may_not_stay() {
    let broker = start(config(TWO_USERS)).await;
    let mut a = Raw::hello(&broker, ",\"user\":\"a\",\"pass\":\"a\"").await;
    let mut b = Raw::hello(&broker, ",\"user\":\"b\",\"pass\":\"b\"").await;
    a.send("SUB x 1\r\n").await;
    a.fence().await;
    b.fence().await;
    broker.reload(config("authorization { users: [ {user: a, password: a} ] }\nmax_payload: 10")).expect("reloads");
    assert!(b.rest().await.starts_with("-ERR '"), "b is told and closed");
    a.send("PUB x 1\r\n1\r\n").await;
    assert_eq!(a.fence().await, "MSG x 1 1\r\n1\r\n", "a keeps its subscriptions");
    let mut again = Raw::connect(&broker).await;
    let info = again.line().await;
    assert!(info.contains("\"max_payload\":10,"), "{info}");
    assert!(broker.reload(config("authorization { users: [ {user: a, password: a} ] }")).is_ok());
    broker.shutdown().await;
}

#[tokio::test]
async fn a_reload_does_not_open_to_the_world_what_needed_a_password() {
    let broker = start(config("authorization { user: a, password: a }")).await;
    let error = broker.reload(config("")).expect_err("nobody would have to authenticate any more").to_string();
    assert!(error.contains("refusing to listen on \"0.0.0.0\""), "{error}");
    let mut stranger = Raw::connect(&broker).await;
    assert!(stranger.line().await.contains("\"auth_required\":true"));
    stranger.send("CONNECT {}\r\n").await;
    assert_eq!(stranger.rest().await, "-ERR 'Authorization Violation'\r\n");
    broker.shutdown().await;
    let here = start(config("host: 127.0.0.1\nauthorization { user: a, password: a }")).await;
    here.reload(config("")).expect("on this machine it may");
    assert_eq!(Raw::hello(&here, "").await.fence().await, "");
    here.shutdown().await;
}

#[tokio::test]
async fn what_a_reload_cannot_change_is_shown_as_it_is() {
    let broker = start(with_monitor(config("server_name: first\nserver_tags: [\"a:b\"]"))).await;
    let other = "host: localhost\nserver_name: second\nserver_tags: [\"c:d\"]\njetstream: true\nmax_payload: 10";
    broker.reload(config(other)).expect("reloads");
    let varz = document(&broker, "/varz").await;
    assert_eq!((&varz["host"], &varz["server_name"]), (&"127.0.0.1".into(), &"first".into()));
    assert_eq!((&varz["tags"][0], &varz["max_payload"]), (&"a:b".into(), &10.into()));
    assert_eq!(document(&broker, "/healthz").await["status"], "ok", "no store is waited for that is never opened");
    broker.shutdown().await;
}

#[tokio::test]
async fn lame_duck_sends_clients_elsewhere() {
    let broker = start(config("lame_duck_duration: \"400ms\"\nlame_duck_grace_period: \"100ms\"")).await;
    let url = address(&broker.url());
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Raw::hello(&broker, ",\"protocol\":1").await;
        client.fence().await;
        client.line().await;
        clients.push(client);
    }
    let gone = async {
        for client in &mut clients {
            let said = client.rest().await;
            assert!(said.starts_with("INFO ") && said.contains("\"ldm\":true"), "{said}");
        }
    };
    within(async { tokio::join!(broker.lame_duck(), gone) }).await;
    within(async { while TcpStream::connect(&url).await.is_ok() {} }).await;
    broker.shutdown().await;
}

/// Resident memory of this process.
fn memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn idle_connections_cost_little() {
    let broker = start(Config::ephemeral()).await;
    let account = broker.router().default_account();
    let own = account.subscriptions();
    let mut warm = Raw::hello(&broker, "").await;
    warm.fence().await;
    let before = memory();
    let mut clients = Vec::new();
    for n in 0..1000 {
        let mut client = Raw::hello(&broker, ",\"name\":\"idle\",\"lang\":\"test\"").await;
        client.send(format!("SUB _INBOX.{n}.* 1\r\n")).await;
        client.fence().await;
        client.seen = Vec::new();
        clients.push(client);
    }
    let each = memory().saturating_sub(before) / clients.len();
    // Both ends are in this process, and other tests run beside; alone it is about 5 KB.
    assert!(each < 40 * 1024, "{each} bytes for each idle connection");
    assert_eq!(account.subscriptions(), own + 1000);
    drop(clients);
    within(async {
        while account.subscriptions() > own {
            tokio::task::yield_now().await;
        }
    })
    .await;
    broker.shutdown().await;
}
