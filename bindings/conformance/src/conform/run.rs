//! One scenario, one language, one server.
use super::fixtures::Fixtures;
use super::proxy::Proxy;
use super::scenario::{Scenario, Step};
use super::server::{Kind, Server};
use super::testee::Testee;
use super::values::{Variables, at, fill, mismatch, short};
use super::wire::Wire;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Everything that a running scenario holds.
pub struct Run<'a> {
    scenario: &'a Scenario,
    testee: Testee,
    /// The server process, unless the testee's embedded broker is the server.
    pub server: Option<Server>,
    proxy: Option<Proxy>,
    /// The runner's own connection.
    pub wire: Option<Wire>,
    /// The runner's own subscriptions.
    pub subscriptions: HashMap<String, u64>,
    variables: Variables,
    waiting: HashMap<String, (u64, Step)>,
    /// A folder of its own, removed afterwards.
    pub folder: PathBuf,
    /// The testee is the one that only pretends.
    pub is_liar: bool,
}

/// Runs it; the error says at which step, and holds what the testee wrote to stderr.
pub fn run(
    scenario: &Scenario,
    kind: Kind,
    command: Command,
    fixtures: &Fixtures,
    is_liar: bool,
) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut variables = fixtures.variables.clone();
    variables.insert("folder".into(), folder.path().to_string_lossy().into());
    variables.insert("nonce".into(), nonce().into());
    variables.insert("nonce2".into(), nonce().into());
    let (mut server, mut proxy) = (None, None);
    if !scenario.server.embedded {
        let config = fill(&Value::String(scenario.server.config.clone()), &variables)?;
        let mut text = "listen: \"127.0.0.1:-1\"\n".to_owned();
        if scenario.server.jetstream {
            text.push_str(&format!("jetstream {{ store_dir: \"{}\" }}\n", folder.path().join("store").display()));
        }
        text.push_str(config.as_str().unwrap_or_default());
        let started = Server::start(kind, folder.path(), &text)?;
        let made = Proxy::start(started.port())?;
        variables.insert("url".into(), format!("nats://127.0.0.1:{}", made.port()).into());
        variables.insert("tls_url".into(), format!("tls://127.0.0.1:{}", made.port()).into());
        variables.insert("port".into(), made.port().into());
        variables.insert("direct_url".into(), format!("nats://127.0.0.1:{}", started.port()).into());
        (server, proxy) = (Some(started), Some(made));
    }
    let testee = Testee::start(command, Duration::from_secs(30))?;
    let mut run = Run {
        scenario,
        testee,
        server,
        proxy,
        wire: None,
        subscriptions: HashMap::new(),
        variables,
        waiting: HashMap::new(),
        folder: folder.path().to_path_buf(),
        is_liar,
    };
    if !scenario.server.embedded && !scenario.server.no_login {
        run.connect_wire()?;
    }
    for (number, step) in scenario.step.iter().enumerate() {
        run.step(step).map_err(|problem| {
            let stderr = crate::sh::tail(&run.testee.stderr(), 15);
            let log = run.server.as_ref().map(|server| crate::sh::tail(&server.log(), 6)).unwrap_or_default();
            format!(
                "step {} ({}): {problem}\n--- testee's stderr\n{stderr}\n--- server's log\n{log}",
                number + 1,
                title(step)
            )
        })?;
    }
    run.testee.end(Duration::from_secs(10))
}

fn title(step: &Step) -> String {
    let what = step.op.as_ref().or(step.run.as_ref()).or(step.wait.as_ref());
    format!("{} {}", what.map(String::as_str).unwrap_or_default(), step.on.as_deref().unwrap_or_default())
        .trim()
        .to_owned()
}

/// A text that nobody could have known before.
fn nonce() -> String {
    use std::hash::{BuildHasher, Hasher};
    format!("{:016x}", std::collections::hash_map::RandomState::new().build_hasher().finish())
}

impl Run<'_> {
    /// The runner's own connection.
    pub fn wire(&mut self) -> Result<&mut Wire, String> {
        self.wire.as_mut().ok_or_else(|| "the runner has no connection of its own in this scenario".to_owned())
    }

    /// The proxy in front of the server.
    pub fn proxy(&self) -> Result<&Proxy, String> {
        self.proxy.as_ref().ok_or_else(|| "this scenario has no proxy".to_owned())
    }

    /// Replaces variables.
    pub fn fill(&self, value: &Value) -> Result<Value, String> {
        fill(value, &self.variables)
    }

    /// Connects the runner itself, straight to the server.
    pub fn connect_wire(&mut self) -> Result<(), String> {
        let server = self.server.as_ref().ok_or("no server process")?;
        self.subscriptions.clear();
        let text = |value: &String| {
            self.fill(&Value::String(value.clone())).map(|value| value.as_str().unwrap_or_default().to_owned())
        };
        let login = self
            .scenario
            .server
            .login
            .as_ref()
            .map(|(user, password)| Ok::<_, String>((text(user)?, text(password)?)))
            .transpose()?;
        self.wire = Some(Wire::connect(&format!("127.0.0.1:{}", server.port()), login.as_ref())?);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        if let Some(name) = &step.wait {
            let (number, asked) =
                self.waiting.remove(name).ok_or_else(|| format!("nothing runs in the background as {name:?}"))?;
            let merged = Step { ok: step.ok.clone().or(asked.ok), err: step.err.clone().or(asked.err), ..step.clone() };
            return self.finish(number, &merged);
        }
        let args = Value::Object(
            step.args
                .iter()
                .map(|(name, value)| Ok((name.clone(), self.fill(value)?)))
                .collect::<Result<_, String>>()?,
        );
        // `text` in the arguments themselves is a payload too.
        let args = fill(&args, &self.variables)?;
        if let Some(name) = &step.run {
            return super::steps::run(self, name, step, &args);
        }
        let op = step.op.as_deref().unwrap_or_default();
        let mut args = args;
        if op == "connect"
            && args.get("servers").is_none()
            && let (Some(fields), Some(url)) = (args.as_object_mut(), self.variables.get("url"))
        {
            fields.insert("servers".into(), json!([url]));
        }
        if op == "cancel"
            && let Some((number, _)) =
                step.args.get("target").and_then(Value::as_str).and_then(|name| self.waiting.get(name))
            && let Some(fields) = args.as_object_mut()
        {
            fields.insert("target".into(), (*number).into());
        }
        let mut request = json!({"op": op, "as": step.makes, "on": step.on, "args": args});
        if self.is_liar
            && let Some(fields) = request.as_object_mut()
        {
            fields.insert("expected".into(), self.expected(step)?);
        }
        let number = self.testee.ask(request)?;
        match &step.background {
            Some(name) => {
                self.waiting.insert(name.clone(), (number, step.clone()));
                Ok(())
            }
            None => self.finish(number, step),
        }
    }

    /// The answer that a liar would give: exactly what is expected, with every value that is to be saved.
    fn expected(&self, step: &Step) -> Result<Value, String> {
        // What is asked in the background is expected where it is waited for.
        let later = step
            .background
            .as_ref()
            .and_then(|name| self.scenario.step.iter().find(|other| other.wait.as_ref() == Some(name)));
        let step = later.filter(|later| later.ok.is_some() || later.err.is_some()).unwrap_or(step);
        if let Some(err) = &step.err {
            let err = self.fill(err)?;
            return Ok(json!({"err": if err.is_string() { json!({"code": err, "message": "x"}) } else { err }}));
        }
        let mut ok = step.ok.as_ref().map(|ok| self.fill(ok)).transpose()?.unwrap_or_else(|| json!({}));
        for path in step.save.values() {
            if at(&ok, path).is_none()
                && let (Some(fields), Some(first)) = (ok.as_object_mut(), path.split('.').next())
            {
                fields.insert(first.to_owned(), "x".into());
            }
        }
        Ok(json!({"ok": ok}))
    }

    fn finish(&mut self, number: u64, step: &Step) -> Result<(), String> {
        let answer = self.testee.answer(number, Duration::from_secs_f64(step.within.unwrap_or(10.0)))?;
        if let Some(expected) = &step.err {
            let expected = self.fill(expected)?;
            let wanted = if expected.is_string() { json!({"code": expected}) } else { expected };
            let Some(found) = answer.get("err") else {
                return Err(format!("expected the error {wanted}, got {}", short(&answer)));
            };
            return mismatch(&wanted, Some(found), "err")
                .map_or(Ok(()), |problem| Err(format!("{problem}; the whole: {}", short(found))));
        }
        if let Some(error) = answer.get("err") {
            return Err(format!("failed: {}", short(error)));
        }
        let found = answer.get("ok").cloned().unwrap_or_default();
        if let Some(expected) = &step.ok
            && let Some(problem) = mismatch(&self.fill(expected)?, Some(&found), "ok")
        {
            return Err(format!("{problem}; the whole: {}", short(&found)));
        }
        for (name, path) in &step.save {
            let value = at(&found, path).ok_or_else(|| format!("nothing at {path} to save: {}", short(&found)))?;
            self.variables.insert(name.clone(), value.clone());
        }
        Ok(())
    }
}
