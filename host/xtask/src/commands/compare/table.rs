//! The tables of a comparison, with medians over rounds.

use super::Case;
use super::load::{Contender, Latency, Throughput};

/// A contender in one case, with the measurements of each round.
pub(super) struct Row<'a> {
    pub(super) case: &'static Case,
    pub(super) contender: &'a Contender,
    pub(super) rounds: Vec<(Throughput, Latency)>,
}

impl<'a> Row<'a> {
    pub(super) fn new(case: &'static Case, contender: &'a Contender) -> Self {
        Self { case, contender, rounds: Vec::new() }
    }

    fn median(&self, figure: impl Fn(&Throughput, &Latency) -> f64) -> f64 {
        median(self.rounds.iter().map(|(throughput, latency)| figure(throughput, latency)))
    }
}

/// Prints a full table and a short one, ready to paste into documents.
pub(super) fn print(rows: &[Row<'_>]) {
    print_all(rows);
    print_short(rows);
}

fn print_all(rows: &[Row<'_>]) {
    println!(
        "\n| answer | by | requests/s | CPU µs per answer | its own processes | p50 ms | p99 ms |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {} | {:.2} | {:.2} |",
            row.case.name,
            row.contender.name,
            grouped(row.median(|throughput, _| throughput.answers_per_second)),
            three_digits(row.median(|throughput, _| throughput.machine_us)),
            three_digits(row.median(|throughput, _| throughput.processes_us)),
            row.median(|_, latency| latency.p50_ms),
            row.median(|_, latency| latency.p99_ms),
        );
    }
    let rates: Vec<_> = by_case(rows)
        .map(|rows| format!("{:.0}/s ({})", rows[0].case.rate, rows[0].case.name))
        .collect();
    println!("\nLatency at {}.", rates.join(", "));
}

/// Prints a line for each case and a column for each contender.
fn print_short(rows: &[Row<'_>]) {
    let mut contenders: Vec<&str> = Vec::new();
    for row in rows {
        if !contenders.contains(&row.contender.name) {
            contenders.push(row.contender.name);
        }
    }
    println!("\n| answers per second · CPU per answer | {} |", contenders.join(" | "));
    println!("|---|{}", "---:|".repeat(contenders.len()));
    for rows in by_case(rows) {
        let cells = contenders.iter().map(|contender| {
            let row = rows.iter().find(|row| row.contender.name == *contender);
            row.map_or("–".into(), |row| {
                let per_second = row.median(|throughput, _| throughput.answers_per_second);
                let machine_us = row.median(|throughput, _| throughput.machine_us);
                format!("{} · {} µs", grouped(per_second), three_digits(machine_us))
            })
        });
        println!("| {} | {} |", rows[0].case.name, cells.collect::<Vec<_>>().join(" | "));
    }
}

/// Groups rows by case. The rows of a case must be adjacent.
fn by_case<'a, 'b>(rows: &'a [Row<'b>]) -> impl Iterator<Item = &'a [Row<'b>]> {
    rows.chunk_by(|a, b| a.case.name == b.case.name)
}

/// A whole number with commas between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One decimal below 100, otherwise none.
fn three_digits(number: f64) -> String {
    if number < 100.0 { format!("{number:.1}") } else { grouped(number) }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (number, expected) in
            [(0.0, "0"), (999.4, "999"), (1000.0, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(three_digits(12.34), "12.3");
        assert_eq!(three_digits(1234.5), "1,234");
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        for (values, expected) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)]
        {
            assert_eq!(median(values.into_iter()).to_bits(), f64::to_bits(expected));
        }
        assert!(median(std::iter::empty()).is_nan());
    }
}
