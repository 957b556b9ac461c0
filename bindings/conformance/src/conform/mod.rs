//! Conformance: every scenario in every language against both servers, and a liar that must fail them all.
mod fixtures;
mod languages;
mod proxy;
mod run;
mod scenario;
mod server;
mod steps;
pub mod testee;
mod values;
mod wire;

pub use scenario::{Scenario, load};
pub use server::{Kind, Server};
pub use wire::{Wire, json_of};

use crate::report::Report;
use crate::sh::Outcome;
use crate::workspace::root;
use fixtures::Fixtures;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// Where the scenarios are.
pub fn folder() -> std::path::PathBuf {
    root().join("bindings/conformance/scenarios")
}

/// Runs the scenarios whose name holds `pattern`, in the languages that are there.
pub fn run(report: &mut Report, lang: Option<&str>, pattern: Option<&str>, servers: &[Kind]) -> Outcome {
    let scenarios = load(&folder())?;
    let chosen: Vec<&Scenario> =
        scenarios.iter().filter(|scenario| pattern.is_none_or(|pattern| scenario.name.contains(pattern))).collect();
    if chosen.is_empty() {
        return Err(format!("no scenario matches {:?}", pattern.unwrap_or_default()));
    }
    let waivers = waivers()?;
    let fixtures = Fixtures::make()?;
    for (language, state) in crate::doctor::languages() {
        if lang.is_some_and(|lang| lang != language) {
            continue;
        }
        if let Err(missing) = state.and_then(|()| languages::built(language)) {
            report.skip(format!("{language}: {missing}"));
            continue;
        }
        for &kind in servers {
            batch(report, &chosen, language, kind, &fixtures, &waivers);
        }
    }
    Ok(())
}

/// The proof that the scenarios can fail: a testee that answers what is expected and does nothing passes none.
pub fn liar(report: &mut Report) -> Outcome {
    let scenarios = load(&folder())?;
    let fixtures = Fixtures::make()?;
    let fooled = Mutex::new(Vec::new());
    let ran = each(&scenarios.iter().collect::<Vec<_>>(), |scenario| {
        let command = languages::command("liar")?;
        // It must be a fact of the runner's own that finds it out, not a server that did not start.
        let caught = match run::run(scenario, Kind::Real, command, &fixtures, true) {
            Ok(()) => false,
            Err(problem) if !problem.starts_with("step") => return Err(problem),
            Err(problem) => scenario::FACTS
                .iter()
                .any(|fact| problem.split(": ").next().is_some_and(|at| at.contains(&format!("({fact}")))),
        };
        if !caught && let Ok(mut fooled) = fooled.lock() {
            fooled.push(scenario.name.clone());
        }
        Ok::<(), String>(())
    });
    for (scenario, result) in scenarios.iter().zip(ran) {
        if let Err(problem) = result {
            report.fail(format!("{} did not run: {problem}", scenario.name));
        }
    }
    let fooled = fooled.into_inner().map_err(|error| error.to_string())?;
    report.pass((scenarios.len() - fooled.len()) as u64);
    for name in &fooled {
        report.fail(format!("a testee that lies passes {name}"));
    }
    println!("liar: caught in {} of {} scenarios", scenarios.len() - fooled.len(), scenarios.len());
    Ok(())
}

fn batch(
    report: &mut Report,
    chosen: &[&Scenario],
    language: &str,
    kind: Kind,
    fixtures: &Fixtures,
    waivers: &BTreeMap<String, String>,
) {
    let begun = Instant::now();
    let results = each(chosen, |scenario| {
        if waivers.contains_key(&format!("{language} {}", scenario.name)) {
            return Ok(());
        }
        run::run(scenario, kind, languages::command(language)?, fixtures, false)
    });
    let (mut passed, mut failed, mut waived) = (0, 0, 0);
    for (scenario, result) in chosen.iter().zip(results) {
        match (waivers.get(&format!("{language} {}", scenario.name)), result) {
            (Some(reason), _) => {
                println!("waived: {language} {}: {reason}", scenario.name);
                waived += 1;
            }
            (None, Ok(())) => passed += 1,
            (None, Err(problem)) => {
                let (name, about) = (&scenario.name, &scenario.about);
                report.fail(format!("{language} against {}: {name} ({about}): {problem}", kind.name()));
                failed += 1;
            }
        }
    }
    report.pass(passed);
    println!(
        "{language} against {}: {passed} passed, {failed} failed, {waived} waived ({:.1} s)",
        kind.name(),
        begun.elapsed().as_secs_f64()
    );
}

/// Two at a time: a scenario mostly waits.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R, String> + Sync) -> Vec<Result<R, String>> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = Mutex::new(items.iter().map(|_| None).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    if let Ok(mut results) = results.lock()
                        && let Some(slot) = results.get_mut(at)
                    {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_default();
    results.into_iter().map(|result| result.unwrap_or_else(|| Err("the runner itself failed".to_owned()))).collect()
}

/// `"language scenario" = "reason"`; a waiver without a reason is refused.
fn waivers() -> Outcome<BTreeMap<String, String>> {
    let file = root().join("bindings/conformance/waivers.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let waivers: BTreeMap<String, String> = toml::from_str(&text).map_err(|error| error.to_string())?;
    match waivers.iter().find(|(_, reason)| reason.trim().len() < 20) {
        Some((name, _)) => Err(format!("the waiver of {name:?} wants a reason")),
        None => Ok(waivers),
    }
}
