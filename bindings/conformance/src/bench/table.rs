//! Samples, medians, and how they are shown: a table for people, one JSON document for programs.
use serde_json::{Value, json};

/// One run of one case.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Operations per second.
    pub rate: f64,
    /// CPU seconds for a million operations.
    pub cpu: f64,
}

impl Sample {
    /// From what was measured.
    pub fn new(operations: u64, seconds: f64, cpu_seconds: f64) -> Sample {
        let operations = operations as f64;
        Sample { rate: operations / seconds.max(1e-9), cpu: cpu_seconds * 1e6 / operations.max(1.0) }
    }
}

/// A case of a program, with one place for each round; a round that failed is empty.
pub struct Row {
    pub case: String,
    pub language: String,
    pub program: String,
    pub ours: bool,
    /// The program that this one is compared with.
    pub peer: Option<&'static str>,
    pub samples: Vec<Option<Sample>>,
}

impl Row {
    /// A row without samples.
    pub fn new(case: &str, language: &str, program: &str, ours: bool, peer: Option<&'static str>) -> Row {
        let (case, language, program) = (case.to_owned(), language.to_owned(), program.to_owned());
        Row { case, language, program, ours, peer, samples: Vec::new() }
    }

    fn all(&self, of: fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().flatten().map(of).collect()
    }

    /// The median of what this row is to `peer` in each round: neighbours in time, so noise that lasts does not count.
    fn ratio(&self, peer: &Row, of: fn(&Sample) -> f64) -> Option<f64> {
        let pairs = self.samples.iter().zip(&peer.samples);
        let ratios = pairs.filter_map(|(ours, theirs)| {
            let theirs = of(&(*theirs)?);
            (theirs > 0.0).then_some(of(&(*ours)?) / theirs)
        });
        median(ratios.collect())
    }
}

fn rate(sample: &Sample) -> f64 {
    sample.rate
}

fn cpu(sample: &Sample) -> f64 {
    sample.cpu
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// The ratios of our rows: rate and CPU time.
fn ratios(row: &Row, rows: &[Row]) -> Option<(f64, Option<f64>)> {
    let peer = row.peer.filter(|_| row.ours)?;
    let peer = rows.iter().find(|other| {
        other.case == row.case && other.language == row.language && other.program == peer && !other.ours
    })?;
    Some((row.ratio(peer, rate)?, row.ratio(peer, cpu)))
}

fn short(number: f64) -> String {
    match number {
        number if number >= 1e6 => format!("{:.2}M", number / 1e6),
        number if number >= 1e3 => format!("{:.1}k", number / 1e3),
        number => format!("{number:.0}"),
    }
}

/// Prints the rows, case by case.
pub fn show(rows: &[Row]) {
    println!(
        "\n{:<16} {:<7} {:<25} {:>9} {:>19} {:>9} {:>8} {:>8}",
        "case", "in", "program", "ops/s", "[least - most]", "CPU s/M", "x rate", "x CPU"
    );
    let mut last = "";
    for row in rows {
        let case = if row.case == last { "" } else { row.case.as_str() };
        last = &row.case;
        let rates = row.all(rate);
        let Some(middle) = median(rates.clone()) else {
            println!("{case:<16} {:<7} {:<25} {:>9}", row.language, row.program, "failed");
            continue;
        };
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        let (faster, dearer) = match ratios(row, rows) {
            // Too short for the clock of CPU time: no ratio.
            Some((rate, cpu)) => (format!("{rate:.2}"), cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.2}"))),
            None => (String::new(), String::new()),
        };
        println!(
            "{case:<16} {:<7} {:<25} {:>9} {:>19} {:>9.3} {faster:>8} {dearer:>8}",
            row.language,
            row.program,
            short(middle),
            format!("[{} - {}]", short(least), short(most)),
            median(row.all(cpu)).unwrap_or_default(),
        );
    }
}

/// The rows as JSON.
pub fn document(rows: &[Row]) -> Value {
    let rows = rows.iter().map(|row| {
        let ratios = ratios(row, rows);
        json!({
            "case": row.case,
            "language": row.language,
            "program": row.program,
            "ours": row.ours,
            "ops_per_second": median(row.all(rate)),
            "cpu_seconds_per_million": median(row.all(cpu)),
            "peer": row.peer.filter(|_| row.ours),
            "rate_ratio": ratios.map(|(rate, _)| rate),
            "cpu_ratio": ratios.and_then(|(_, cpu)| cpu),
            "rounds": row.samples.iter().map(|sample| sample.map(|sample| json!({
                "ops_per_second": sample.rate, "cpu_seconds_per_million": sample.cpu,
            }))).collect::<Vec<_>>(),
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::{Row, Sample, median, ratios};

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_compare_rounds() {
        let samples = |rates: &[f64]| {
            let sample = |rate: &f64| (*rate > 0.0).then_some(Sample { rate: *rate, cpu: 1.0 });
            rates.iter().map(sample).collect()
        };
        let mut ours = Row::new("pub", "rust", "natsune", true, Some("async-nats"));
        let mut peer = Row::new("pub", "rust", "async-nats", false, Some("async-nats"));
        // The second round failed in one of them; the third was slow for both.
        ours.samples = samples(&[20.0, 20.0, 2.0]);
        peer.samples = samples(&[10.0, 0.0, 1.0]);
        let rows = [ours, peer];
        assert_eq!(ratios(&rows[0], &rows), Some((2.0, Some(1.0))));
        assert_eq!(ratios(&rows[1], &rows), None);
    }
}
