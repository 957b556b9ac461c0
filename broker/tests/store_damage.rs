//! Damaged stores: every flipped bit is noticed, costs one record at most, and no sequence is used twice.
use natsune_broker::store::sim::{End, Rng, Sample, Verdict, flip, mutate};
use std::path::Path;
use std::time::Instant;

const ENDS: [End; 3] = [End::Closed, End::Killed, End::PowerLoss];

fn sample(seed: u64, end: End) -> Sample {
    Sample::new(seed, 16384, 50_000, end).unwrap()
}

fn check_one(sample: &Sample, verdict: &Verdict, what: &str) {
    assert!(verdict.is_at_most_one_record(sample), "{what}: {verdict:?}");
    assert!(verdict.reported || verdict.is_intact(), "{what} is not reported: {verdict:?}");
    assert_eq!((verdict.untold, verdict.reused), (0, 0), "{what}: {verdict:?}");
}

/// A tenth of a percent of all bits by default; `examples/fuzz_store.rs --exhaustive` flips every single one.
#[test]
fn flipped_bits_cost_one_record_at_most() {
    let start = Instant::now();
    let (mut flips, mut harmless) = (0, 0);
    for (seed, end) in ENDS.into_iter().enumerate() {
        let sample = sample(seed as u64, end);
        for (path, bytes) in sample.files() {
            for bit in (seed * 7..bytes.len() * 8).step_by(1009) {
                let disk = sample.disk.fork();
                flip(&disk, &path, bit);
                let what = format!("seed {seed}, {end:?}, bit {bit} of {}", path.display());
                let verdict = sample.examine(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                check_one(&sample, &verdict, &what);
                flips += 1;
                harmless += usize::from(verdict.is_intact());
                if flips % 50 == 0 {
                    sample.carry_on(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
            }
        }
    }
    println!("{flips} flips, {harmless} cost nothing, {:.1} s", start.elapsed().as_secs_f64());
    assert!(flips > 2000);
}

#[test]
fn a_lost_page_costs_its_records_and_is_told() {
    let mut lost = 0;
    for (seed, end) in ENDS.into_iter().enumerate() {
        let sample = sample(10 + seed as u64, end);
        for (path, bytes) in sample.files() {
            for page in 0..bytes.len() / 4096 {
                let disk = sample.disk.fork();
                disk.damage(&path, |bytes| bytes[page * 4096..(page + 1) * 4096].fill(0));
                let what = format!("{end:?}, page {page} of {}", path.display());
                let verdict = sample.examine(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(verdict.reported || verdict.is_intact() || end == End::PowerLoss, "{what}: {verdict:?}");
                assert!(verdict.reused == 0 || end == End::PowerLoss, "{what}: {verdict:?}");
                // 4 KiB hold no more than 64 of the smallest records.
                assert!(verdict.missing.len() + verdict.returned.len() + verdict.keys <= 64, "{what}: {verdict:?}");
                lost += verdict.missing.len();
                sample.carry_on(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
    }
    println!("{lost} messages lost with all pages, one at a time");
}

/// What was acknowledged and then cut off is missed, and its sequences are not used again.
#[test]
fn a_log_that_was_cut_short_reuses_no_sequence() {
    let mut cuts = 0;
    for (seed, end) in [End::Closed, End::Killed].into_iter().enumerate() {
        let sample = sample(20 + seed as u64, end);
        let logs: Vec<_> = sample.files().into_iter().filter(|(path, _)| path.extension().is_some()).collect();
        let logs: Vec<_> = logs.into_iter().filter(|(path, _)| path.to_string_lossy().ends_with(".log")).collect();
        for (place, (path, bytes)) in logs.iter().enumerate() {
            for len in (0..bytes.len()).step_by(if place + 1 == logs.len() { 131 } else { 1031 }) {
                let disk = sample.disk.fork();
                disk.damage(path, |bytes| bytes.truncate(len));
                let what = format!("{end:?}, {} cut to {len}", path.display());
                let verdict = sample.examine(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(verdict.reused, 0, "{what}: {verdict:?}");
                assert!(verdict.reported || verdict.is_intact(), "{what}: {verdict:?}");
                if place + 1 == logs.len() || cuts % 8 == 0 {
                    sample.carry_on(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                cuts += 1;
            }
        }
    }
    println!("{cuts} cuts");
}

#[test]
fn a_missing_segment_is_missed() {
    for (seed, end) in [End::Closed, End::Killed].into_iter().enumerate() {
        let sample = sample(30 + seed as u64, end);
        for (path, _) in sample.files().iter().filter(|(path, _)| path.to_string_lossy().ends_with(".log")) {
            let disk = sample.disk.fork();
            disk.lose(path);
            let verdict = sample.examine(&disk).unwrap();
            assert!(verdict.reported, "{}: {verdict:?}", path.display());
            assert_eq!(verdict.reused, 0, "{}: {verdict:?}", path.display());
            sample.carry_on(&disk).unwrap();
        }
    }
}

#[test]
fn the_superblock_can_be_lost() {
    for (seed, end) in ENDS.into_iter().enumerate() {
        let sample = sample(40 + seed as u64, end);
        let disk = sample.disk.fork();
        disk.lose(Path::new("/store/super"));
        let verdict = sample.examine(&disk).unwrap();
        assert!(verdict.is_intact() && verdict.reported && verdict.reused == 0, "{end:?}: {verdict:?}");
        sample.carry_on(&disk).unwrap();
    }
}

#[test]
fn evidence_is_kept() {
    let sample = sample(50, End::Closed);
    let log = &sample.files().into_iter().find(|(path, _)| path.to_string_lossy().ends_with(".log")).unwrap().0;
    let disk = sample.disk.fork();
    flip(&disk, log, 700 * 8);
    let damaged = disk.files().into_iter().find(|(path, _)| path == log).unwrap().1;
    for _ in 0..2 {
        sample.examine(&disk).unwrap();
        let kept =
            disk.files().into_iter().filter(|(path, _)| path.starts_with("/store/quarantine")).collect::<Vec<_>>();
        assert_eq!(kept.len(), 1, "one copy, also after a second start");
        assert_eq!(kept[0].1, damaged);
        assert_eq!(disk.files().into_iter().find(|(path, _)| path == log).unwrap().1, damaged);
        disk.kill();
    }
}

#[test]
fn no_mutation_serves_wrong_data() {
    let start = Instant::now();
    let count = 4000;
    for seed in 0..count / 16 {
        let mut rng = Rng::new(seed);
        let end = *rng.pick(&ENDS).unwrap();
        let sample = Sample::new(rng.number(), 4096, 6000, end).unwrap();
        let files = sample.files();
        for step in 0..16 {
            let disk = sample.disk.fork();
            let told = mutate(&disk, &files, &mut rng);
            let verdict = sample.examine(&disk).unwrap_or_else(|error| panic!("seed {seed}, {step} ({told}): {error}"));
            if !verdict.refused && rng.chance(20) {
                sample.carry_on(&disk).unwrap_or_else(|error| panic!("seed {seed}, {step} ({told}): {error}"));
            }
        }
    }
    println!("{count} mutated stores, {:.1} s", start.elapsed().as_secs_f64());
}
