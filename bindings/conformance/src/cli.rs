//! The verbs and their flags.
use crate::conform::{self, Kind};
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::{api, artefacts, bench, demo, doctor, examples, fuzz, peers, tidy, workspace};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// `cargo dev`: set up, test, measure and pack Natsune.
#[derive(Parser)]
#[command(name = "cargo dev", version)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Says what this machine has and lacks; `--install` fetches the rest into one cache folder.
    Doctor {
        /// Fetch what is missing, after asking.
        #[arg(long)]
        install: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Remove the cache folder.
        #[arg(long, conflicts_with = "install")]
        remove: bool,
    },
    /// The main job: a work queue over five languages that survives a killed worker and a killed broker.
    Demo {
        /// Another folder than this source tree.
        #[arg(long)]
        path: Option<PathBuf>,
        /// Another NATS server; the broker's death is left out then.
        #[arg(long)]
        server: Option<String>,
        /// The credentials for it.
        #[arg(long, requires = "server")]
        creds: Option<PathBuf>,
        /// Use what was built before.
        #[arg(long)]
        no_build: bool,
    },
    /// Formats, lints, tests, packs and conforms: everything, or one language.
    Test {
        /// rust, python, node, swift or kotlin.
        lang: Option<String>,
    },
    /// The inventory against the built packages, the scenarios, the codes and the tables.
    Api {
        /// Only this language's surface.
        lang: Option<String>,
        /// Bring the tables of bindings/README.md up to date.
        #[arg(long)]
        write: bool,
    },
    /// House rules that a program can check: file sizes, unfinished words, machine paths.
    Tidy,
    /// Runs the scenarios: all languages and both servers, or those named.
    Conform {
        /// rust, python, node, swift, kotlin, all, or liar for the proof that scenarios can fail.
        lang: Option<String>,
        /// Only scenarios whose name holds this.
        pattern: Option<String>,
        /// ours, real or both.
        #[arg(long, default_value = "both")]
        server: String,
    },
    /// How fast the built packages are, beside the official clients, and our broker beside nats-server.
    Bench {
        /// rust, python, node, swift, kotlin, or broker for the servers.
        lang: Option<String>,
        /// How often everything is run; medians are of these.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// One round of few operations: shows that it works, not how fast.
        #[arg(long)]
        quick: bool,
        /// Only this case: pub, pub-await, sub, req1, req256, jspub1, jspub256, jspull, server-pub, server-pubsub, server-jspub256.
        #[arg(long)]
        case: Option<String>,
    },
    /// Every program of the READMEs, on the installed packages.
    Examples {
        /// Only this language.
        lang: Option<String>,
    },
    /// Packs and installs everything: wheel, npm tarballs, jar, Swift package.
    Pack {
        /// Only this language.
        lang: Option<String>,
    },
    /// Seeded mutators over the parsers, tokens and the store's recovery.
    Fuzz {
        /// Inputs for each target.
        #[arg(long, default_value_t = 10_000_000)]
        count: u64,
        /// The same run again.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The nats command line and the stock clients against our broker, and twenty kill -9.
    Peers,
    /// A testee that lies (started by the runner itself).
    #[command(hide = true)]
    Liar,
    /// Builds the release artefacts that are tested and shipped.
    Build {
        /// Only this language.
        lang: Option<String>,
    },
}

/// Runs the verb.
pub fn run(arguments: Cli) -> Outcome<Report> {
    let mut report = Report::default();
    match arguments.verb {
        Verb::Doctor { install, yes, remove } => doctor::run(install, yes, remove)?,
        Verb::Demo { path, server, creds, no_build } => {
            if !no_build {
                doctor::ensure();
                artefacts::build(&mut report, None);
            }
            report.stage("demo", |report| demo::run(report, &demo::Options { path, server, creds }));
        }
        Verb::Test { lang } => {
            doctor::ensure();
            test(&mut report, lang.as_deref());
        }
        Verb::Conform { lang, pattern, server } => {
            let servers: &[Kind] = match server.as_str() {
                "ours" => &[Kind::Ours],
                "real" => &[Kind::Real],
                "both" => &[Kind::Ours, Kind::Real],
                other => return Err(format!("--server is ours, real or both, not {other:?}")),
            };
            // A pattern alone is allowed: `cargo dev conform all publish`.
            if lang.as_deref() == Some("liar") {
                report.stage("conformance: a liar is caught", conform::liar);
                return Ok(report);
            }
            let lang = lang.filter(|lang| lang != "all");
            report.stage("conformance", |report| conform::run(report, lang.as_deref(), pattern.as_deref(), servers));
        }
        Verb::Bench { lang, rounds, quick, case } => {
            let rounds = if quick { 1 } else { rounds.max(1) };
            report.stage("bench", |report| bench::run(report, &bench::Options { lang, rounds, quick, case }));
        }
        Verb::Examples { lang } => {
            report.stage("examples", |report| examples::run(report, lang.as_deref()));
        }
        Verb::Pack { lang } => {
            doctor::ensure();
            artefacts::build(&mut report, lang.as_deref());
            report.stage("examples", |report| examples::run(report, lang.as_deref()));
        }
        Verb::Fuzz { count, seed } => {
            artefacts::build(&mut report, Some("rust"));
            report.stage("fuzz", |report| fuzz::run(report, count, seed));
        }
        Verb::Peers => {
            report.stage("peers against our broker", peers::run);
            report.stage("kill -9 under load", peers::kills);
        }
        Verb::Liar => conform::testee::liar()?,
        Verb::Api { lang, write } => {
            report.stage("inventory", |report| api::run(report, lang.as_deref(), write));
        }
        Verb::Tidy => {
            report.stage("tidy", tidy::run);
        }
        Verb::Build { lang } => {
            doctor::ensure();
            artefacts::build(&mut report, lang.as_deref());
        }
    }
    Ok(report)
}

fn test(report: &mut Report, lang: Option<&str>) {
    let wants = |name: &str| lang.is_none_or(|lang| lang == name);
    if wants("rust") {
        report.stage("rust: format and lint", rust_lint);
        report.stage("rust: tests", rust_tests);
    }
    if lang.is_none() {
        report.stage("tidy", tidy::run);
    }
    artefacts::build(report, lang);
    artefacts::test(report, lang);
    report.stage("inventory", |report| api::run(report, lang, false));
    report.stage("examples", |report| examples::run(report, lang));
    if lang.is_none() {
        report.stage("demo", |report| demo::run(report, &demo::Options { path: None, server: None, creds: None }));
    }
    report.stage("conformance", |report| conform::run(report, lang, None, &[Kind::Ours, Kind::Real]));
    if lang.is_none() {
        report.stage("conformance: a liar is caught", conform::liar);
        report.stage("peers against our broker", peers::run);
        report.stage("kill -9 under load", peers::kills);
        report.stage("fuzz, 100,000 inputs each", |report| fuzz::run(report, 100_000, None));
    }
}

fn rust_lint(report: &mut Report) -> Outcome {
    let root = workspace::root();
    sh::run(sh::command("cargo", &root).args(["fmt", "--all", "--check"]))?;
    report.pass(1);
    sh::run(sh::command("cargo", &root).args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    report.pass(1);
    Ok(())
}

fn rust_tests(report: &mut Report) -> Outcome {
    let root = workspace::root();
    let mut test = sh::command("cargo", &root);
    test.args(["test", "--no-fail-fast"])
        .env("NATSUNE_NATS_SERVER", workspace::nats_server())
        .env("NATSUNE_NATS_CLI", workspace::nats_cli());
    let (lines, fine) = sh::lines(&mut test)?;
    for line in &lines {
        if let Some(rest) = line.strip_prefix("test result: ") {
            for part in rest.split(['.', ';']) {
                if let Some(count) = part.trim().strip_suffix(" passed").and_then(|count| count.parse().ok()) {
                    report.pass(count);
                }
            }
        } else if line.starts_with("test ") && line.ends_with("... FAILED") {
            report.fail(line);
        }
    }
    if fine { Ok(()) } else { Err("cargo test did not end well".to_owned()) }
}
