//! Which configurations are accepted, what they mean, and that nats-server says the same.

mod auth_common;

use std::time::Duration;

use auth_common::{nats_server, our_binary, run};
use natsune_broker::config::{Config, HandshakeFirst, Invocation, ServerSignal, SyncMode};
use proptest::prelude::*;

fn parse(text: &str) -> Config {
    Config::parse_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    Config::parse_str(text).expect_err(text).to_string()
}

const BOTH_ACCEPT: &[&str] = &[
    "port: 4222",
    "listen: localhost:4222",
    "listen = \"127.0.0.1:-1\"",
    "listen 4222",
    "net: 127.0.0.1, port: -1",
    "{ \"port\": 4222, \"http\": \"127.0.0.1:-1\" }",
    "debug: true; trace: false",
    "max_payload: 1MB\nmax_pending: 64MiB\nmax_control_line: 4KB\nmax_connections: 100\nmax_subscriptions: 0",
    "max_payload: 1048576 # comment\n// another\nping_interval: \"2s\"\nping_max: 3",
    "write_deadline: \"5s\"\nlame_duck_duration: \"30s\"\nlame_duck_grace_period: \"2s\"",
    "jetstream: true",
    "jetstream: enabled",
    "jetstream: disabled",
    "jetstream {}",
    "jetstream { store_dir: /tmp/x, max_mem_store: 1GB, max_file_store: 10GB, domain: hub, sync_interval: always }",
    "jetstream { enabled: false }",
    "jetstream { sync_interval: \"10s\", strict: true }",
    "authorization { user: a, password: b }",
    "authorization { token: t, timeout: 2.5 }",
    "authorization { users: [ { user: a, password: b }, { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }",
    "authorization { users = [ { user: a, password: $2a$11$3kIDaCxw.Glsl1.u5nKa6eUnNDLV5HV9tIuUp7EHhMt6Nm9myW1aS } ] }",
    "P = { publish: \"a.>\", subscribe { allow: [b], deny: 'c.*' } }\nauthorization { users = [ { user: a, password: b, permissions: $P } ] }",
    "PASS = secret\nauthorization { user: a, password: $PASS }",
    "accounts { A { users = [ { user: a, password: a } ], jetstream: enabled }, B { users [ {user: b, password: b} ] , jetstream { max_mem: 1MB, max_file: 1GB, max_streams: 2, max_consumers: -1 } } }",
    "accounts { SYS { users [ { user: s, password: s } ] } }\nsystem_account: SYS",
    "accounts { $SYS { users [ { user: s, password: s } ] } }",
    "accounts [ A, B ]",
    "no_auth_user: a\naccounts { A { users [ { user: a, password: a } ] } }",
    "accounts { A { users [ {user: a, password: a} ], limits { max_connections: 1, max_subscriptions: 2, max_payload: 1KB } } }",
    "accounts { A { exports: [], imports: [], users [ {user: a, password: a} ] } }",
    "authorization { users [ {user: a, password: b, allowed_connection_types: [\"STANDARD\", \"websocket\"]} ] }",
    "authorization { users [ {user: a, password: b, permissions { sub: [\"foo q\", \"foo *.dev\"], allow_responses: { max: 5, expires: \"1m\" } } } ] }",
    "server_name: s1\nserver_tags: [a, \"b:c\"]",
    "server_tags: \"a, b\"",
    "leafnodes { listen: 127.0.0.1:-1 }",
    "leafnodes: { port: -1 }",
    "cluster { name: c, listen: 127.0.0.1:-1 }",
    "mqtt { port: -1 }\njetstream: true\nserver_name: m",
    "gateway { name: g, listen: 127.0.0.1:-1 }",
    "websocket { port: -1, no_tls: true }",
    "logtime: false\npid_file: /tmp/x.pid\nports_file_dir: /tmp\nlog_file: \"/tmp/x.log\"",
    "http_port: 8222",
    "client_advertise: example.com:4222",
    "no_header_support: true",
    "resolver: MEMORY",
];

const BOTH_REFUSE: &[&str] = &[
    "nonsense: 1",
    "port: x",
    "port: 4222 debug: true",
    "authorization { user: a password: b }",
    "authorization { nonsense: 1 }",
    "authorization { users [ { user: a, pazzword: b } ] }",
    "authorization { users [ { user: a, password: b }, { user: a, password: c } ] }",
    "authorization { users [ { nkey: X } ] }",
    "authorization { users [ { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4, password: b } ] }",
    "authorization { token: a, users [ { user: a, password: b } ] }",
    "authorization { users [ { user: a, password: b, permissions { publish: \"a..b\" } } ] }",
    "authorization { users [ { user: a, password: b, permissions { publish { allow: \"a b\" } } } ] }",
    "authorization { users [ { user: a, password: b, permissions { pablish: a } } ] }",
    "authorization { users [ {user: a, password: b, allowed_connection_types: [\"PIGEON\"]} ] }",
    "accounts { A { nonsense: 1 } }",
    "jetstream { nonsense: 1 }",
    "tls { cert_file: a }",
    "password: $NO_SUCH_VARIABLE_ANYWHERE",
    "max_payload: \"1x\"",
    "a { b: 1",
    "a: [1, 2",
    "a: \"x",
    "x: 1 }",
    "include nothing.conf",
    "listen: host:port",
    "server_name: \"a b\"",
];

/// Where we are stricter on purpose: what would silently not hold, and what would leave the door open.
const ONLY_WE_REFUSE: &[&str] = &[
    "accounts { A { exports: [ { stream: a } ] }, B { imports: [ { stream { account: A, subject: a } } ] } }",
    "mappings { a: b }",
    "accounts { A { mappings { a: b } } }",
    "host: 0.0.0.0",
    "jetstream { key: secret }",
    // These nats-server finds at its start, not with -t.
    "no_auth_user: nobody\naccounts { A { users [ { user: a, password: a } ] } }",
    "system_account: NOPE\naccounts { A { users [ { user: a, password: a } ] } }",
    "max_payload: 2MB\nmax_pending: 1MB",
];

/// Editors on some systems begin a file like this.
const ONLY_WE_ACCEPT: &[&str] = &["\u{feff}port: 4222", "# nothing but a comment"];

#[test]
fn what_nats_server_accepts_and_refuses() {
    let mut differ = Vec::new();
    let mut note = |who: &str, text: &str, accepted: bool, expected: bool| {
        if accepted != expected {
            differ.push(format!("{who} {} {text:?}", if accepted { "accepts" } else { "refuses" }));
        }
    };
    let lists = [
        (BOTH_ACCEPT, true, true),
        (BOTH_REFUSE, false, false),
        (ONLY_WE_REFUSE, false, true),
        (ONLY_WE_ACCEPT, true, false),
    ];
    for (list, ours, _) in lists {
        for text in list {
            note("natsune", text, Config::parse_str(text).is_ok(), ours);
        }
    }
    if let Some(program) = nats_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.conf");
        for (list, _, theirs) in lists {
            for text in list {
                std::fs::write(&path, text).unwrap();
                let (code, ..) = run(&program, &["-c", path.to_str().unwrap(), "-t"]);
                note("nats-server", text, code == 0, theirs);
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn values_arrive() {
    assert_eq!(parse("").port, 4222);
    let config = parse(
        "listen: localhost:-1\nmax_payload: 2MB\nping_interval: 30\nwrite_deadline: '500ms'\nhttp: 0.0.0.0:8222\nmax_connections: -1\nmax_subscriptions: 7\nauthorization: {timeout: 0.5}",
    );
    assert_eq!((config.host.as_deref(), config.port), (Some("localhost"), 0));
    assert_eq!(
        (config.limits.max_payload, config.limits.max_connections, config.limits.max_subscriptions),
        (2 << 20, usize::MAX, Some(7))
    );
    assert_eq!((config.ping_interval, config.write_deadline), (Duration::from_secs(30), Duration::from_millis(500)));
    assert_eq!(config.auth.timeout(), Duration::from_millis(500));
    let http = config.http.unwrap();
    assert_eq!((http.host.as_deref(), http.port), (Some("0.0.0.0"), 8222));

    // What 0 means to nats-server: the default, but nobody where connections are counted.
    let config = parse(
        "authorization { token: t, timeout: 0 }\nping_max: 0\nmax_connections: 0\ntls { cert_file: c, key_file: k, timeout: \"0s\" }",
    );
    assert_eq!((config.auth.timeout(), config.ping_max), (Duration::from_secs(2), 2));
    assert_eq!((config.tls.unwrap().timeout(), config.limits.max_connections), (Duration::from_secs(2), 0));

    let config = parse("store_dir: /a\njetstream { sync_interval: 5s, max_mem: 1G, max_file: -1 }");
    let jetstream = config.jetstream.unwrap();
    assert_eq!(jetstream.sync, SyncMode::Interval(Duration::from_secs(5)));
    assert_eq!((jetstream.max_memory, jetstream.max_file), (Some(1_000_000_000), None));
    assert_eq!(jetstream.store_dir.unwrap().to_str(), Some("/a"));
    assert_eq!(parse("jetstream { store_dir: /b }").jetstream.unwrap().sync, SyncMode::Always);

    let config = parse(
        "tls { cert_file: c, key_file: k, ca_file: a, verify: true, handshake_first: auto, timeout: 3 }\nallow_non_tls: true",
    );
    let tls = config.tls.unwrap();
    assert_eq!(
        (tls.handshake_first, tls.verify, tls.allow_non_tls, tls.timeout()),
        (HandshakeFirst::After(Duration::from_millis(50)), true, true, Duration::from_secs(3))
    );
    assert_eq!(parse("namespaces { dir: x }").namespaces.unwrap().dir.to_str(), Some("x"));
    assert_eq!(parse("namespaces: true").namespaces.unwrap().dir.to_str(), Some("data/namespaces"));
}

#[test]
fn what_is_not_served_is_said() {
    let config = parse("leafnodes { listen: 127.0.0.1:-1 }\ncluster {}\nwebsocket { port: -1 }\nport: 1");
    assert_eq!(config.warnings.len(), 3);
    assert!(config.warnings[0].contains("\"leafnodes\" is not served"), "{:?}", config.warnings);
    assert!(refused("accounts { A { exports: [ {stream: a} ] } }").contains("\"exports\" is not supported yet"));
}

#[test]
fn listening_beyond_this_machine_needs_authentication() {
    assert_eq!(Config::default().listen_host(), "127.0.0.1");
    assert_eq!(parse("authorization { token: x }").listen_host(), "0.0.0.0");
    assert_eq!(parse("namespaces: true").listen_host(), "0.0.0.0");
    assert!(refused("host: 0.0.0.0").contains("--insecure"));
    assert!(refused("listen: 10.0.0.1:4222").contains("refusing to listen"));
    // A certificate asked for is one, unless clients may also come without TLS.
    let tls = "tls { cert_file: c, key_file: k, ca_file: a, verify: true }";
    parse(&format!("host: 0.0.0.0\n{tls}"));
    assert!(refused(&format!("host: 0.0.0.0\nallow_non_tls: true\n{tls}")).contains("refusing to listen"));
    assert_eq!(parse(&format!("allow_non_tls: true\n{tls}")).listen_host(), "127.0.0.1");
    parse("host: 0.0.0.0\ninsecure: true");
    parse("host: 0.0.0.0\nauthorization { user: a, password: b }");
    for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"] {
        parse(&format!("host: \"{host}\""));
    }
}

#[test]
fn errors_name_the_place_and_no_secret() {
    assert_eq!(refused("port: 1\n  nonsense: 2"), "<config>:2:3: unknown field \"nonsense\"");
    assert_eq!(
        refused("authorization {\n token: 12345\n}"),
        "<config>:2:9: expected a string, found a number: put it in quotes"
    );
    for text in [
        "authorization { user: a, password: [canary] }",
        "authorization { token: canary, users: canary }",
        "authorization { password: \"canary\" }",
        "max_payload: canary",
    ] {
        let error = refused(text);
        assert!(!error.contains("canary"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conf");
    std::fs::write(&path, "port: 4222\nnonsense: 1\n").unwrap();
    let (code, _, said) = run(our_binary(), &["-c", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert_eq!(said, format!("natsune-broker: {}:2:1: unknown field \"nonsense\"\n", path.display()));
    std::fs::write(&path, "port: 4222\n").unwrap();
    let (code, _, said) = run(our_binary(), &["-c", path.to_str().unwrap(), "-t"]);
    assert_eq!((code, said.contains("is valid")), (0, true), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Whole configurations with pieces of others in them: read or refused, with a place, never a panic.
    #[test]
    fn crossed_configurations_are_read_or_refused(
        a in 0..BOTH_ACCEPT.len(),
        b in 0..BOTH_ACCEPT.len(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 4),
        noise in "[\\PC]{0,2}",
    ) {
        let (a, b): (Vec<char>, Vec<char>) = (BOTH_ACCEPT[a].chars().collect(), BOTH_ACCEPT[b].chars().collect());
        let span = |text: &[char], x: &prop::sample::Index, y: &prop::sample::Index| {
            let (x, y) = (x.index(text.len() + 1), y.index(text.len() + 1));
            (x.min(y), x.max(y))
        };
        let (from, to) = span(&a, &cuts[0], &cuts[1]);
        let (start, end) = span(&b, &cuts[2], &cuts[3]);
        let text: String = a[..from].iter().chain(&b[start..end]).chain(&noise.chars().collect::<Vec<_>>()).chain(&a[to..]).collect();
        if let Err(error) = Config::parse_str(&text) {
            prop_assert!(!error.text().is_empty());
        }
    }

    #[test]
    fn any_flags_are_read_or_refused(words in prop::collection::vec("(-{0,2}(p|port|js|sd|user|pass|auth|tls|t|m|sl|signal|DV|cluster|namespaces|insecure)(=.{0,4})?)|[-0-9a-z=]{0,6}", 0..6)) {
        let _ = Config::from_args(words);
    }
}

fn flags(args: &[&str]) -> Config {
    match Config::from_args(args.iter().copied()) {
        Ok(Invocation::Run(config)) => *config,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn bad_flags(args: &[&str]) -> String {
    Config::from_args(args.iter().copied()).expect_err("refused").to_string()
}

#[test]
fn flags_beat_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conf");
    std::fs::write(
        &path,
        "listen: localhost:4222\nauthorization { token: x }\njetstream { store_dir: /a }\ndebug: true",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let config = flags(&["-c", path, "-p", "-1", "-sd=/b", "--user", "u", "--pass=p", "-D=false"]);
    assert_eq!((config.host.as_deref(), config.port), (Some("localhost"), 0));
    assert_eq!(config.jetstream.unwrap().store_dir.unwrap().to_str(), Some("/b"));
    assert!(config.auth.token.is_none() && config.auth.users.len() == 1 && !config.log.debug);
    assert_eq!(config.config_file.unwrap().to_str(), Some(path));
    let config = flags(&["--config", path, "-js=false", "--addr", "127.0.0.1"]);
    assert!(config.jetstream.is_none() && config.host.as_deref() == Some("127.0.0.1"));
}

#[test]
fn flags_in_all_spellings() {
    let config = flags(&[
        "--port",
        "1234",
        "-m=-1",
        "--jetstream",
        "--store_dir",
        "/x",
        "-DV",
        "-n",
        "me",
        "-P",
        "/p",
        "--ports_file_dir",
        "/d",
        "-l",
        "/l",
    ]);
    assert_eq!((config.port, config.http.as_ref().map(|http| http.port)), (1234, Some(0)));
    assert_eq!((config.server_name.as_deref(), config.log.debug, config.log.trace), (Some("me"), true, true));
    assert!(flags(&["-VV"]).log.trace && flags(&["-DVV"]).log.debug && flags(&["-m", "0"]).http.is_none());
    let config = flags(&[
        "--cluster",
        "nats://127.0.0.1:-1",
        "--routes=nats://a:1,nats://b:2",
        "--cluster_name",
        "c",
        "-r",
        "x",
        "--no_advertise",
    ]);
    assert_eq!(config.warnings.len(), 1);
    assert!(flags(&["-js"]).warnings[0].contains("in memory"));
    assert!(flags(&["--namespaces", "/n"]).requires_auth());
    assert!(
        matches!(Config::from_args(["-v"]), Ok(Invocation::Version))
            && matches!(Config::from_args(["--help"]), Ok(Invocation::Help))
    );
    let Ok(Invocation::Signal(request)) = Config::from_args(["--signal", "ldm=/x.pid"]) else { panic!() };
    assert_eq!((request.signal, request.target.as_deref()), (ServerSignal::LameDuck, Some("/x.pid")));
    let Ok(Invocation::Signal(request)) = Config::from_args(["-sl=reload"]) else { panic!() };
    assert_eq!((request.signal, request.target), (ServerSignal::Reload, None));
}

#[test]
fn bad_command_lines_are_refused() {
    assert_eq!(bad_flags(&["--nonsense"]), "flag provided but not defined: -nonsense");
    assert_eq!(bad_flags(&["-p"]), "flag needs an argument: -p");
    assert_eq!(bad_flags(&["run"]), "unrecognized command: \"run\"");
    assert!(bad_flags(&["-p", "70000"]).starts_with("flag -p: expected a port"));
    assert!(bad_flags(&["-js=maybe"]).starts_with("flag -js"));
    assert!(bad_flags(&["-a", "0.0.0.0"]).contains("refusing to listen"));
    assert!(bad_flags(&["--pass", "canary"]).contains("--pass needs --user"));
    assert!(bad_flags(&["--tls"]).contains("--tlscert"));
    assert!(bad_flags(&["-t"]).contains("-c FILE"));
    assert!(bad_flags(&["-c", "/no/such/file"]).contains("/no/such/file"));
    assert!(bad_flags(&["--signal", "jump"]).contains("expected quit"));
    assert!(bad_flags(&["namespace"]).starts_with("usage: natsune-broker namespace"));
    assert!(bad_flags(&["credentials", "create", "a"]).starts_with("usage: natsune-broker credentials"));
    assert!(bad_flags(&["namespace", "list", "--what"]).starts_with("unknown flag -what"));
}
