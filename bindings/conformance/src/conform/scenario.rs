//! A scenario: data that says which server, which steps, which expectations; never code.
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// One behaviour, the same in every language and on every server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// `folder/file` without the ending.
    #[serde(skip)]
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// The operations, options, events (`event.connected`) and codes (`error.auth`) of api.toml that this proves.
    pub covers: Vec<String>,
    /// The server it runs against.
    #[serde(default)]
    pub server: Server,
    /// What happens, in order.
    pub step: Vec<Step>,
}

/// How the server is started.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// With a file store in a folder of its own.
    #[serde(default)]
    pub jetstream: bool,
    /// nats-server configuration that is added; may use `${variables}`.
    #[serde(default)]
    pub config: String,
    /// True where the testee's own embedded broker is the server: no server is started.
    #[serde(default)]
    pub embedded: bool,
    /// User and password of the runner's own connection, where the server asks for one.
    #[serde(default)]
    pub login: Option<(String, String)>,
    /// The runner's own connection is not made (operator mode, TLS): the proxy's record is its witness.
    #[serde(default)]
    pub no_login: bool,
}

/// One step: exactly one of `op` (asked of the testee), `run` (done by the runner) and `wait` (for a background step).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// An operation of TESTEE.md.
    pub op: Option<String>,
    /// A step of the runner: see `run.rs`.
    pub run: Option<String>,
    /// Waits for the step that was started with `background` of this name.
    pub wait: Option<String>,
    /// The object that it makes.
    #[serde(rename = "as")]
    pub makes: Option<String>,
    /// The object that it uses.
    pub on: Option<String>,
    /// Arguments.
    #[serde(default)]
    pub args: BTreeMap<String, Value>,
    /// What the answer must hold.
    pub ok: Option<Value>,
    /// The code that it must fail with, or an object with `code` and more.
    pub err: Option<Value>,
    /// Variables to take from the answer: name = path.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// Goes on at once; a later `wait` takes the answer.
    pub background: Option<String>,
    /// Seconds until it must have answered; 10 when not given.
    pub within: Option<f64>,
}

/// Runner steps that are facts of the runner's own: each scenario needs one.
pub const FACTS: &[&str] = &["wire", "received", "api", "connections", "replied", "refused", "attach"];

/// Reads every scenario below `folder`, sorted by name.
pub fn load(folder: &Path) -> Result<Vec<Scenario>, String> {
    let mut found = Vec::new();
    for group in sorted(folder)? {
        if group.is_dir() {
            for file in sorted(&group)? {
                if file.extension().is_some_and(|ending| ending == "toml") {
                    found.push(read(folder, &file)?);
                }
            }
        }
    }
    Ok(found)
}

fn sorted(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let list = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn read(folder: &Path, file: &Path) -> Result<Scenario, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut scenario: Scenario = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    scenario.name = file.strip_prefix(folder).unwrap_or(file).with_extension("").to_string_lossy().replace('\\', "/");
    for (at, step) in scenario.step.iter().enumerate() {
        let kinds = [step.op.is_some(), step.run.is_some(), step.wait.is_some()].into_iter().filter(|is| *is).count();
        if kinds != 1 {
            return Err(format!("{}: step {} wants exactly one of op, run, wait", scenario.name, at + 1));
        }
    }
    if !scenario.step.iter().any(|step| step.run.as_deref().is_some_and(|run| FACTS.contains(&run))) {
        return Err(format!(
            "{}: has no fact of the runner's own ({}): a liar would pass",
            scenario.name,
            FACTS.join(", ")
        ));
    }
    Ok(scenario)
}
