//! House rules that a program can check, so that nobody has to remember them.
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::root;

/// Files may be longer only when they are tables.
const LONGEST: usize = 600;
const CODE: &[&str] = &["rs", "py", "ts", "mts", "swift", "kt"];

/// What stands at the top, beside what begins with a dot.
const TOP: &[&str] =
    &["Cargo.lock", "Cargo.toml", "README.md", "bindings", "broker", "core", "examples", "rustfmt.toml"];

/// Checks every file that git tracks.
pub fn run(report: &mut Report) -> Outcome {
    let root = root();
    let listed = sh::quiet(sh::command("git", &root).args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    // Spelled in two halves, so that this file does not find itself.
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let machine_paths = [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "farm/")];
    for name in listed.lines() {
        let Ok(text) = std::fs::read_to_string(root.join(name)) else { continue };
        if name.ends_with(".lock") || name.ends_with("package-lock.json") || name.ends_with(".json") {
            continue;
        }
        let mut fine = true;
        let mut complain = |what: String| {
            report.fail(format!("{name}: {what}"));
            fine = false;
        };
        let top = name.split('/').next().unwrap_or_default();
        if !top.starts_with('.') && !TOP.contains(&top) {
            complain("does not belong at the top".to_owned());
        }
        let is_code = CODE.iter().any(|ending| name.ends_with(&format!(".{ending}")));
        let count = text.lines().count();
        if is_code && count > LONGEST && !text.contains("tidy: table") {
            complain(format!("{count} lines; a file of more than {LONGEST} wants to be two"));
        }
        if name.ends_with(".rs") && !text.starts_with("//!") {
            complain("does not begin with a one-line //! that says what it is for".to_owned());
        }
        for (number, line) in text.lines().enumerate() {
            for word in unfinished {
                if is_code && line.contains(word) {
                    complain(format!("line {}: {word}", number + 1));
                }
            }
            for path in machine_paths {
                let at = line.find(path);
                if at.is_some_and(|at| {
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || "_.)}$\"*-".contains(before))
                }) {
                    complain(format!("line {}: the machine path {path}", number + 1));
                }
            }
        }
        if fine {
            report.pass(1);
        }
    }
    Ok(())
}
