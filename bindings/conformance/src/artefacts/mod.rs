//! Builds the release artefacts once; tests, examples, bench and demo all use these same files.
//!
//! Each language's file knows three things: `build` (its package, out of the shared native build), `install` (into a fresh
//! environment below `dist()`, where the source tree cannot be seen) and `test` (lint, types, its own tests).

mod kotlin;
mod node;
mod python;
mod rust;
mod swift;

pub use kotlin::classpath as kotlin_classpath;
pub use node::environment as node_environment;
pub use python::environment as python_environment;
pub use swift::{bench as swift_bench, testee as swift_testee};

use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{dist, root, target};
use crate::{doctor, workspace};
use std::path::{Path, PathBuf};

/// What a language's file gives.
struct Language {
    name: &'static str,
    build: fn() -> Outcome,
    install: fn(&mut Report) -> Outcome,
    test: fn(&mut Report) -> Outcome,
}

const LANGUAGES: [Language; 5] = [
    Language { name: "rust", build: rust::build, install: rust::install, test: rust::test },
    Language { name: "python", build: python::build, install: python::install, test: python::test },
    Language { name: "node", build: node::build, install: node::install, test: node::test },
    Language { name: "swift", build: swift::build, install: swift::install, test: swift::test },
    Language { name: "kotlin", build: kotlin::build, install: kotlin::install, test: kotlin::test },
];

/// The command of a language's worker of the example `work-queue`, on the installed package.
pub fn worker(language: &str) -> Outcome<std::process::Command> {
    let (command, program) = match language {
        "rust" => rust::worker(),
        "python" => python::worker(),
        "node" => node::worker(),
        "swift" => swift::worker(),
        "kotlin" => kotlin::worker(),
        other => return Err(format!("{other} is no language of this family")),
    };
    if program.exists() {
        Ok(command)
    } else {
        Err(format!("not built ({} is missing): cargo dev build {language}", program.display()))
    }
}

/// The released server.
pub fn broker() -> PathBuf {
    target().join("release/natsune-broker")
}

/// Builds and installs what `lang` needs, or everything; says what is skipped.
pub fn build(report: &mut Report, lang: Option<&str>) {
    let wanted = wanted(report, lang);
    if !report.stage("build: broker and native parts", |_| native(&wanted)) {
        return;
    }
    for language in &wanted {
        report.stage(&format!("{}: package and fresh installation", language.name), |report| {
            (language.build)()?;
            (language.install)(report)
        });
    }
}

/// Lints, types and runs each language's own tests, on the installed package.
pub fn test(report: &mut Report, lang: Option<&str>) {
    for language in &wanted(&mut Report::default(), lang) {
        report.stage(&format!("{}: lint, types and tests", language.name), language.test);
    }
}

fn wanted(report: &mut Report, lang: Option<&str>) -> Vec<&'static Language> {
    let states = doctor::languages();
    let mut wanted = Vec::new();
    for language in LANGUAGES.iter().filter(|language| lang.is_none_or(|lang| lang == language.name)) {
        match states.iter().find(|(name, _)| *name == language.name) {
            Some((_, Err(missing))) => report.skip(format!("{}: {missing}", language.name)),
            _ => wanted.push(language),
        }
    }
    wanted
}

/// One cargo run for all libraries, programs and examples, so that what they share is compiled once with one set of features.
fn native(wanted: &[&Language]) -> Outcome {
    let wants = |name: &str| wanted.iter().any(|language| language.name == name);
    let mut cargo = sh::command("cargo", &root());
    cargo.args(["build", "--release", "--lib", "--bins", "-p", "natsune-broker"]);
    if wants("node") {
        cargo.args(["-p", "natsune-node"]);
    }
    if wants("swift") || wants("kotlin") {
        cargo.args(["-p", "natsune-library", "-p", "natsune-bindgen"]);
    }
    if wants("rust") {
        cargo.args([
            "-p",
            "natsune",
            "--example",
            "testee",
            "--example",
            "demo",
            "--example",
            "work-queue",
            "--example",
            "bench",
        ]);
        for (package, example, _) in crate::fuzz::TARGETS {
            cargo.args(["-p", package, "--example", example]);
        }
    }
    sh::run(&mut cargo)?;
    make(&dist())
}

/// Makes a folder and those above it.
fn make(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Removes a folder and makes it anew.
fn fresh(folder: &Path) -> Outcome {
    let _ = std::fs::remove_dir_all(folder);
    make(folder)
}

/// Copies one file.
fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::copy(from, to).map(drop).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

/// The environment that every language's own tests get.
fn test_environment(command: &mut std::process::Command) -> &mut std::process::Command {
    command.env("NATSUNE_NATS_SERVER", workspace::nats_server()).env("NATSUNE_BROKER", broker())
}
