//! The measured programs: ours and the official client of each language, all with the same command line.
use crate::sh::{self, Outcome};
use crate::workspace::{dist, root, target, venv};
use crate::{artefacts, doctor, peers};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that runs one case: `CASE URL COUNT` after what the command holds.
pub struct Program {
    /// Its language.
    pub language: &'static str,
    /// The library's name.
    pub name: &'static str,
    /// Ours, not the official client.
    pub ours: bool,
    base: Command,
}

impl Program {
    fn ours(language: &'static str, base: Command) -> Program {
        Program { language, name: "natsune", ours: true, base }
    }

    fn peer(language: &'static str, name: &'static str, base: Command) -> Program {
        Program { language, name, ours: false, base }
    }

    /// The command for a run.
    pub fn command(&self, case: &str, url: &str, count: u64) -> Command {
        let mut command = sh::command(self.base.get_program(), &dist());
        command.args(self.base.get_args()).args([case, url, &count.to_string()]);
        command
    }

    /// What it is measured beside; nobody in Swift.
    pub fn peer_name(&self) -> Option<&'static str> {
        match self.language {
            "rust" => Some("async-nats"),
            "python" => Some("nats-py"),
            "node" => Some("nats.js"),
            "kotlin" => Some("jnats"),
            _ => None,
        }
    }
}

/// The programs of a language, on the installed package; an error says what is missing.
pub fn of(language: &str) -> Outcome<Vec<Program>> {
    match language {
        "rust" => {
            let program = there(target().join("release/examples/bench"), "rust")?;
            let with = |library: &str| {
                let mut command = Command::new(&program);
                command.arg(library);
                command
            };
            Ok(vec![Program::ours("rust", with("natsune")), Program::peer("rust", "async-nats", with("async-nats"))])
        }
        "python" => {
            let with = |python: PathBuf, file: &str| {
                let mut command = Command::new(python);
                // Nothing of the surroundings; the script's own folder stays on the path.
                command.args(["-E", "-s"]).arg(folder("python").join(file));
                command
            };
            let ours = with(there(artefacts::python_environment().join("bin/python"), "python")?, "ours.py");
            let peer = with(there(venv("python"), "python")?, "peer.py");
            Ok(vec![Program::ours("python", ours), Program::peer("python", "nats-py", peer)])
        }
        "node" => {
            let place = artefacts::node_environment();
            there(place.join("node_modules/natsune"), "node")?;
            let ours = script(&place, "ours.mjs")?;
            let peer = script(&peers::node_project()?, "peer.mjs")?;
            Ok(vec![Program::ours("node", ours), Program::peer("node", "nats.js", peer)])
        }
        "swift" => {
            let program = there(artefacts::swift_bench(), "swift")?;
            Ok(vec![Program::ours("swift", doctor::swift_program(&program))])
        }
        "kotlin" => {
            let path = there(artefacts::kotlin_classpath(), "kotlin")?;
            let path = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
            let ours = java(path.trim(), "io.natsune.bench.BenchKt");
            let peer = java(&peers::java_project(&[folder("java").join("Bench.java")])?, "Bench");
            Ok(vec![Program::ours("kotlin", ours), Program::peer("kotlin", "jnats", peer)])
        }
        other => Err(format!("{other} is no language of this family")),
    }
}

fn folder(name: &str) -> PathBuf {
    root().join("bindings/conformance/bench").join(name)
}

fn there(file: PathBuf, language: &str) -> Outcome<PathBuf> {
    if file.exists() {
        Ok(file)
    } else {
        Err(format!("not built ({} is missing): cargo dev build {language}", file.display()))
    }
}

/// A script where it finds the packages of the project.
fn script(project: &Path, file: &str) -> Outcome<Command> {
    let place = project.join("bench");
    std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    for name in [file, "common.mjs"] {
        let to = place.join(name);
        std::fs::copy(folder("node").join(name), &to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    let mut command = Command::new("node");
    command.arg(place.join(file));
    Ok(command)
}

fn java(path: &str, class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-cp", path, class]);
    command
}
