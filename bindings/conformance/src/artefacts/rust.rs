//! Rust: the crate is the package; its testee is an example of it.
use crate::report::Report;
use crate::sh::Outcome;
use crate::workspace::target;
use std::path::PathBuf;
use std::process::Command;

/// Built with everything else.
pub fn build() -> Outcome {
    Ok(())
}

/// Nothing to install: cargo takes the crate as it is.
pub fn install(_report: &mut Report) -> Outcome {
    Ok(())
}

/// Runs in `cargo test`, see `cli.rs`.
pub fn test(_report: &mut Report) -> Outcome {
    Ok(())
}

/// The example's worker, and the file that must be there.
pub fn worker() -> (Command, PathBuf) {
    let program = target().join("release/examples/work-queue");
    (Command::new(&program), program)
}
