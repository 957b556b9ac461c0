//! A seeded mutator with a watchdog: the same seed gives the same inputs on every machine.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An input that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(5);
/// Inputs are kept small: small ones find the same mistakes, only sooner.
const LONGEST: usize = 4096;

/// SplitMix64: enough for choosing bytes.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// One seed, changed in up to eight places.
    pub fn mutate(&mut self, seeds: &[Vec<u8>], words: &[&[u8]], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.pick::<Vec<u8>>(seeds));
        for _ in 0..self.below(9) {
            let at = self.below(out.len() + 1);
            let run = (1 + self.below(8)).min(out.len() - at);
            match self.below(9) {
                0 if at < out.len() => out[at] ^= 1 << self.below(8),
                1 if at < out.len() => out[at] = self.next() as u8,
                2 => out.insert(at, self.next() as u8),
                3 => drop(out.drain(at..at + run)),
                4 => {
                    let copy = out[at..at + run].to_vec();
                    let to = self.below(out.len() + 1);
                    out.splice(to..to, copy);
                }
                5 | 6 => {
                    let word = *self.pick(words);
                    out.splice(at..at, word.iter().copied());
                }
                7 => {
                    let other = self.pick(seeds);
                    let from = self.below(other.len() + 1);
                    out.truncate(at);
                    out.extend_from_slice(&other[from..]);
                }
                _ => out.truncate(at),
            }
        }
        out.truncate(LONGEST);
    }
}

pub struct Options {
    pub seed: u64,
    pub count: u64,
    pub target: String,
}

impl Options {
    /// `--seed N --count N --target NAME`.
    pub fn from_args(targets: &[&str]) -> Options {
        let usage = || -> ! {
            eprintln!("usage: fuzz --target {} [--seed N] [--count N]", targets.join("|"));
            std::process::exit(2)
        };
        let mut options = Options { seed: 1, count: 1_000_000, target: String::new() };
        let mut args = std::env::args().skip(1);
        while let Some(flag) = args.next() {
            let Some(value) = args.next() else { usage() };
            match (flag.as_str(), value.parse()) {
                ("--seed", Ok(number)) => options.seed = number,
                ("--count", Ok(number)) => options.count = number,
                ("--target", _) => options.target = value,
                _ => usage(),
            }
        }
        if !targets.contains(&options.target.as_str()) {
            usage();
        }
        options
    }
}

/// Runs `one` on `count` inputs. A panic or a hang is told with the input's number and ends the program with 1.
pub fn run(options: &Options, mut one: impl FnMut(&mut Random)) {
    let (seed, count) = (options.seed, options.count);
    let done = Arc::new(AtomicU64::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let watchdog = std::thread::spawn({
        let (done, ended) = (done.clone(), ended.clone());
        move || {
            let (mut last, mut since) = (0, Instant::now());
            while !ended.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(200));
                let now = done.load(Ordering::Relaxed);
                if now != last {
                    (last, since) = (now, Instant::now());
                } else if since.elapsed() > PATIENCE && !ended.load(Ordering::Relaxed) {
                    eprintln!("input {now} of seed {seed} hangs");
                    std::process::exit(1);
                }
            }
        }
    });
    let start = Instant::now();
    for number in 0..count {
        // Each input has a state of its own, so that one can be run alone.
        let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number.wrapping_mul(0x9e37_79b9));
        if catch_unwind(AssertUnwindSafe(|| one(&mut random))).is_err() {
            eprintln!("input {number} of seed {seed} fails");
            std::process::exit(1);
        }
        done.store(number + 1, Ordering::Relaxed);
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    ended.store(true, Ordering::Relaxed);
    watchdog.thread().unpark();
    let _ = watchdog.join();
    println!("target {} seed {seed} inputs {count} inputs/s {rate:.0}", options.target);
}
