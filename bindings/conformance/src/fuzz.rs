//! `cargo dev fuzz`: seeded mutators over everything that reads what a stranger wrote.
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{root, target};

/// Crate, example, arguments that choose the target.
pub const TARGETS: [(&str, &str, &[&str]); 5] = [
    ("natsune-protocol", "fuzz_protocol", &["--target", "parser"]),
    ("natsune-protocol", "fuzz_protocol", &["--target", "headers"]),
    ("natsune-credentials", "fuzz_credentials", &["--target", "jwt"]),
    ("natsune-credentials", "fuzz_credentials", &["--target", "creds"]),
    ("natsune-broker", "fuzz_store", &[]),
];

/// Runs `count` mutated inputs through each target; each prints its seed and count.
pub fn run(report: &mut Report, count: u64, seed: Option<u64>) -> Outcome {
    for (_, example, arguments) in TARGETS {
        let mut fuzz = sh::command(target().join("release/examples").join(example), &root());
        fuzz.args(arguments).args(["--count", &count.to_string()]);
        if let Some(seed) = seed {
            fuzz.args(["--seed", &seed.to_string()]);
        }
        match sh::run(&mut fuzz) {
            Ok(()) => report.pass(1),
            Err(problem) => report.fail(problem),
        }
    }
    Ok(())
}
