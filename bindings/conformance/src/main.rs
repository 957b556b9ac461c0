//! `cargo dev <verb>`: the one entry for people and CI.
#![forbid(unsafe_code)]

mod api;
mod artefacts;
mod bench;
mod cli;
mod conform;
mod demo;
mod doctor;
mod examples;
mod fuzz;
mod peers;
mod report;
mod sh;
mod tidy;
mod workspace;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    match cli::run(arguments) {
        Ok(report) => report.finish(),
        Err(problem) => {
            eprintln!("cargo dev: {problem}");
            ExitCode::FAILURE
        }
    }
}
