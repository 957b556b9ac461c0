//! The real world against our broker: the nats command line and the stock clients, unmodified, with our credentials.
use crate::conform::{Kind, Server};
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{dist, nats_cli, root, venv};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// A broker with one namespace, its URL and its credentials file.
struct Home {
    _server: Server,
    url: String,
    creds: PathBuf,
    _folder: tempfile::TempDir,
}

impl Home {
    fn make() -> Outcome<Home> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let namespaces = folder.path().join("namespaces");
        let creds = folder.path().join("smoke.creds");
        let config = format!(
            "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\nnamespaces {{ dir: \"{}\" }}\n",
            folder.path().join("store").display(),
            namespaces.display()
        );
        let server = Server::start(Kind::Ours, folder.path(), &config)?;
        let broker = |arguments: &[&str]| {
            let mut command = sh::command(Kind::Ours.program(), folder.path());
            sh::quiet(command.args(arguments).arg("--dir").arg(&namespaces))
        };
        // Made while the broker runs: it must know them within a second.
        broker(&["namespace", "create", "smoke"])?;
        broker(&["credentials", "create", "smoke", "tester", "--output", &creds.to_string_lossy()])?;
        Ok(Home { url: format!("nats://127.0.0.1:{}", server.port()), _server: server, creds, _folder: folder })
    }
}

/// Runs them all.
pub fn run(report: &mut Report) -> Outcome {
    let home = Home::make()?;
    cli(report, &home)?;
    for (name, command) in [("nats-py", python(&home)), ("nats.js", node(&home)), ("jnats", java(&home))] {
        match command.and_then(|mut command| sh::quiet(&mut command)) {
            Ok(output) => {
                let count = output.lines().filter(|line| line.starts_with("ok ")).count();
                println!("{name}: {count} checks against our broker");
                report.pass(count as u64);
            }
            Err(problem) => report.fail(format!("{name} against our broker: {problem}")),
        }
    }
    Ok(())
}

fn folder(name: &str) -> PathBuf {
    root().join("bindings/conformance/peers").join(name)
}

fn python(home: &Home) -> Outcome<Command> {
    let mut command = sh::command(venv("python"), &folder("python"));
    command.arg("smoke.py").arg(&home.url).arg(&home.creds);
    Ok(command)
}

fn node(home: &Home) -> Outcome<Command> {
    let mut command = sh::command("node", &node_project()?);
    command.arg("smoke.mjs").arg(&home.url).arg(&home.creds);
    Ok(command)
}

/// A project with nats.js installed: a copy, so that nothing is installed into the source tree.
pub fn node_project() -> Outcome<PathBuf> {
    let lock = |place: &Path| std::fs::read(place.join("package-lock.json")).ok();
    let place = dist().join("peers/node");
    let current = place.join("node_modules/.package-lock.json").exists() && lock(&place) == lock(&folder("node"));
    copied("node", &["package.json", "package-lock.json", "smoke.mjs"])?;
    if !current {
        sh::quiet(sh::command("npm", &place).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))?;
    }
    Ok(place)
}

fn java(home: &Home) -> Outcome<Command> {
    let mut command = sh::command("java", &std::env::temp_dir());
    command.args(["-cp", &java_project(&[])?, "Smoke"]).arg(&home.url).arg(&home.creds);
    Ok(command)
}

/// The class path with jnats, the smoke test, and these sources too.
pub fn java_project(more: &[PathBuf]) -> Outcome<String> {
    let place = copied("java", &["pom.xml", "src/main/java/Smoke.java"])?;
    for file in more {
        let to = place.join("src/main/java").join(file.file_name().unwrap_or_default());
        std::fs::copy(file, &to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    let mut build = sh::command("mvn", &place);
    build.args([
        "--quiet",
        "--batch-mode",
        "compile",
        "dependency:build-classpath",
        "-Dmdep.outputFile=target/classpath",
    ]);
    sh::quiet(&mut build)?;
    let path = std::fs::read_to_string(place.join("target/classpath")).map_err(|error| error.to_string())?;
    Ok(format!("{}:{}", place.join("target/classes").display(), path.trim()))
}

fn copied(name: &str, files: &[&str]) -> Outcome<PathBuf> {
    let place = dist().join("peers").join(name);
    for file in files {
        let to = place.join(file);
        std::fs::create_dir_all(to.parent().unwrap_or(&place)).map_err(|error| error.to_string())?;
        std::fs::copy(folder(name).join(file), &to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(place)
}

/// One `nats` command with our URL and credentials.
fn nats(home: &Home, arguments: &[&str]) -> Command {
    let mut command = sh::command(nats_cli(), &std::env::temp_dir());
    // No context of the person who runs this may leak in.
    command.env("XDG_CONFIG_HOME", home.creds.with_extension("config"));
    command.args(["--server", &home.url, "--creds"]).arg(&home.creds).args(arguments);
    command
}

fn cli(report: &mut Report, home: &Home) -> Outcome {
    let mut check = |what: &str, result: Outcome<String>, wanted: &[&str]| match result {
        Ok(text) => match wanted.iter().find(|wanted| !text.contains(**wanted)) {
            None => report.pass(1),
            Some(missing) => report.fail(format!("nats {what}: {missing:?} is not in its output:\n{text}")),
        },
        Err(problem) => report.fail(format!("nats {what}: {problem}")),
    };
    let ask = |arguments: &[&str]| {
        let mut command = nats(home, arguments);
        command.stderr(Stdio::piped());
        let output = command.output().map_err(|error| error.to_string())?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(text) } else { Err(text) }
    };
    check("rtt", ask(&["rtt"]), &[&home.url]);

    let sub = Background::start(nats(home, &["sub", "cli.>", "--count", "1"]), "Subscribing")?;
    check("pub", ask(&["pub", "cli.a", "hello cli"]), &["Published"]);
    check("sub", sub.output(), &["hello cli", "cli.a"]);
    let reply = Background::start(nats(home, &["reply", "cli.svc", "the answer", "--count", "1"]), "Listening")?;
    check("req", ask(&["req", "cli.svc", "question"]), &["the answer"]);
    check("reply", reply.output(), &["question"]);

    let add =
        ["stream", "add", "CLI", "--subjects", "clijobs.>", "--defaults", "--storage", "file", "--retention", "work"];
    check("stream add", ask(&add), &["CLI"]);
    check("stream ls", ask(&["stream", "ls"]), &["CLI"]);
    for number in 1..=3 {
        check(
            "pub to a stream",
            ask(&["pub", "clijobs.a", &format!("job {number}"), "--jetstream"]),
            &["Stored in Stream: CLI"],
        );
    }
    check("stream info", ask(&["stream", "info", "CLI"]), &["clijobs.>", "Messages: 3"]);
    check("stream get", ask(&["stream", "get", "CLI", "1"]), &["job 1"]);
    check(
        "consumer add",
        ask(&["consumer", "add", "CLI", "workers", "--pull", "--defaults", "--ack", "explicit"]),
        &["workers"],
    );
    check("consumer info", ask(&["consumer", "info", "CLI", "workers"]), &["Unprocessed Messages: 3"]);
    check("consumer next", ask(&["consumer", "next", "CLI", "workers"]), &["job 1"]);
    check("consumer rm", ask(&["consumer", "rm", "CLI", "workers", "--force"]), &[]);
    check("stream purge", ask(&["stream", "purge", "CLI", "--force"]), &["Messages: 0"]);
    check("stream rm", ask(&["stream", "rm", "CLI", "--force"]), &[]);

    check("kv add", ask(&["kv", "add", "CLIKV", "--history", "3"]), &["CLIKV"]);
    let watch = Background::start(nats(home, &["kv", "watch", "CLIKV"]), "")?;
    check("kv put", ask(&["kv", "put", "CLIKV", "color", "blue"]), &["blue"]);
    check("kv get", ask(&["kv", "get", "CLIKV", "color", "--raw"]), &["blue"]);
    check("kv watch", watch.until("color"), &["blue"]);
    check("kv del", ask(&["kv", "del", "CLIKV", "color", "--force"]), &[]);
    println!("nats CLI: rtt, pub, sub, req, reply, stream, consumer and kv against our broker");
    Ok(())
}

/// A command that goes on beside: started when it printed `ready`.
struct Background {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    text: std::cell::RefCell<String>,
}

impl Background {
    fn start(mut command: Command, ready: &str) -> Outcome<Background> {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let (send, lines) = std::sync::mpsc::channel();
        let outputs: [Option<Box<dyn std::io::Read + Send>>; 2] =
            [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|out| Box::new(out) as _)];
        for output in outputs.into_iter().flatten() {
            let send = send.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let background = Background { child, lines, text: Default::default() };
        if !ready.is_empty() {
            background.until(ready)?;
        }
        Ok(background)
    }

    /// Its output so far, once it holds `wanted`.
    fn until(&self, wanted: &str) -> Outcome<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if self.text.borrow().contains(wanted) {
                return Ok(self.text.borrow().clone());
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.text.borrow_mut().push_str(&format!("{line}\n")),
                Err(_) => return Err(format!("{wanted:?} did not come in 10 s, only: {}", self.text.borrow())),
            }
        }
    }

    /// Its whole output, once it ended by itself.
    fn output(mut self) -> Outcome<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let late = loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.text.borrow_mut().push_str(&format!("{line}\n")),
                Err(error) => break error == RecvTimeoutError::Timeout,
            }
        };
        let text = self.text.borrow().clone();
        if late {
            return Err(format!("it did not end in 10 s: {text}"));
        }
        // It closed its outputs, so it is about to end. Its status says nothing: `reply --count` ends with 1 when it is done.
        self.child.wait().map_err(|error| error.to_string())?;
        Ok(text)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Twenty times kill -9 under load: every acknowledged publish is there after the restart.
pub fn kills(report: &mut Report) -> Outcome {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let config =
        format!("listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\n", folder.path().join("store").display());
    let mut server = Server::start(Kind::Ours, folder.path(), &config)?;
    let address = format!("127.0.0.1:{}", server.port());
    let stream = br#"{"name":"KILL","subjects":["kill"],"storage":"file"}"#;
    let mut wire = crate::conform::Wire::connect(&address, None)?;
    wire.request("$JS.API.STREAM.CREATE.KILL", stream, Duration::from_secs(5))?.ok_or("no answer to STREAM.CREATE")?;
    let mut acked: Vec<(u64, u64)> = Vec::new();
    let mut number = 0;
    for round in 0..20_u64 {
        let mut wire = crate::conform::Wire::connect(&address, None)?;
        let acks = wire.subscribe("acks.*", None)?;
        // Between 200 and 1,150 publishes in flight and acknowledged, a different count each round.
        let wanted = 200 + round * 50;
        for _ in 0..wanted + 300 {
            wire.publish("kill", Some(&format!("acks.{number}")), &[], number.to_string().as_bytes())?;
            number += 1;
        }
        let got = wire.received(acks, usize::try_from(wanted).unwrap_or(200), Duration::from_secs(20))?;
        server.stop(true)?;
        for ack in wire.received(acks, 0, Duration::ZERO).unwrap_or(got) {
            let answer = crate::conform::json_of(&ack)?;
            let sequence =
                answer.get("seq").and_then(serde_json::Value::as_u64).ok_or_else(|| format!("not an ack: {answer}"))?;
            let of = ack.subject.rsplit('.').next().and_then(|text| text.parse().ok()).ok_or("an ack for nothing")?;
            acked.push((of, sequence));
        }
        server.start_again()?;
    }
    let lost = verify(&address, &acked)?;
    println!("20 kills, {} publishes acknowledged, {lost} lost", acked.len());
    if lost > 0 || acked.is_empty() {
        return Err(format!("{lost} of {} acknowledged publishes are not there", acked.len()));
    }
    report.pass(20);
    Ok(())
}

fn verify(address: &str, acked: &[(u64, u64)]) -> Outcome<u64> {
    let mut wire = crate::conform::Wire::connect(address, None)?;
    let mut right = std::collections::HashSet::new();
    // A server has a bound for API calls that wait; it refuses what is beyond.
    for (chunk, some) in acked.chunks(1_000).enumerate() {
        let inbox = wire.subscribe(&format!("check.{chunk}.*"), None)?;
        for (number, sequence) in some {
            let request = format!("{{\"seq\":{sequence}}}");
            let reply = format!("check.{chunk}.{number}");
            wire.publish("$JS.API.STREAM.MSG.GET.KILL", Some(&reply), &[], request.as_bytes())?;
        }
        for answer in wire.received(inbox, some.len(), Duration::from_secs(60))? {
            let stored = crate::conform::json_of(&answer)?;
            match stored.pointer("/error/code").and_then(serde_json::Value::as_u64) {
                None | Some(404) => {}
                Some(_) => return Err(format!("a stored message could not be asked for: {stored}")),
            }
            let data = stored.pointer("/message/data").and_then(serde_json::Value::as_str).unwrap_or_default();
            let number = answer.subject.rsplit('.').next().unwrap_or_default();
            if data_encoding::BASE64.decode(data.as_bytes()).is_ok_and(|data| data == number.as_bytes()) {
                right.insert(number.to_owned());
            }
        }
    }
    Ok((acked.len() - right.len()) as u64)
}
