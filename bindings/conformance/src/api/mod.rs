//! The inventory and its checks: surface, behaviour, errors, words. See architecture: checked, not generated from.
mod surface;

use crate::conform::{folder, load};
use crate::doctor;
use crate::report::Report;
use crate::sh::Outcome;
use crate::workspace::root;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// `bindings/api.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inventory {
    version: String,
    operation: Vec<Operation>,
    errors: BTreeMap<String, String>,
    events: BTreeMap<String, Vec<String>>,
    /// What a language has beside the inventory, and why.
    #[serde(default)]
    extras: BTreeMap<String, BTreeMap<String, String>>,
}

/// One public operation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    name: String,
    about: String,
    #[serde(default)]
    args: Vec<String>,
    gives: String,
    kind: String,
    /// Other spelling by language; "-" is absence, and `why` says why.
    #[serde(default)]
    spelling: BTreeMap<String, String>,
    #[serde(default)]
    why: Option<String>,
    /// How it differs in a language beyond its name.
    #[serde(default)]
    note: Option<String>,
}

fn file() -> std::path::PathBuf {
    root().join("bindings/api.toml")
}

fn read() -> Outcome<Inventory> {
    let text = std::fs::read_to_string(file()).map_err(|error| format!("{}: {error}", file().display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", file().display()))
}

/// Runs the checks; `write` brings the tables in `bindings/README.md` up to date.
pub fn run(report: &mut Report, lang: Option<&str>, write: bool) -> Outcome {
    let inventory = read()?;
    if inventory.version.is_empty()
        || inventory.operation.iter().any(|operation| operation.about.is_empty() || operation.gives.is_empty())
    {
        return Err("every operation says what it does and what it gives".to_owned());
    }
    for (language, state) in doctor::languages() {
        if lang.is_some_and(|lang| lang != language) {
            continue;
        }
        match state {
            Ok(()) => {
                if let Err(problem) = check_surface(report, &inventory, language) {
                    report.fail(format!("the surface of {language} cannot be read: {problem}"));
                }
            }
            Err(missing) => report.skip(format!("{language}: {missing}")),
        }
    }
    if lang.is_none() {
        check_behaviour(report, &inventory)?;
        check_errors(report, &inventory)?;
        check_words(report, &inventory, write)?;
    }
    Ok(())
}

fn check_surface(report: &mut Report, inventory: &Inventory, language: &str) -> Outcome {
    let nouns: BTreeSet<String> = inventory
        .operation
        .iter()
        .filter_map(|operation| operation.name.split_once('.'))
        .map(|(noun, _)| noun.to_owned())
        .collect();
    let found = surface::members(language, &nouns)?;
    let none = BTreeMap::new();
    let extras = inventory.extras.get(language).unwrap_or(&none);
    let mut wanted = BTreeSet::new();
    let mut missing = 0;
    for operation in &inventory.operation {
        let name = match operation.spelling.get(language).map(String::as_str) {
            Some("-") => {
                if operation.why.is_none() {
                    report.fail(format!("{}: not in {language}, and nothing says why", operation.name));
                }
                continue;
            }
            Some(spelling) => spelling.split(' ').next().unwrap_or_default().to_owned(),
            None => operation.name.clone(),
        };
        if found.contains(&name) {
            report.pass(1);
        } else {
            report.fail(format!("{language} has no {name} ({})", operation.name));
            missing += 1;
        }
        wanted.insert(name);
    }
    let unknown: Vec<&String> = found
        .iter()
        .filter(|name| !wanted.contains(*name) && !extras.contains_key(*name) && !extras.contains_key("*"))
        .collect();
    for name in &unknown {
        report.fail(format!("{language} has {name}, which is not in the inventory"));
    }
    for name in extras.keys().filter(|name| !found.contains(*name) && *name != "*") {
        report.fail(format!("the inventory lists {name} as an extra of {language}, which does not have it"));
    }
    println!(
        "surface of {language}: {} operations, {missing} missing, {} not in the inventory",
        wanted.len(),
        unknown.len()
    );
    Ok(())
}

/// Each operation, event and code is used by a scenario; what a scenario says it covers exists.
fn check_behaviour(report: &mut Report, inventory: &Inventory) -> Outcome {
    let scenarios = load(&folder())?;
    let covered: BTreeSet<&str> =
        scenarios.iter().flat_map(|scenario| scenario.covers.iter().map(String::as_str)).collect();
    let known: BTreeSet<String> = inventory
        .operation
        .iter()
        .map(|operation| operation.name.clone())
        .chain(inventory.errors.keys().map(|code| format!("error.{code}")))
        .chain(inventory.events.keys().map(|event| format!("event.{event}")))
        .collect();
    for name in covered.iter().filter(|name| !known.contains(**name) && !name.starts_with("options.")) {
        report.fail(format!("a scenario covers {name}, which is not in the inventory"));
    }
    let unproved: BTreeSet<&str> = UNPROVED.iter().map(|(name, _)| *name).collect();
    for name in &known {
        match (covered.contains(name.as_str()), unproved.contains(name.as_str())) {
            (true, false) => report.pass(1),
            (true, true) => report.fail(format!("{name} is covered now: take it off the list of what is not")),
            (false, true) => {}
            (false, false) => report.fail(format!("no scenario covers {name}")),
        }
    }
    for (name, reason) in UNPROVED {
        println!("no scenario for {name}: {reason}");
    }
    println!("behaviour: {} scenarios cover {} names", scenarios.len(), covered.len());
    Ok(())
}

/// What no scenario can bring about on both servers, and why.
const UNPROVED: &[(&str, &str)] = &[
    ("Broker.credentials", "lists for people; tested at the boundary"),
    ("Broker.monitor_url", "tested at the boundary"),
    ("Broker.namespaces", "lists for people; tested at the boundary"),
    ("Headers.append", "needs no server; each language's own tests"),
    ("Headers.delete", "needs no server; each language's own tests"),
    ("Headers.get", "needs no server; each language's own tests"),
    ("Headers.set", "needs no server; each language's own tests"),
    ("Headers.values", "needs no server; each language's own tests"),
    ("event.server_error", "what a server complains of beside is told apart in core, with a scripted server"),
    ("error.integrity", "only the object store, which is not in 0.1, raises it"),
    ("error.server", "stands for what no server of the two says"),
    ("error.unsupported", "neither server is too old"),
    ("event.auth_expired", "credentials that expire within a run would make it wait; tested in core"),
    ("event.servers_changed", "one node has no cluster to speak of; tested in core with a scripted server"),
];

/// The codes of the boundary are those of the inventory.
fn check_errors(report: &mut Report, inventory: &Inventory) -> Outcome {
    let path = root().join("core/src/error.rs");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let body = text.split("fn as_str(self)").nth(1).and_then(|rest| rest.split("\n    }\n").next()).unwrap_or_default();
    let codes: BTreeSet<&str> = body.split('"').skip(1).step_by(2).collect();
    let wanted: BTreeSet<&str> = inventory.errors.keys().map(String::as_str).collect();
    if codes == wanted {
        report.pass(1)
    } else {
        report.fail(format!("core's codes {codes:?} are not the inventory's {wanted:?}"))
    }
    Ok(())
}

/// The tables of `bindings/README.md` say what the inventory says.
fn check_words(report: &mut Report, inventory: &Inventory, write: bool) -> Outcome {
    let path = root().join("bindings/README.md");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let with_parity = replaced(&text, "api:parity", &parity(inventory))?;
    let fresh = replaced(&with_parity, "api:errors", &errors(inventory))?;
    if write {
        std::fs::write(&path, &fresh).map_err(|error| error.to_string())?;
    } else if fresh != text {
        return Err("the tables in bindings/README.md are stale: cargo dev api --write".to_owned());
    }
    report.pass(1);
    Ok(())
}

fn replaced(text: &str, marker: &str, table: &str) -> Outcome<String> {
    let (open, close) = (format!("<!-- {marker} -->"), format!("<!-- /{marker} -->"));
    let (before, rest) = text.split_once(&open).ok_or_else(|| format!("no marker {open}"))?;
    let (_, after) = rest.split_once(&close).ok_or_else(|| format!("no marker {close}"))?;
    Ok(format!("{before}{open}\n{table}{close}{after}"))
}

fn parity(inventory: &Inventory) -> String {
    let mut table =
        "| operation | arguments | gives | kind | exceptions of spelling |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for operation in &inventory.operation {
        let exceptions: Vec<String> =
            operation.spelling.iter().map(|(language, spelling)| format!("{language}: {spelling}")).collect();
        let notes = [operation.why.as_deref(), operation.note.as_deref()];
        let why: String = notes.into_iter().flatten().map(|note| format!(" {note}")).collect();
        table.push_str(&format!(
            "| `{}` {} | {} | {} | {} | {}{why} |\n",
            operation.name,
            operation.about,
            operation.args.iter().map(|arg| format!("`{arg}`")).collect::<Vec<_>>().join(" "),
            operation.gives,
            operation.kind,
            exceptions.join("; "),
        ));
    }
    table
}

fn errors(inventory: &Inventory) -> String {
    let mut table = "| code | when |\n| --- | --- |\n".to_owned();
    for (code, when) in &inventory.errors {
        table.push_str(&format!("| `{code}` | {when} |\n"));
    }
    table
}
