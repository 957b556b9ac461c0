//! The binary: flags, files, log lines, signals, exit codes.

mod server_common;

use std::path::Path;
use std::process::Stdio;

use server_common::{Raw, within};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_natsune-broker");

struct Server {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    address: String,
    said: Vec<String>,
}

impl Server {
    async fn start(args: &[&str]) -> Server {
        Server::of(Command::new(PROGRAM).args(["-p", "-1"]).args(args)).await
    }

    async fn of(command: &mut Command) -> Server {
        let mut process = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("starts");
        let log = BufReader::new(process.stderr.take().expect("its log")).lines();
        let mut server = Server { process, log, address: String::new(), said: Vec::new() };
        server.until("Server is ready").await;
        let listening = server.said.iter().find_map(|line| line.split_once("Listening for client connections on "));
        server.address = listening.expect("the line that tools wait for").1.to_owned();
        server
    }

    async fn until(&mut self, text: &str) -> String {
        loop {
            let line = within(self.log.next_line())
                .await
                .expect("a log")
                .unwrap_or_else(|| panic!("no {text:?} in {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    async fn signal(&self, name: &str) {
        let pid = self.process.id().expect("it runs").to_string();
        let sent = Command::new(PROGRAM).args(["--signal", &format!("{name}={pid}")]).status();
        assert!(within(sent).await.expect("kill").success());
    }

    async fn ends(mut self) -> Option<i32> {
        within(self.process.wait()).await.expect("ends").code()
    }
}

async fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = within(Command::new(PROGRAM).args(args).output()).await.expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("writes");
    path.display().to_string()
}

#[tokio::test]
async fn version_help_and_mistakes() {
    let (code, said, _) = run(&["--version"]).await;
    assert_eq!((code, said.as_str()), (Some(0), "natsune-broker: v0.1.0 (nats-server compatible v2.15.1)\n"));
    let dir = tempfile::tempdir().expect("a folder");
    let alias = dir.path().join("nats-server");
    std::os::unix::fs::symlink(PROGRAM, &alias).expect("links");
    let output = within(Command::new(&alias).arg("-v").output()).await.expect("runs");
    assert_eq!(output.stdout, b"nats-server: v2.15.1\n");
    let (code, said, _) = run(&["--help"]).await;
    assert!(code == Some(0) && said.contains("--store_dir"));
    let (code, _, said) = run(&["--nonsense"]).await;
    assert!(code == Some(1) && said.contains("nonsense"), "{said}");
    let good = write(dir.path(), "good.conf", "port: -1");
    let (code, _, said) = run(&["-c", &good, "-t"]).await;
    assert!(code == Some(0) && said.contains("is valid"), "{said}");
    let bad = write(dir.path(), "bad.conf", "port: -1\nnonsense: 1\n");
    let (code, _, said) = run(&["-c", &bad]).await;
    assert!(code == Some(1) && said.contains("bad.conf:2:"), "{said}");
}

#[tokio::test]
async fn clients_are_not_bounded_by_what_a_shell_lets_it_open() {
    let server = Server::of(Command::new("sh").args(["-c", "ulimit -Sn 64; exec \"$0\" -p -1", PROGRAM])).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut raw = Raw::dial(&server.address).await;
        assert!(raw.line().await.starts_with("INFO "));
        clients.push(raw);
    }
    server.signal("quit").await;
    assert_eq!(server.ends().await, Some(0));
}

#[tokio::test]
async fn clients_leave_descriptors_for_the_store() {
    let limit = "ulimit -Sn 128; ulimit -Hn 128; exec \"$0\" -p -1";
    let server = Server::of(Command::new("sh").args(["-c", limit, PROGRAM])).await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut raw = Raw::dial(&server.address).await;
        raw.line().await;
        raw.send("CONNECT {\"verbose\":false}\r\n").await;
        assert_eq!(raw.fence().await, "");
        clients.push(raw);
    }
    let said = Raw::dial(&server.address).await.rest().await;
    assert!(said.ends_with("-ERR 'maximum connections exceeded'\r\n"), "{said}");
    drop(clients.pop());
    let a_place_is_free_again = async {
        loop {
            let mut raw = Raw::dial(&server.address).await;
            raw.try_send("CONNECT {\"verbose\":false}\r\nPING\r\n").await;
            if raw.answer(1).await.ends_with("PONG\r\n") {
                break;
            }
        }
    };
    within(a_place_is_free_again).await;
    server.signal("quit").await;
    assert_eq!(server.ends().await, Some(0));
}

#[tokio::test]
async fn a_check_looks_at_certificates_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(dir.path(), "tls.conf", "tls { cert_file: \"/nowhere/c.pem\", key_file: \"/nowhere/k.pem\" }");
    let (code, _, said) = run(&["-t", "-c", &file]).await;
    assert!(code == Some(1) && said.contains("/nowhere/c.pem"), "{said}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_said_elsewhere() {
    let (code, _, said) = run(&["-p", "-1", "-l", "/nowhere/server.log"]).await;
    assert!(code == Some(1) && said.contains("log file /nowhere/server.log: No such file"), "{said}");
}

#[tokio::test]
async fn an_output_that_takes_nothing_is_a_failure_without_a_panic() {
    for flag in ["--help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("opens");
        let process = Command::new(PROGRAM).arg(flag).stdout(full).stderr(Stdio::piped()).spawn().expect("starts");
        let output = within(process.wait_with_output()).await.expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.contains("standard output: ")), (Some(1), true), "{flag}: {said}");
    }
}

#[tokio::test]
async fn no_signal_goes_to_a_group_of_processes() {
    let dir = tempfile::tempdir().expect("a folder");
    let zero = write(dir.path(), "zero", "0");
    // In a group of its own, in case it does.
    for target in ["0", "4294967295", "2147483648", &zero] {
        let output = Command::new(PROGRAM).args(["--signal", &format!("stop={target}")]).process_group(0).output();
        let output = within(output).await.expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.contains("process id")), (Some(1), true), "{target}: {said}");
    }
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_files_and_none_of_others_is_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    let other = write(dir.path(), "server.new", "of somebody else");
    let pid_file = dir.path().join("server.pid").display().to_string();
    let (code, _, said) = run(&["-p", "-1", "-P", &pid_file, "--ports_file_dir", "/nowhere"]).await;
    assert!(code == Some(1) && said.contains("/nowhere"), "{said}");
    assert!(!Path::new(&pid_file).exists(), "nothing says that a server runs");
    let server = Server::start(&["-P", &pid_file]).await;
    server.signal("quit").await;
    assert_eq!(server.ends().await, Some(0));
    assert_eq!(std::fs::read_to_string(other).expect("is still there"), "of somebody else");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 1);
}

#[tokio::test]
async fn files_and_a_clean_end() {
    for signal in ["quit", "term"] {
        let dir = tempfile::tempdir().expect("a folder");
        let ports_dir = dir.path().join("ports");
        std::fs::create_dir(&ports_dir).expect("a folder");
        let pid_file = dir.path().join("pid");
        let (ports_arg, pid_arg) = (ports_dir.display().to_string(), pid_file.display().to_string());
        let server = Server::start(&["--ports_file_dir", &ports_arg, "-P", &pid_arg, "-m", "-1"]).await;
        let pid = server.process.id().expect("it runs").to_string();
        assert_eq!(std::fs::read_to_string(&pid_file).expect("the pid file"), pid);
        let ports_file = ports_dir.join(format!("natsune-broker_{pid}.ports"));
        let ports: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&ports_file).expect("the ports file")).expect("JSON");
        assert_eq!(ports["nats"][0], format!("nats://{}", server.address));
        assert!(ports["monitoring"][0].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")));
        let mut raw = Raw::dial(&server.address).await;
        raw.line().await;
        raw.send("CONNECT {\"verbose\":false}\r\n").await;
        raw.fence().await;
        server.signal(signal).await;
        assert_eq!(server.ends().await, Some(0));
        assert_eq!(raw.rest().await, "");
        assert!(!pid_file.exists() && !ports_file.exists(), "its files are gone");
    }
}

#[tokio::test]
async fn a_port_in_use_is_fatal() {
    let server = Server::start(&[]).await;
    let port = server.address.rsplit(':').next().expect("a port");
    let (code, _, said) = run(&["-p", port]).await;
    assert!(code == Some(1) && said.contains("[FTL] Error listening on port"), "{said}");
}

#[tokio::test]
async fn a_reload_and_a_lame_duck_by_signal() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(
        dir.path(),
        "server.conf",
        "max_payload: 1000\nlame_duck_duration: \"300ms\"\nlame_duck_grace_period: \"10ms\"",
    );
    let mut server = Server::start(&["-c", &file]).await;
    write(
        dir.path(),
        "server.conf",
        "max_payload: 2000\nlame_duck_duration: \"300ms\"\nlame_duck_grace_period: \"10ms\"",
    );
    server.signal("reload").await;
    server.until("Reloaded server configuration").await;
    let mut raw = Raw::dial(&server.address).await;
    assert!(raw.line().await.contains("\"max_payload\":2000,"));
    write(dir.path(), "server.conf", "max_payload: nonsense");
    server.signal("reload").await;
    server.until("Failed to reload server configuration").await;
    raw.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n").await;
    raw.until("PONG\r\n").await;
    raw.line().await;
    server.signal("ldm").await;
    assert!(raw.rest().await.contains("\"ldm\":true"));
    assert_eq!(server.ends().await, Some(0));
}

#[tokio::test]
async fn nobody_listens_beyond_this_machine_without_authentication() {
    let (code, _, said) = run(&["-a", "0.0.0.0", "-p", "-1"]).await;
    assert!(code == Some(1) && said.contains("0.0.0.0"), "{said}");
    let server = Server::start(&["--user", "a", "--pass", "b"]).await;
    assert!(server.address.starts_with("0.0.0.0:"));
    server.signal("quit").await;
    assert_eq!(server.ends().await, Some(0));
}
