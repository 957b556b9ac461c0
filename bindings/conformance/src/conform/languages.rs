//! How each language's testee is started: always on the built package, never on the sources.
use crate::artefacts;
use crate::doctor;
use crate::workspace::{root, target};
use std::process::Command;

/// Says what is missing when the language's testee was not built.
pub fn built(language: &str) -> Result<(), String> {
    let file = match language {
        "rust" => target().join("release/examples/testee"),
        "python" => artefacts::python_environment().join("bin/python"),
        "node" => artefacts::node_environment().join("testee.mjs"),
        "kotlin" => artefacts::kotlin_classpath(),
        "swift" => artefacts::swift_testee(),
        other => return Err(format!("{other} is no language of this family")),
    };
    if file.exists() {
        Ok(())
    } else {
        Err(format!("not built ({} is missing): cargo dev build {language}", file.display()))
    }
}

/// The command that starts a testee.
pub fn command(language: &str) -> Result<Command, String> {
    let mut command = match language {
        "liar" => {
            let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
            command.arg("liar");
            command
        }
        "rust" => Command::new(target().join("release/examples/testee")),
        "python" => {
            let mut command = Command::new(artefacts::python_environment().join("bin/python"));
            // -I: nothing of the source tree can be imported by accident.
            command.arg("-I").arg(root().join("bindings/python/tests/testee.py"));
            command
        }
        "node" => {
            let mut command = Command::new("node");
            command.arg(artefacts::node_environment().join("testee.mjs"));
            command
        }
        "kotlin" => {
            let path = std::fs::read_to_string(artefacts::kotlin_classpath()).map_err(|error| error.to_string())?;
            let mut command = Command::new("java");
            command.args([
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Xshare:auto",
                "-cp",
                path.trim(),
                "io.natsune.testee.TesteeKt",
            ]);
            command
        }
        "swift" => doctor::swift_program(&artefacts::swift_testee()),
        other => return Err(format!("{other} is no language of this family")),
    };
    command.env_remove("NATSUNE_CACHE").env("NO_COLOR", "1");
    Ok(command)
}
