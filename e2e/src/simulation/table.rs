//! Outcomes as a Markdown table that can be read unrendered.

use std::{fmt::Write, time::Duration};

use super::{Algorithm, Outcome, Pattern};

const COLUMNS: [&str; 9] = [
    "pattern",
    "algorithm",
    "arrivals",
    "boots",
    "instance-s",
    "x work",
    "p50 wait ms",
    "p99 wait ms",
    "shortfall",
];
/// Columns of text; the others are numbers, to the right.
const TEXTS: usize = 2;

/// The table: a row for each pattern and algorithm.
pub fn table(plays: &[(Pattern, Vec<(Algorithm, Outcome)>)]) -> String {
    let rows: Vec<_> = plays
        .iter()
        .flat_map(|(pattern, outcomes)| {
            let row = |(algorithm, outcome): &_| row(pattern, *algorithm, outcome);
            outcomes.iter().map(row)
        })
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([COLUMNS[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..COLUMNS.len()).map(width).collect();
    let rule = widths.iter().enumerate().map(|(column, width)| {
        let dashes = "-".repeat(*width - 1);
        if column < TEXTS {
            dashes + "-"
        } else {
            dashes + ":"
        }
    });
    let mut table = String::new();
    line(&mut table, COLUMNS.map(str::to_owned), &widths);
    line(&mut table, rule, &widths);
    for row in rows {
        line(&mut table, row, &widths);
    }
    table
}

fn row(pattern: &Pattern, algorithm: Algorithm, outcome: &Outcome) -> [String; COLUMNS.len()] {
    let milliseconds = |wait: Duration| format!("{:.0}", wait.as_secs_f64() * 1e3);
    let paid = outcome.paid.as_secs_f64();
    [
        pattern.name.clone(),
        algorithm.to_string(),
        outcome.served().to_string(),
        outcome.boots.to_string(),
        format!("{paid:.0}"),
        format!("{:.1}", paid / outcome.work.as_secs_f64()),
        milliseconds(outcome.wait(0.5)),
        milliseconds(outcome.wait(0.99)),
        outcome.shortfall.to_string(),
    ]
}

fn line(table: &mut String, cells: impl IntoIterator<Item = String>, widths: &[usize]) {
    for (column, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        let written = if column < TEXTS {
            write!(table, "| {cell:<width$} ")
        } else {
            write!(table, "| {cell:>width$} ")
        };
        written.expect("a string takes everything");
    }
    table.push_str("|\n");
}
