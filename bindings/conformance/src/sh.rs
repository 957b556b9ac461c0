//! Running other programs: output shown as it comes or kept, errors that name the command.
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// What went wrong, as text for a person.
pub type Outcome<T = ()> = Result<T, String>;

/// A command in a folder, with extra environment.
pub fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs with the terminal's own output; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Outcome {
    println!("    $ {}", shown(command));
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// Runs quietly; the output is shown only when it fails.
pub fn quiet(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|error| format!("{}: {error}", shown(command)))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(format!("{} ended with {}\n{}", shown(command), output.status, tail(&text, 60)))
}

/// Runs, showing each line of stdout as it comes, and gives the lines back with whether it ended well.
pub fn lines(command: &mut Command) -> Outcome<(Vec<String>, bool)> {
    println!("    $ {}", shown(command));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{}: {error}", shown(command)))?;
    let mut kept = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| error.to_string())?;
            println!("{line}");
            kept.push(line);
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok((kept, status.success()))
}

/// True when `program args` starts and ends with 0.
pub fn works(program: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The first line that `program args` prints on stdout or stderr.
pub fn first_line(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let mut text = String::new();
    output.stdout.as_slice().chain(output.stderr.as_slice()).read_to_string(&mut text).ok()?;
    output.status.success().then(|| plain(text.lines().next().unwrap_or_default()).trim().to_owned())
}

/// Without a terminal's colours: some programs write them into pipes, too.
fn plain(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| part.split_once('m').map_or(part, |(_, text)| text));
    std::iter::once(first).chain(rest).collect()
}

/// The last `count` lines.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}
