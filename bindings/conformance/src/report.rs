//! What ran, how long it took and how it ended: stages, one-line results, and the closing line that CI reads.
use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Counts of passed and failed checks, with the stages they came from.
#[derive(Default)]
pub struct Report {
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
    failures: Vec<String>,
    stages: Vec<(String, Duration, String)>,
}

impl Report {
    /// Runs one stage: prints its name, its time and a one-line result. An error is one failure and does not end the run.
    pub fn stage(&mut self, name: &str, work: impl FnOnce(&mut Report) -> Result<(), String>) -> bool {
        println!("\n==> {name}");
        let begun = Instant::now();
        let failed_before = self.failed;
        let passed_before = self.passed;
        if let Err(problem) = work(self) {
            self.fail(format!("{name}: {problem}"));
        }
        let took = begun.elapsed();
        let (passed, failed) = (self.passed - passed_before, self.failed - failed_before);
        let line =
            if failed == 0 { format!("ok, {passed} passed") } else { format!("{passed} passed, {failed} FAILED") };
        println!("<== {name}: {line} ({:.1} s)", took.as_secs_f64());
        self.stages.push((name.to_owned(), took, line));
        failed == 0
    }

    /// Counts `count` checks that passed.
    pub fn pass(&mut self, count: u64) {
        self.passed += count;
    }

    /// Counts one failure and shows it now and again at the end.
    pub fn fail(&mut self, what: impl Display) {
        let what = what.to_string();
        println!("FAILED {what}");
        self.failures.push(what);
        self.failed += 1;
    }

    /// Notes a language or server that is not there. In CI that is a failure.
    pub fn skip(&mut self, what: impl Display) {
        let what = what.to_string();
        println!("skipped: {what}");
        if crate::workspace::is_ci() {
            self.fail(format!("skipped in CI: {what}"));
        } else {
            self.skipped.push(what);
        }
    }

    /// Prints the table of stages and the closing line; the exit code follows the failures.
    pub fn finish(self) -> ExitCode {
        if self.stages.is_empty() && self.passed + self.failed == 0 {
            return ExitCode::SUCCESS;
        }
        println!();
        for (name, took, line) in &self.stages {
            println!("{:>8.1} s  {name}: {line}", took.as_secs_f64());
        }
        for what in &self.skipped {
            println!("skipped: {what}");
        }
        for what in &self.failures {
            println!("FAILED {what}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
