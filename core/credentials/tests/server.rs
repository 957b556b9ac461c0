//! A real nats-server in operator mode takes our tokens and signatures, and refuses what is not in order.
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use natsune_credentials::KeyPair;
use natsune_credentials::jwt::{self, AccountClaims, OperatorClaims, SigningKey, UserClaims, UserScope};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(20);

/// The binary to test against; without one the test is skipped, but never silently in CI.
fn binary() -> Option<String> {
    let binary = std::env::var("NATSUNE_NATS_SERVER").ok().filter(|path| !path.is_empty());
    if binary.is_none() {
        println!("skipped: no nats-server");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "NATSUNE_NATS_SERVER must be set in CI");
    }
    binary
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(binary: &str, config: &Path) -> Server {
        let mut child = Command::new(binary)
            .args(["-a", "127.0.0.1", "-p", "-1", "-c"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (lines, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                // The log is read to its end so that the server never waits for its reader.
                let _ = lines.send(line);
            }
        });
        let mut server = Server { child, port: 0 };
        let mut log = Vec::new();
        while let Ok(line) = receiver.recv_timeout(DEADLINE) {
            if let Some((_, address)) = line.split_once("Listening for client connections on ") {
                server.port = address.trim().rsplit_once(':').unwrap().1.parse().unwrap();
            }
            if line.contains("Server is ready") {
                return server;
            }
            log.push(line);
        }
        panic!("nats-server did not start:\n{}", log.join("\n"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Session {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Session {
    /// Connects; the answer to CONNECT and PING: `PONG`, or the error.
    fn open(server: &Server, token: &str, key: Option<&KeyPair>) -> (Session, String) {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut session = Session { reader: BufReader::new(stream.try_clone().unwrap()), stream };
        let info: Value = serde_json::from_str(session.line().strip_prefix("INFO ").unwrap()).unwrap();
        let mut connect =
            json!({"jwt": token, "verbose": false, "headers": true, "lang": "rust", "version": "0", "protocol": 1});
        if let Some(key) = key {
            let signature = key.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
            connect["sig"] = BASE64URL_NOPAD.encode(&signature).into();
            connect["nkey"] = key.public_key().into();
        }
        session.send(&format!("CONNECT {connect}\r\nPING\r\n"));
        let answer = session.line();
        (session, answer)
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next line that is no news of the server.
    fn next(&mut self) -> String {
        loop {
            let line = self.line();
            if !line.starts_with("INFO ") {
                return line;
            }
        }
    }

    /// The body of the answer to a request.
    fn request(&mut self, subject: &str) -> Value {
        self.send(&format!("SUB _INBOX.a 1\r\nPUB {subject} _INBOX.a 0\r\n\r\n"));
        let line = self.next();
        assert!(line.starts_with("MSG _INBOX.a 1 "), "{line}");
        serde_json::from_str(&self.line()).unwrap()
    }
}

#[test]
fn a_real_server_takes_our_credentials() {
    let Some(binary) = binary() else { return };
    let (operator, operator_signing) = (KeyPair::new_operator(), KeyPair::new_operator());
    let (system, account, plain) = (KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
    let (signing, scoped) = (KeyPair::new_account(), KeyPair::new_account());
    let (user, revoked) = (KeyPair::new_user(), KeyPair::new_user());

    let mut root = OperatorClaims::new(operator.public_key());
    root.claims.name = "natsune <test> & more".to_owned();
    root.nats.system_account = system.public_key();
    root.nats.signing_keys.push(operator_signing.public_key());
    let root = jwt::encode(&mut root, &operator).unwrap();
    let system_token = jwt::encode(&mut AccountClaims::new(system.public_key()), &operator).unwrap();
    let plain_token = jwt::encode(&mut AccountClaims::new(plain.public_key()), &operator).unwrap();
    let mut claims = AccountClaims::new(account.public_key());
    claims.nats.limits.jetstream.mem_storage = jwt::NO_LIMIT;
    claims.nats.limits.jetstream.disk_storage = 1 << 20;
    claims.nats.limits.jetstream.streams = 3;
    claims.nats.signing_keys.push(SigningKey::Plain(signing.public_key()));
    let mut scope = UserScope::new(scoped.public_key(), "writer");
    scope.template.publish.allow.push("allowed.>".to_owned());
    claims.nats.signing_keys.push(SigningKey::Scoped(Box::new(scope)));
    claims.revoke(&revoked.public_key(), i64::from(u32::MAX));
    let account_token = jwt::encode(&mut claims, &operator_signing).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("server.conf");
    let text = format!(
        "operator: {root}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n {}: {system_token}\n {}: {account_token}\n {}: {plain_token}\n}}\njetstream {{ store_dir: {:?} }}\n",
        system.public_key(),
        system.public_key(),
        account.public_key(),
        plain.public_key(),
        dir.path().join("store"),
    );
    std::fs::write(&config, text).unwrap();
    let server = Server::start(&binary, &config);
    let refused = "-ERR 'Authorization Violation'";

    // Signed by the account itself; the limits of the account arrive.
    let token = jwt::encode(&mut UserClaims::new(user.public_key()), &account).unwrap();
    let (mut session, answer) = Session::open(&server, &token, Some(&user));
    assert_eq!(answer, "PONG");
    let limits = session.request("$JS.API.INFO");
    assert_eq!((&limits["limits"]["max_storage"], &limits["limits"]["max_streams"]), (&json!(1 << 20), &json!(3)));
    let info = session.request("$SYS.REQ.USER.INFO");
    assert_eq!(info["data"]["user"], user.public_key());
    assert_eq!(info["data"]["account"], account.public_key());

    // An account without storage has no JetStream.
    let token_plain = jwt::encode(&mut UserClaims::new(user.public_key()), &plain).unwrap();
    let (mut session, answer) = Session::open(&server, &token_plain, Some(&user));
    assert_eq!(answer, "PONG");
    assert_eq!(session.request("$JS.API.INFO")["error"]["err_code"], 10039);

    // By a signing key, and with the rights of a scoped one.
    let mut claims = UserClaims::new(user.public_key());
    claims.nats.issuer_account = account.public_key();
    claims.nats.rights.publish.deny.push("denied".to_owned());
    let (mut session, answer) = Session::open(&server, &jwt::encode(&mut claims, &signing).unwrap(), Some(&user));
    assert_eq!(answer, "PONG");
    session.send("PUB denied 0\r\n\r\n");
    assert_eq!(session.next(), "-ERR 'Permissions Violation for Publish to \"denied\"'");
    let mut claims = UserClaims::scoped(user.public_key());
    claims.nats.issuer_account = account.public_key();
    let (mut session, answer) = Session::open(&server, &jwt::encode(&mut claims, &scoped).unwrap(), Some(&user));
    assert_eq!(answer, "PONG");
    session.send("PUB allowed.a 0\r\n\r\nPUB other 0\r\n\r\n");
    assert_eq!(session.next(), "-ERR 'Permissions Violation for Publish to \"other\"'");

    // A bearer token needs no signature, any other does.
    let mut claims = UserClaims::new(user.public_key());
    claims.nats.rights.bearer_token = true;
    assert_eq!(Session::open(&server, &jwt::encode(&mut claims, &account).unwrap(), None).1, "PONG");
    assert_eq!(Session::open(&server, &token, None).1, refused);

    // Another key, a changed token, an expired and a not yet valid one, a revoked user, a stranger's account.
    assert_eq!(Session::open(&server, &token, Some(&revoked)).1, refused);
    let changed = token.replacen(&token[token.len() - 6..], "AAAAAA", 1);
    assert_eq!(Session::open(&server, &changed, Some(&user)).1, refused);
    let mut claims = UserClaims::new(user.public_key());
    claims.claims.exp = 1_500_000_000;
    assert_eq!(Session::open(&server, &jwt::encode(&mut claims, &account).unwrap(), Some(&user)).1, refused);
    claims.claims.exp = 0;
    claims.claims.nbf = 4_102_444_800;
    assert_eq!(Session::open(&server, &jwt::encode(&mut claims, &account).unwrap(), Some(&user)).1, refused);
    let token = jwt::encode(&mut UserClaims::new(revoked.public_key()), &account).unwrap();
    assert_eq!(Session::open(&server, &token, Some(&revoked)).1, refused);
    let token = jwt::encode(&mut UserClaims::new(user.public_key()), &KeyPair::new_account()).unwrap();
    assert_eq!(Session::open(&server, &token, Some(&user)).1, refused);
}
