//! `cargo dev examples`: every snippet of the READMEs runs, on the installed packages. (Rust's run as doc tests; the example
//! `work-queue` runs in `cargo dev demo`.)
use crate::artefacts;
use crate::doctor;
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{dist, root};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The READMEs that hold programs, by language.
const READMES: [(&str, &str, &str); 4] = [
    ("python", "python", "bindings/python/README.md"),
    ("node", "js", "bindings/node/README.md"),
    ("swift", "swift", "bindings/swift/README.md"),
    ("kotlin", "kotlin", "bindings/kotlin/README.md"),
];

/// The programs of a language: the root README's, then its own README's.
pub fn snippets(language: &str) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    for (name, fence, own) in READMES.iter().filter(|(name, _, _)| *name == language) {
        for file in ["README.md", own] {
            let text = std::fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
            let found = blocks(&text, fence);
            if found.is_empty() {
                return Err(format!("{file} has no program in {name}"));
            }
            all.extend(found);
        }
    }
    Ok(all)
}

fn blocks(text: &str, fence: &str) -> Vec<String> {
    let open = format!("```{fence}\n");
    let parts = text.split(&open).skip(1);
    parts.filter_map(|part| part.split("\n```").next()).map(|block| format!("{block}\n")).collect()
}

/// Runs them all.
pub fn run(report: &mut Report, lang: Option<&str>) -> Outcome {
    for (language, state) in doctor::languages() {
        if language == "rust" || lang.is_some_and(|lang| lang != language) {
            continue;
        }
        if let Err(missing) = state {
            report.skip(format!("{language}: {missing}"));
            continue;
        }
        let all = snippets(language)?;
        for (at, snippet) in all.iter().enumerate() {
            let result = command(language, at, snippet).and_then(|command| ends(command, Duration::from_secs(60)));
            match result {
                Ok(()) => report.pass(1),
                Err(problem) => report.fail(format!("{language}, snippet {}: {problem}", at + 1)),
            }
        }
        println!("{language}: {} snippets run", all.len());
    }
    Ok(())
}

fn command(language: &str, at: usize, snippet: &str) -> Outcome<Command> {
    let write = |path: PathBuf| {
        std::fs::write(&path, snippet).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<PathBuf, String>(path)
    };
    let mut command = match language {
        "python" => {
            let mut command = sh::command(artefacts::python_environment().join("bin/python"), &dist());
            command.arg("-I").arg(write(artefacts::python_environment().join(format!("readme-{at}.py")))?);
            command
        }
        "node" => {
            let file = write(artefacts::node_environment().join(format!("readme-{at}.mjs")))?;
            let mut command = sh::command("node", &artefacts::node_environment());
            command.arg(file);
            command
        }
        // Compiled with the testee, from the same snippets.
        "swift" => doctor::swift_program(&dist().join(format!("swift/readme-{at}"))),
        "kotlin" => {
            let path = std::fs::read_to_string(artefacts::kotlin_classpath()).map_err(|error| error.to_string())?;
            let mut command = sh::command("java", &dist());
            command.args(["-XX:+UseSerialGC", "-cp", path.trim(), &format!("readme{at}.Readme{at}Kt")]);
            command
        }
        other => return Err(format!("{other} has no snippets")),
    };
    command.stdin(std::process::Stdio::null());
    Ok(command)
}

/// Runs to the end, which must come in time and be a good one.
fn ends(mut command: Command, within: Duration) -> Outcome {
    let shown = sh::shown(&command);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    let deadline = std::time::Instant::now() + within;
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if std::time::Instant::now() > deadline {
            let _ = child.kill();
            return Err(format!("{shown} did not end in {} s", within.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{shown} ended with {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
