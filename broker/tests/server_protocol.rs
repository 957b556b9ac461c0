//! The client protocol over raw sockets: what is not in the comparison with the real server, and what must hold whatever comes.

mod server_common;

use std::sync::Arc;

use bytes::Bytes;
use natsune_broker::config::Config;
use natsune_broker::router::{Delivery, Sink, Sub};
use serde_json::Value;
use server_common::{PATIENCE, Raw, config, start, within};

fn info(line: &str) -> Value {
    serde_json::from_str(line.strip_prefix("INFO ").expect("INFO")).expect("JSON")
}

#[tokio::test]
async fn info_comes_first_and_again_after_the_first_pong() {
    let broker = start(config("server_name: here")).await;
    let mut raw = Raw::connect(&broker).await;
    let first = info(&raw.line().await);
    assert_eq!(first["server_name"], "here");
    assert_eq!(first["server_id"].as_str().map(|id| (id.len(), id.starts_with('N'))), Some((56, true)));
    assert_eq!(first["version"], natsune_broker::COMPATIBLE_VERSION);
    assert_eq!(
        (&first["proto"], &first["headers"], &first["max_payload"]),
        (&1.into(), &true.into(), &1_048_576.into())
    );
    assert_eq!((&first["host"], &first["client_ip"]), (&"127.0.0.1".into(), &"127.0.0.1".into()));
    assert!(first["client_id"].as_u64() > Some(0) && first.get("connect_info").is_none());
    assert!(first.get("auth_required").is_none() && first.get("nonce").is_none() && first.get("jetstream").is_none());
    raw.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\nPING\r\n").await;
    assert_eq!(raw.line().await, "PONG");
    let second = info(&raw.line().await);
    assert_eq!((&second["connect_info"], &second["remote_account"]), (&true.into(), &"$G".into()));
    assert_eq!(second["client_id"], first["client_id"]);
    assert_eq!(raw.line().await, "PONG");
    assert_eq!(raw.fence().await, "", "INFO comes twice, not more");
    broker.shutdown().await;
}

#[tokio::test]
async fn operations_may_come_in_any_pieces() {
    let broker = start(Config::ephemeral()).await;
    let script = "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB a.* q 12\r\nPUB a.b reply 5\r\nhello\r\nHPUB a.c 12 15\r\nNATS/1.0\r\n\r\nabc\r\nPUB a.d 0\r\n\r\nUNSUB 12 9\r\nPING\r\n";
    let expected =
        "MSG a.b 12 reply 5\r\nhello\r\nHMSG a.c 12 12 15\r\nNATS/1.0\r\n\r\nabc\r\nMSG a.d 12 0\r\n\r\nPONG\r\n";
    for size in [1, 2, 3, 5, 7, 11, 64] {
        let mut raw = Raw::connect(&broker).await;
        raw.line().await;
        for piece in script.as_bytes().chunks(size) {
            raw.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.until("PONG\r\n").await, expected, "pieces of {size}");
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn large_payloads_pass_whole_and_too_large_ones_close() {
    let broker = start(Config::ephemeral()).await;
    let mut raw = Raw::hello(&broker, "").await;
    let body: String = (0..1024 * 1024).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    raw.send("SUB big 1\r\n").await;
    for _ in 0..3 {
        raw.send(format!("PUB big {}\r\n{body}\r\n", body.len())).await;
        assert_eq!(raw.line().await, "MSG big 1 1048576");
        assert!(raw.line().await == body, "the payload arrives as it was sent");
    }
    raw.try_send(format!("PUB big {}\r\n{body}x\r\n", body.len() + 1)).await;
    assert_eq!(raw.rest().await, "-ERR 'Maximum Payload Violation'\r\n");
    broker.shutdown().await;
}

#[tokio::test]
async fn whatever_comes_the_server_goes_on() {
    let broker = start(Config::ephemeral()).await;
    let mut healthy = Raw::hello(&broker, ",\"headers\":true").await;
    healthy.send("SUB still.here 1\r\n").await;
    let frames = server_common::malformed();
    assert!(frames.len() >= 200, "only {} frames", frames.len());
    for (class, frame) in &frames {
        let mut raw = Raw::hello(&broker, ",\"headers\":true").await;
        raw.try_send([frame.as_slice(), b"\r\nPING\r\n"].concat()).await;
        let expected = match *class {
            "unknown-op" | "missing-crlf" => "-ERR 'Unknown Protocol Operation'\r\n",
            // Tokens may be longer than other lines, so this one is read, and is no document.
            "control-line" if frame.starts_with(b"CONNECT") => "",
            "control-line" => "-ERR 'maximum control line exceeded'\r\n",
            "payload" => "-ERR 'Maximum Payload Violation'\r\n",
            "bad-size" | "bad-arguments" | "header" => "",
            // The blank line behind the frame is what ends this one.
            "refused" => {
                let answer = raw.rest().await;
                assert!(answer.starts_with("-ERR 'Invalid "), "{frame:?} is answered {answer:?}");
                continue;
            }
            other => panic!("unknown class {other}"),
        };
        assert_eq!(raw.rest().await, expected, "{class}: {:?}", String::from_utf8_lossy(frame));
    }
    healthy.send("PUB still.here 1\r\nx\r\n").await;
    assert_eq!(healthy.line().await, "MSG still.here 1 1");
    broker.shutdown().await;
}

#[tokio::test]
async fn filters_of_endless_depth_are_refused() {
    let broker = start(config("max_control_line: 1MB")).await;
    let mut raw = Raw::hello(&broker, "").await;
    for tokens in [256, 257, 100_000] {
        let filter = "*.".repeat(tokens - 1) + ">";
        raw.send(format!("SUB {filter} {tokens}\r\n")).await;
        let said = raw.fence().await;
        assert_eq!(said, if tokens > 256 { "-ERR 'Invalid Subject'\r\n" } else { "" }, "{tokens} tokens");
    }
    let subject = "a.".repeat(100_000) + "a";
    raw.send(format!("PUB {subject} 1\r\nx\r\n")).await;
    assert!(raw.fence().await.starts_with("MSG a.a."));
    broker.shutdown().await;
}

/// Seeded, so that a failure can be repeated.
fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[tokio::test]
async fn mutated_sessions_never_hurt_others() {
    let broker = start(Config::ephemeral()).await;
    let mut healthy = Raw::hello(&broker, "").await;
    let script = b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB a.* q 12\r\nPUB a.b reply 5\r\nhello\r\nHPUB a.c 12 15\r\nNATS/1.0\r\n\r\nabc\r\nUNSUB 12 9\r\nPING\r\n";
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    for round in 0..300 {
        let mut bytes = script.repeat(3);
        for _ in 0..1 + noise(&mut seed) % 4 {
            let at = (noise(&mut seed) as usize) % bytes.len();
            match noise(&mut seed) % 3 {
                0 => bytes[at] = noise(&mut seed) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, noise(&mut seed) as u8),
            }
        }
        let mut raw = Raw::connect(&broker).await;
        raw.try_send(&bytes).await;
        drop(raw);
        if round % 50 == 0 {
            assert_eq!(healthy.fence().await, "");
        }
    }
    assert_eq!(healthy.fence().await, "");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_slow_consumer_is_cut_and_others_lose_nothing() {
    let broker = start(config("max_payload: 64KB\nmax_pending: 512KB")).await;
    let mut slow = Raw::hello(&broker, ",\"name\":\"slow\"").await;
    slow.send("SUB data 1\r\n").await;
    slow.fence().await;
    let mut healthy = Raw::hello(&broker, "").await;
    healthy.send("SUB data 9\r\n").await;
    healthy.fence().await;
    let mut publisher = Raw::hello(&broker, "").await;
    let (count, size) = (1500, 64 * 1000);
    let body = "x".repeat(size);
    let publish = async {
        for _ in 0..count {
            publisher.send(format!("PUB data {size}\r\n{body}\r\n")).await;
        }
        publisher.fence().await
    };
    let read = healthy.length(count * (format!("MSG data 9 {size}\r\n\r\n").len() + size));
    let (said, ()) = within(async { tokio::join!(publish, read) }).await;
    assert_eq!(said, "");
    let got = slow.rest().await;
    assert!(got.len() < count * size, "the slow consumer was served all");
    assert_eq!(healthy.fence().await, "");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_cut() {
    let broker = start(config("write_deadline: \"300ms\"\nmax_pending: 1GB\nping_interval: \"1h\"")).await;
    let mut stuck = Raw::hello(&broker, "").await;
    stuck.send("SUB data 1\r\n").await;
    stuck.fence().await;
    let account = broker.router().default_account();
    let mut publisher = Raw::hello(&broker, "").await;
    // More than the system takes for a connection, so that the rest has to wait.
    let body = "x".repeat(1_000_000);
    for _ in 0..24 {
        publisher.send(format!("PUB data {}\r\n{body}\r\n", body.len())).await;
    }
    assert_eq!(publisher.fence().await, "");
    within(async {
        while account.subscriptions() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(publisher.fence().await, "");
    broker.shutdown().await;
}

#[tokio::test]
async fn who_does_not_answer_pings_is_stale() {
    let broker = start(config("ping_interval: \"50ms\"\nping_max: 2")).await;
    let mut mute = Raw::hello(&broker, "").await;
    assert_eq!(mute.rest().await, "PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
    let mut answering = Raw::hello(&broker, "").await;
    for _ in 0..6 {
        assert_eq!(answering.line().await, "PING");
        answering.send("PONG\r\n").await;
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn an_operation_may_pause_and_has_to_end() {
    // So many pings may go unanswered that only the unfinished operation can be the end.
    let strict = start(config("ping_interval: \"100ms\"\nping_max: 1000000")).await;
    let usual = start(Config::ephemeral()).await;
    let started = std::time::Instant::now();
    let mut paused = Raw::hello(&usual, "").await;
    paused.send("SUB a 1\r\nPUB a 5\r\nhe").await;
    let mut half = Raw::hello(&strict, "").await;
    half.send("PUB a 100\r\nonly the beg").await;
    let mut silent = Raw::connect(&strict).await;
    silent.line().await;
    let (half, silent) = tokio::join!(half.rest(), silent.rest());
    assert!(half.ends_with("-ERR 'Stale Connection'\r\n"), "{half}");
    assert_eq!(silent, "-ERR 'Authentication Timeout'\r\n");
    assert!(started.elapsed() < PATIENCE / 2);
    // Where pings are as usual, a network may stop for that long.
    paused.send("llo\r\n").await;
    assert!(paused.until("\nhello\r\n").await.ends_with("MSG a 1 5\r\nhello\r\n"));
    strict.shutdown().await;
    usual.shutdown().await;
}

#[tokio::test]
async fn who_reads_no_answers_gets_no_more_of_them() {
    let broker = start(config("max_pending: 1MB\nping_interval: \"1h\"\nwrite_deadline: \"1h\"")).await;
    for (asks, what) in
        [("PING\r\n", "answers to pings"), ("PUB nobody r 0\r\n\r\n", "no responders"), ("SUB .. 2\r\n", "errors")]
    {
        let mut deaf = Raw::hello(&broker, ",\"headers\":true,\"no_responders\":true").await;
        deaf.send("SUB r 1\r\n").await;
        let many = asks.repeat(100_000 / asks.len());
        // Sockets keep some megabytes too, and no longer take any once the server has closed.
        let mut rounds = 0;
        while rounds < 400 && deaf.try_send(&many).await {
            rounds += 1;
        }
        assert!(rounds < 400, "{what} wait without end");
    }
    broker.shutdown().await;
}

const USERS: &str = "authorization { timeout: \"200ms\", users: [ {user: a, password: a}, {user: b, password: b, permissions: { subscribe: { deny: \"secret.>\" } } },
    {user: svc, password: svc, permissions: { subscribe: [\"jobs\", \"r.*\"], publish: { deny: \">\" }, allow_responses: { max: 2, expires: \"1m\" } } } ] }";

#[tokio::test]
async fn who_says_nothing_in_time_is_closed() {
    let broker = start(config(USERS)).await;
    let mut silent = Raw::connect(&broker).await;
    let line = silent.line().await;
    assert_eq!(info(&line)["auth_required"], true);
    assert_eq!(silent.rest().await, "-ERR 'Authentication Timeout'\r\n");
    let mut half = Raw::connect(&broker).await;
    half.line().await;
    half.send("CONNECT {\"user\":\"a\"").await;
    assert_eq!(half.rest().await, "-ERR 'Authentication Timeout'\r\n");
    broker.shutdown().await;
}

#[tokio::test]
async fn denied_subjects_are_filtered_out_of_wildcards() {
    let broker = start(config(USERS)).await;
    let mut reader = Raw::hello(&broker, ",\"user\":\"b\",\"pass\":\"b\"").await;
    reader.send("SUB > 1\r\n").await;
    assert_eq!(reader.fence().await, "");
    let mut writer = Raw::hello(&broker, ",\"user\":\"a\",\"pass\":\"a\"").await;
    writer.send("PUB secret.x 1\r\nx\r\nPUB open 1\r\nx\r\n").await;
    writer.fence().await;
    assert_eq!(reader.line().await, "MSG open 1 1");
    broker.shutdown().await;
}

#[tokio::test]
async fn answers_are_allowed_as_often_as_configured() {
    let broker = start(config(USERS)).await;
    let mut service = Raw::hello(&broker, ",\"user\":\"svc\",\"pass\":\"svc\"").await;
    service.send("SUB jobs 1\r\n").await;
    assert_eq!(service.fence().await, "");
    service.send("PUB inbox.1 1\r\nx\r\n").await;
    assert_eq!(service.fence().await, "-ERR 'Permissions Violation for Publish to \"inbox.1\"'\r\n");
    let mut client = Raw::hello(&broker, ",\"user\":\"a\",\"pass\":\"a\"").await;
    client.send("SUB inbox.1 7\r\nPUB jobs inbox.1 1\r\n?\r\n").await;
    assert_eq!(service.line().await, "MSG jobs 1 inbox.1 1");
    service.line().await;
    service.send("PUB inbox.1 1\r\n1\r\nPUB inbox.1 1\r\n2\r\nPUB inbox.1 1\r\n3\r\n").await;
    assert_eq!(service.fence().await, "-ERR 'Permissions Violation for Publish to \"inbox.1\"'\r\n");
    assert_eq!(client.fence().await, "MSG inbox.1 7 1\r\n1\r\nMSG inbox.1 7 1\r\n2\r\n");
    broker.shutdown().await;
}

#[tokio::test]
async fn accounts_see_nothing_of_each_other() {
    let broker =
        start(config("accounts { A { users: [{user: a, password: a}] }, B { users: [{user: b, password: b}] } }"))
            .await;
    let mut a = Raw::hello(&broker, ",\"user\":\"a\",\"pass\":\"a\",\"headers\":true,\"no_responders\":true").await;
    let mut b = Raw::hello(&broker, ",\"user\":\"b\",\"pass\":\"b\"").await;
    b.send("SUB > 1\r\nSUB jobs q 2\r\n").await;
    assert_eq!(b.fence().await, "");
    a.send("SUB inbox 1\r\nPUB jobs inbox 1\r\nx\r\n").await;
    assert!(a.fence().await.starts_with("HMSG inbox 1 "), "nobody answers in A");
    assert_eq!(b.fence().await, "", "B hears nothing of A");
    broker.shutdown().await;
}

#[tokio::test]
async fn connections_are_limited() {
    let broker = start(config("max_connections: 2")).await;
    let (mut one, two) = (Raw::hello(&broker, "").await, Raw::hello(&broker, "").await);
    one.fence().await;
    let mut three = Raw::connect(&broker).await;
    three.line().await;
    assert_eq!(three.rest().await, "-ERR 'maximum connections exceeded'\r\n");
    drop(two);
    // The place is free as soon as the server has noticed.
    within(async {
        loop {
            let mut again = Raw::connect(&broker).await;
            let sent = again.try_send("CONNECT {\"verbose\":false}\r\nPING\r\n").await;
            if sent && again.answer(1).await.ends_with("PONG\r\n") {
                break;
            }
        }
    })
    .await;
    broker.shutdown().await;
}

#[tokio::test]
async fn strangers_are_limited_and_do_not_keep_friends_out() {
    let broker =
        start(config(&USERS.replace("200ms", "1h").replace("authorization", "max_connections: 400\nauthorization")))
            .await;
    let mut strangers = Vec::new();
    for _ in 0..120 {
        strangers.push(Raw::connect(&broker).await);
    }
    let mut friend = Raw::hello(&broker, ",\"user\":\"a\",\"pass\":\"a\"").await;
    assert_eq!(friend.fence().await, "");
    // The oldest had to go.
    strangers[0].line().await;
    assert_eq!(strangers[0].rest().await, "-ERR 'Authentication Timeout'\r\n");
    broker.shutdown().await;
}

#[tokio::test]
async fn no_headers_where_they_are_not_supported() {
    let broker = start(config("no_header_support: true")).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(info(&raw.line().await)["headers"], false);
    raw.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n").await;
    assert_eq!(raw.rest().await, "-ERR 'no responders requires headers support'\r\n");
    broker.shutdown().await;
}

#[tokio::test]
async fn clients_without_headers_get_the_body_only() {
    let broker = start(Config::ephemeral()).await;
    let mut plain = Raw::hello(&broker, "").await;
    plain.send("SUB a 1\r\n").await;
    plain.fence().await;
    let mut rich = Raw::hello(&broker, ",\"headers\":true").await;
    rich.send("HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n").await;
    assert_eq!(plain.until("hi\r\n").await, "MSG a 1 r 2\r\nhi\r\n");
    broker.shutdown().await;
}

#[tokio::test]
async fn queue_members_share_and_the_gone_get_nothing() {
    let broker = start(Config::ephemeral()).await;
    let own = broker.router().default_account().subscriptions();
    let mut members = Vec::new();
    for _ in 0..3 {
        let mut member = Raw::hello(&broker, "").await;
        member.send("SUB work q 1\r\n").await;
        member.fence().await;
        members.push(member);
    }
    let mut publisher = Raw::hello(&broker, "").await;
    publisher.send("PUB work 1\r\nx\r\n".repeat(300)).await;
    publisher.fence().await;
    let mut total = 0;
    for member in &mut members {
        let share = member.fence().await.matches("MSG work 1 1\r\n").count();
        assert!(share > 40, "a share of {share}");
        total += share;
    }
    assert_eq!(total, 300);
    members.truncate(1);
    // A member that has gone takes nothing once the server knows.
    within(async {
        while broker.router().default_account().subscriptions() > own + 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    publisher.send("PUB work 1\r\nx\r\n".repeat(50)).await;
    publisher.fence().await;
    assert_eq!(members[0].fence().await.matches("MSG").count(), 50);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_panic_in_one_session_is_the_end_of_that_session_only() {
    struct Trap;
    impl Sink for Trap {
        fn deliver(&self, _: &Sub, _: &Delivery<'_>) -> bool {
            std::panic::resume_unwind(Box::new("a trap"));
        }
    }
    let broker = start(Config::ephemeral()).await;
    let account = broker.router().default_account();
    let own = account.subscriptions();
    let trap = account.subscribe("trap", None, Bytes::new(), Arc::new(Trap));
    let mut healthy = Raw::hello(&broker, "").await;
    healthy.send("SUB ok 1\r\n").await;
    healthy.fence().await;
    for _ in 0..20 {
        let mut raw = Raw::hello(&broker, "").await;
        raw.send("SUB ok 1\r\nPUB ok 1\r\nx\r\nPUB trap 1\r\nx\r\n").await;
        raw.rest().await;
    }
    account.unsubscribe(&trap);
    assert_eq!(healthy.fence().await.matches("MSG ok").count(), 20);
    within(async {
        while account.subscriptions() > own + 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    broker.shutdown().await;
}
