//! Namespaces under a running broker: who reaches what, how soon a change holds, and what a crash leaves.

mod auth_common;

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use auth_common::{Raw, Server, eventually, our_binary, program, run};
use futures_util::StreamExt;
use natsune_broker::Broker;
use natsune_broker::config::{Config, NamespacesConfig};
use natsune_credentials::{Creds, Secret};
use serde_json::json;

/// A change by another process has to hold after this long.
const SOON: Duration = Duration::from_secs(1);

fn embedded(dir: &Path) -> Config {
    Config {
        namespaces: Some(NamespacesConfig { dir: dir.to_owned() }),
        host: Some("127.0.0.1".to_owned()),
        ..Config::ephemeral()
    }
}

async fn client(url: &str, creds: &Secret) -> Result<async_nats::Client, async_nats::ConnectError> {
    ConnectOptions::new()
        .credentials(creds.expose())
        .unwrap()
        .max_reconnects(1)
        .connection_timeout(Duration::from_secs(5))
        .connect(url)
        .await
}

/// A connection with these credentials; what it heard up to the first PONG.
fn raw(address: &str, creds: &str) -> (Raw, Vec<String>) {
    let creds = Creds::parse(creds).unwrap();
    let mut raw = Raw::dial(address);
    let sig = raw.sign(&creds.key);
    raw.say_connect(json!({"jwt": creds.jwt, "sig": sig}));
    let heard = raw.until_pong();
    (raw, heard)
}

#[tokio::test]
async fn one_namespace_sees_nothing_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(embedded(dir.path())).await.unwrap();
    let namespaces = broker.namespaces().unwrap();
    namespaces.create_namespace("red").unwrap();
    namespaces.create_namespace("blue").unwrap();
    let (_, red_creds) = namespaces.create_credentials("red", "a").unwrap();
    let (_, blue_creds) = namespaces.create_credentials("blue", "a").unwrap();
    let red = client(&broker.url(), &red_creds).await.unwrap();
    let blue = client(&broker.url(), &blue_creds).await.unwrap();
    let second = client(&broker.url(), &red_creds).await.unwrap();

    // Blue listens to everything there is, and even on what replies go to.
    let mut everything = blue.subscribe(">").await.unwrap();
    let mut queue = blue.queue_subscribe(">", "q".to_owned()).await.unwrap();
    blue.flush().await.unwrap();
    let mut service = second.subscribe("ask").await.unwrap();
    second.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(question) = service.next().await {
            let _ = second.publish(question.reply.unwrap(), "answer".into()).await;
        }
    });
    assert_eq!(red.request("ask", "?".into()).await.unwrap().payload, "answer");
    for subject in ["orders.new", "$SYS.REQ.SERVER.PING", "$JS.API.INFO", "_INBOX.x.y", "$KV.b.k"] {
        red.publish(subject, "secret".into()).await.unwrap();
    }
    red.flush().await.unwrap();
    // What blue publishes itself comes after all that red published, if any of it came.
    blue.publish("end", "".into()).await.unwrap();
    blue.flush().await.unwrap();
    assert_eq!(everything.next().await.unwrap().subject.as_str(), "end");
    assert_eq!(queue.next().await.unwrap().subject.as_str(), "end");
    // Nobody answers blue on what only red serves.
    everything.unsubscribe().await.unwrap();
    queue.unsubscribe().await.unwrap();
    let refused = blue.request("ask", "?".into()).await.unwrap_err();
    assert_eq!(refused.kind(), async_nats::RequestErrorKind::NoResponders);
    broker.shutdown().await;
}

#[tokio::test]
async fn deleting_ends_sessions_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(embedded(dir.path())).await.unwrap();
    let namespaces = broker.namespaces().unwrap().clone();
    let address = broker.url().trim_start_matches("nats://").to_owned();
    namespaces.create_namespace("a").unwrap();
    namespaces.create_namespace("b").unwrap();
    let (_, gone) = namespaces.create_credentials("a", "gone").unwrap();
    let (_, stays) = namespaces.create_credentials("a", "stays").unwrap();
    let (_, other) = namespaces.create_credentials("b", "other").unwrap();
    let work = tokio::task::spawn_blocking(move || {
        let (mut first, heard) = raw(&address, gone.expose());
        assert!(heard.is_empty(), "{heard:?}");
        let (mut second, _) = raw(&address, stays.expose());
        let (mut third, _) = raw(&address, other.expose());

        let started = Instant::now();
        namespaces.delete_credentials("a", "gone").unwrap();
        assert_eq!(first.until_closed(), ["-ERR 'User Authentication Revoked'"]);
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        assert!(second.settle("").is_empty(), "the others stay");
        assert_eq!(raw(&address, gone.expose()).1, ["-ERR 'Authorization Violation'", "closed"]);

        let started = Instant::now();
        namespaces.delete_namespace("a").unwrap();
        assert_eq!(second.until_closed(), ["-ERR 'Account Authentication Expired'"]);
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        assert!(third.settle("").is_empty(), "the other namespace stays");
        assert_eq!(raw(&address, stays.expose()).1, ["-ERR 'Authorization Violation'", "closed"]);
        // The name is free again, and is another account.
        namespaces.create_namespace("a").unwrap();
        assert_eq!(raw(&address, stays.expose()).1, ["-ERR 'Authorization Violation'", "closed"]);
        let (_, new) = namespaces.create_credentials("a", "gone").unwrap();
        assert!(raw(&address, new.expose()).1.is_empty());
    });
    work.await.unwrap();
    broker.shutdown().await;
}

/// A broker of its own process on `ns` of its folder.
fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("server.conf"), format!("namespaces {{ dir: {:?} }}", dir.path().join("ns")))
        .unwrap();
    Server::start_in(our_binary(), dir)
}

struct Cli {
    dir: String,
}

impl Cli {
    fn of(server: &Server) -> Cli {
        Cli { dir: server.dir.path().join("ns").to_str().unwrap().to_owned() }
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let args: Vec<&str> = args.iter().copied().chain(["--dir", &self.dir]).collect();
        run(our_binary(), &args)
    }

    fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    }
}

#[test]
fn the_command_line_changes_a_running_broker() {
    let server = server();
    let cli = Cli::of(&server);
    assert_eq!(cli.ok(&["namespace", "create", "shop"]).trim().len(), 56);
    let creds = cli.ok(&["credentials", "create", "shop", "api"]);
    // Good at once: nobody has to wait until the broker noticed.
    let (mut session, heard) = raw(&server.address, &creds);
    assert!(heard.is_empty(), "{heard:?}");
    assert!(session.settle("SUB > 1\r\nPUB a 1\r\nx\r\n").contains(&"MSG a 1 1".to_owned()));

    let started = Instant::now();
    cli.ok(&["credentials", "delete", "shop", "api"]);
    assert_eq!(session.until_closed(), ["-ERR 'User Authentication Revoked'"]);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());

    let creds = cli.ok(&["credentials", "create", "shop", "two"]);
    let (mut session, _) = raw(&server.address, &creds);
    let started = Instant::now();
    cli.ok(&["namespace", "delete", "shop"]);
    assert_eq!(session.until_closed(), ["-ERR 'Account Authentication Expired'"]);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(!server.log().contains("[ERR] namespaces"), "{}", server.log());
    let seed = creds.lines().find(|line| line.starts_with("SU")).unwrap();
    assert!(!server.log().contains(seed));
}

#[test]
fn what_the_command_line_answers() {
    let dir = tempfile::tempdir().unwrap();
    let cli = Cli { dir: dir.path().join("ns").to_str().unwrap().to_owned() };
    // A mistyped folder is no empty one.
    for args in [
        &["namespace", "list"][..],
        &["credentials", "list"],
        &["namespace", "delete", "x"],
        &["credentials", "create", "a", "b"],
    ] {
        let (code, _, err) = cli.run(args);
        assert_eq!((code, err.contains("does not exist")), (1, true), "{args:?}: {err}");
    }
    assert!(!dir.path().join("ns").exists());

    let made: serde_json::Value = serde_json::from_str(&cli.ok(&["namespace", "create", "shop", "--json"])).unwrap();
    assert_eq!((made["name"].as_str(), made["id"].as_str().unwrap().len()), (Some("shop"), 56));
    let (code, _, err) = cli.run(&["namespace", "create", "shop"]);
    assert_eq!((code, err.trim()), (1, "natsune-broker: namespace \"shop\" already exists"));
    let (code, _, err) = cli.run(&["namespace", "create", "../x"]);
    assert_eq!((code, err.contains("may only hold")), (1, true));
    let (code, _, err) = cli.run(&["credentials", "create", "nope", "a"]);
    assert_eq!((code, err.trim()), (1, "natsune-broker: namespace \"nope\" does not exist"));

    let file = dir.path().join("api.creds");
    let made: serde_json::Value = serde_json::from_str(&cli.ok(&[
        "credentials",
        "create",
        "shop",
        "api",
        "--json",
        "--output",
        file.to_str().unwrap(),
    ]))
    .unwrap();
    assert!(made["credentials"].is_null() && made["file"].as_str() == file.to_str(), "{made}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(Creds::parse(&text).unwrap().key.public_key(), made["public_key"].as_str().unwrap());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, err) = cli.run(&["credentials", "create", "shop", "more", "-o", file.to_str().unwrap()]);
    assert_eq!((code, err.contains("already exists")), (1, true));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "what is there is not overwritten");

    let made: serde_json::Value =
        serde_json::from_str(&cli.ok(&["credentials", "create", "shop", "web", "--json"])).unwrap();
    Creds::parse(made["credentials"].as_str().unwrap()).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&cli.ok(&["credentials", "list", "shop", "--json"])).unwrap();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|info| info["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["api", "web"], "the refused ones left nothing");
    assert!(listed.to_string().contains("public_key") && !listed.to_string().contains("SEED"));
    let table = cli.ok(&["credentials", "list"]);
    assert_eq!(
        table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["NAMESPACE", "NAME", "CREATED", "PUBLIC", "KEY"]
    );
    let (code, _, err) = cli.run(&["credentials", "delete", "shop", "nope"]);
    assert_eq!((code, err.trim()), (1, "natsune-broker: credentials \"nope\" of namespace \"shop\" does not exist"));
    cli.ok(&["credentials", "delete", "shop", "web"]);
    cli.ok(&["namespace", "delete", "shop"]);
    assert_eq!(cli.ok(&["namespace", "list", "--json"]).trim(), "[]");
}

#[test]
fn credentials_that_reach_nobody_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let cli = Cli { dir: dir.path().join("ns").to_str().unwrap().to_owned() };
    cli.ok(&["namespace", "create", "shop"]);
    for json in [&["--json"][..], &[]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = std::process::Command::new(our_binary())
            .args(["credentials", "create", "shop", "api", "--dir", &cli.dir])
            .args(json)
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(cli.ok(&["credentials", "list", "--json"]).trim(), "[]");
    }
    cli.ok(&["credentials", "create", "shop", "api"]);
}

#[test]
fn a_deletion_cut_short_ends_sessions_and_streams() {
    let server = server();
    let cli = Cli::of(&server);
    let id = cli.ok(&["namespace", "create", "shop"]);
    let creds = cli.ok(&["credentials", "create", "shop", "api"]);
    let (mut session, heard) = raw(&server.address, &creds);
    assert!(heard.is_empty(), "{heard:?}");
    // As a crash between the two steps of a deletion leaves the folder.
    let folder = Path::new(&cli.dir);
    std::fs::write(folder.join("deleted").join(id.trim()), "shop").unwrap();
    assert_eq!(session.until_closed(), ["-ERR 'Account Authentication Expired'"]);
    assert_eq!(raw(&server.address, &creds).1, ["-ERR 'Authorization Violation'", "closed"]);
    let record = folder.join("namespaces").join(format!("{}.json", id.trim()));
    assert!(record.exists(), "without JetStream there is nobody to forget it");
    assert_eq!(cli.ok(&["namespace", "list", "--json"]).trim(), "[]");
}

#[test]
fn a_crash_changes_nothing() {
    let server = server();
    let cli = Cli::of(&server);
    cli.ok(&["namespace", "create", "shop"]);
    let kept = cli.ok(&["credentials", "create", "shop", "kept"]);
    let deleted = cli.ok(&["credentials", "create", "shop", "deleted"]);
    cli.ok(&["credentials", "delete", "shop", "deleted"]);
    assert!(raw(&server.address, &kept).1.is_empty());

    let server = server.kill_and_restart(our_binary());
    assert!(raw(&server.address, &kept).1.is_empty(), "credentials outlive the crash");
    assert_eq!(raw(&server.address, &deleted).1, ["-ERR 'Authorization Violation'", "closed"], "so does their end");
    let fresh = cli.ok(&["credentials", "create", "shop", "fresh"]);
    assert!(raw(&server.address, &fresh).1.is_empty());
}

/// `kill -9` in the middle of making credentials, again and again: each time the folder is whole, and what was answered is there.
#[test]
fn killed_writers_leave_a_whole_folder() {
    let server = server();
    let cli = Cli::of(&server);
    cli.ok(&["namespace", "create", "shop"]);
    let mut answered = Vec::new();
    for round in 0..40_u64 {
        let name = format!("c{round}");
        let mut child = std::process::Command::new(our_binary())
            .args(["credentials", "create", "shop", &name, "--json", "--dir", &cli.dir])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // From before its start to after its end.
        std::thread::sleep(Duration::from_micros(round * 1000));
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        if let Ok(made) = serde_json::from_slice::<serde_json::Value>(&output.stdout) {
            answered.push((name, made["credentials"].as_str().unwrap().to_owned()));
        }
        let listed: serde_json::Value =
            serde_json::from_str(&cli.ok(&["credentials", "list", "shop", "--json"])).unwrap();
        for (name, _) in &answered {
            assert!(listed.as_array().unwrap().iter().any(|info| info["name"] == name.as_str()), "{name} was answered");
        }
    }
    println!("{} of 40 were answered", answered.len());
    cli.ok(&["credentials", "create", "shop", "last"]);
    for (_, creds) in &answered {
        assert!(raw(&server.address, creds).1.is_empty());
    }
    let left: Vec<_> = std::fs::read_dir(Path::new(&cli.dir).join("namespaces")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn many_hands_at_the_same_time() {
    let server = server();
    let cli = Cli::of(&server);
    cli.ok(&["namespace", "create", "shared"]);
    std::thread::scope(|scope| {
        for hand in 0..4 {
            let cli = &cli;
            scope.spawn(move || {
                for turn in 0..5 {
                    cli.ok(&["credentials", "create", "shared", &format!("h{hand}t{turn}")]);
                }
                cli.ok(&["namespace", "create", &format!("n{hand}")]);
            });
        }
    });
    let listed: serde_json::Value = serde_json::from_str(&cli.ok(&["credentials", "list", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 20);
    let listed: serde_json::Value = serde_json::from_str(&cli.ok(&["namespace", "list", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 5);
}

#[test]
fn a_damaged_file_costs_nobody_else_anything() {
    let server = server();
    let cli = Cli::of(&server);
    let id = cli.ok(&["namespace", "create", "bad"]).trim().to_owned();
    cli.ok(&["namespace", "create", "good"]);
    let (bad, good) = (cli.ok(&["credentials", "create", "bad", "x"]), cli.ok(&["credentials", "create", "good", "x"]));
    let (mut bad_session, _) = raw(&server.address, &bad);
    let (mut good_session, _) = raw(&server.address, &good);
    // As an editor or a restored backup would do it.
    let file = Path::new(&cli.dir).join("namespaces").join(format!("{id}.json"));
    let new = file.with_extension("tmp");
    std::fs::write(&new, "{\"version\": 1, \"id\": \"canary").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&new, &file).unwrap();
    eventually("the broker notices", || server.log().contains("it stays as it was"));
    assert!(bad_session.settle("").is_empty() && good_session.settle("").is_empty());
    assert!(raw(&server.address, &bad).1.is_empty(), "its account is still known");
    assert!(!server.log().contains("canary"));
    let (code, _, err) = cli.run(&["credentials", "create", "good", "y"]);
    assert_eq!((code, err.contains("damaged")), (1, true), "no change before somebody looked: {err}");
    std::fs::remove_file(&file).unwrap();
    cli.ok(&["credentials", "create", "good", "y"]);
    // Removed by hand is no order to delete, but nobody comes in any more.
    assert_eq!(bad_session.until_closed(), ["-ERR 'Account Authentication Expired'"]);
    assert!(good_session.settle("").is_empty());
}

#[test]
fn the_stock_command_line_client_works_with_credentials() {
    let Some(nats) = program("NATSUNE_NATS_CLI") else { return };
    let server = server();
    let cli = Cli::of(&server);
    cli.ok(&["namespace", "create", "shop"]);
    let file = server.dir.path().join("api.creds");
    cli.ok(&["credentials", "create", "shop", "api", "--output", file.to_str().unwrap()]);
    let url = format!("nats://{}", server.address);
    let nats = |args: &[&str]| run(&nats, &[&["--server", &url, "--creds", file.to_str().unwrap()], args].concat());
    let (code, _, said) = nats(&["pub", "orders.new", "hello"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Published") || said.is_empty(), "{said}");
    let (code, out, said) = nats(&["rtt"]);
    assert_eq!(code, 0, "{out}{said}");
    cli.ok(&["credentials", "delete", "shop", "api"]);
    let (code, out, said) = nats(&["pub", "orders.new", "hello"]);
    assert_ne!(code, 0);
    assert!(format!("{out}{said}").to_lowercase().contains("authorization"), "{out}{said}");
}

/// The real nats-server takes the tokens of a folder too: nobody is locked in.
#[test]
fn credentials_work_on_nats_server_as_well() {
    let Some(program) = auth_common::nats_server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let cli = Cli { dir: dir.path().to_str().unwrap().to_owned() };
    let id = cli.ok(&["namespace", "create", "shop"]).trim().to_owned();
    let creds = cli.ok(&["credentials", "create", "shop", "a"]);
    let gone = cli.ok(&["credentials", "create", "shop", "b"]);
    cli.ok(&["credentials", "delete", "shop", "b"]);
    let jwt = |path: &str| {
        let text = std::fs::read_to_string(dir.path().join(path)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["jwt"].as_str().unwrap().to_owned()
    };
    let account = jwt(&format!("namespaces/{id}.json"));
    let server = Server::start(
        &program,
        &format!("operator: {}\nresolver: MEMORY\nresolver_preload {{ {id}: {account} }}", jwt("operator.json")),
    );
    assert!(raw(&server.address, &creds).1.is_empty());
    assert_eq!(raw(&server.address, &gone).1, ["-ERR 'Authorization Violation'", "closed"]);
}
