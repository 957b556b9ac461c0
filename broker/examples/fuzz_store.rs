//! Damages small stores in every way there is and opens them again: no panic, no hang, nothing wrong served.
//!
//! `cargo run --release -p natsune-broker --example fuzz_store -- --seed 1 --count 1000000`
//! `--exhaustive` flips every single bit of a 64 KiB store instead; `--crashes` runs power-loss campaigns.
use natsune_broker::store::sim::{Crashes, End, Rng, Sample, crashes, flip, mutate};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No damage may make a store of this size take longer to open.
const LIMIT: Duration = Duration::from_secs(10);
const ENDS: [End; 3] = [End::Closed, End::Killed, End::PowerLoss];

#[derive(Default)]
struct Totals {
    inputs: u64,
    intact: u64,
    refused: u64,
    lost: u64,
    returned: u64,
    carried_on: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let (seed, count) = (value("--seed").unwrap_or(1), value("--count").unwrap_or(100_000));
    let (start, now) = (Instant::now(), watch());
    let result = match () {
        () if has("--exhaustive") => exhaustive(seed, &now),
        () if has("--crashes") => campaigns(seed, count, &now),
        () => mutations(seed, count, &now),
    };
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(text) => {
            println!("seed {seed}: {text}, {seconds:.1} s");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED after {seconds:.1} s: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process when one input takes too long.
fn watch() -> Arc<AtomicU64> {
    let now = Arc::new(AtomicU64::new(0));
    let seen = now.clone();
    std::thread::spawn(move || {
        let (mut before, mut stuck) = (0, 0);
        loop {
            std::thread::sleep(LIMIT);
            let input = seen.load(Ordering::Relaxed);
            // More than one look, because a process that was suspended wakes up late.
            stuck = if input == before && input != 0 { stuck + 1 } else { 0 };
            if stuck >= 3 {
                println!("FAILED: input {input} hangs");
                std::process::exit(2);
            }
            before = input;
        }
    });
    now
}

fn mutations(seed: u64, count: u64, now: &AtomicU64) -> Result<String, String> {
    let mut totals = Totals::default();
    let mut group = 0;
    while totals.inputs < count {
        let mut rng = Rng::new(seed.wrapping_mul(1_000_003).wrapping_add(group));
        let end = rng.pick(&ENDS).copied().unwrap_or(End::Closed);
        let size = rng.pick(&[1500, 3000, 6000]).copied().unwrap_or(3000);
        let sample = Sample::new(rng.number(), 4096, size, end)?;
        let files = sample.files();
        for step in 0..1000u64 {
            now.fetch_add(1, Ordering::Relaxed);
            let disk = sample.disk.fork();
            let told = mutate(&disk, &files, &mut rng);
            let name = |error: String| format!("seed {seed}, group {group}, step {step} ({told}): {error}");
            let verdict = sample.examine(&disk).map_err(name)?;
            totals.inputs += 1;
            totals.intact += u64::from(verdict.is_intact());
            totals.refused += u64::from(verdict.refused);
            totals.lost += verdict.missing.len() as u64;
            totals.returned += verdict.returned.len() as u64;
            if !verdict.refused && rng.chance(5) {
                sample.carry_on(&disk).map_err(name)?;
                totals.carried_on += 1;
            }
            if totals.inputs.is_multiple_of(1_000_000) {
                println!("{} inputs", totals.inputs);
            }
        }
        group += 1;
    }
    Ok(format!(
        "{} mutated stores, {} intact, {} refused, {} messages lost, {} removed ones back, {} carried on",
        totals.inputs, totals.intact, totals.refused, totals.lost, totals.returned, totals.carried_on
    ))
}

fn exhaustive(seed: u64, now: &AtomicU64) -> Result<String, String> {
    let (mut flips, mut intact) = (0u64, 0u64);
    for end in ENDS {
        let sample = Sample::new(seed, 16384, 50_000, end)?;
        for (path, bytes) in sample.files() {
            for bit in 0..bytes.len() * 8 {
                now.fetch_add(1, Ordering::Relaxed);
                let disk = sample.disk.fork();
                flip(&disk, &path, bit);
                let name = |error: String| format!("{end:?}, bit {bit} of {}: {error}", path.display());
                let verdict = sample.examine(&disk).map_err(name)?;
                let told = verdict.reported || verdict.is_intact();
                if !verdict.is_at_most_one_record(&sample) || !told || verdict.untold + verdict.reused > 0 {
                    return Err(name(format!("{verdict:?}")));
                }
                flips += 1;
                intact += u64::from(verdict.is_intact());
                if flips.is_multiple_of(100_000) {
                    println!("{flips} flips");
                }
            }
        }
    }
    Ok(format!("{flips} single bits flipped, {intact} cost nothing, none more than one record"))
}

fn campaigns(seed: u64, count: u64, now: &AtomicU64) -> Result<String, String> {
    let (mut lost_power, mut acknowledged, mut compared, mut cleaned) = (0, 0, 0, 0);
    for seed in seed..seed + count {
        now.fetch_add(1, Ordering::Relaxed);
        let how = Crashes { faults: seed.is_multiple_of(3), ..Crashes::default() };
        let outcome = crashes(seed, how).map_err(|error| format!("seed {seed}: {error}"))?;
        lost_power += outcome.crashes;
        acknowledged += outcome.acknowledged;
        compared += outcome.compared;
        cleaned += outcome.cleaned;
        if (seed + 1).is_multiple_of(10_000) {
            println!("seed {seed}: {lost_power} power losses");
        }
    }
    Ok(format!(
        "{count} campaigns, {lost_power} power losses, {acknowledged} commits acknowledged, {compared} messages \
         compared, {cleaned} segments cleaned"
    ))
}
