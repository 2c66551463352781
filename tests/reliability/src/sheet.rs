//! What a scenario measured, and the bound that each figure has to keep.

use std::fmt::Display;

/// One scenario's rows.
#[derive(Debug)]
pub(crate) struct Sheet {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    measured: String,
    bound: String,
    holds: bool,
}

impl Sheet {
    pub(crate) const fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// A figure without a bound.
    pub(crate) fn note(&mut self, what: impl Into<String>, measured: impl Display) {
        self.rows.push(Row { what: what.into(), measured: measured.to_string(), bound: String::new(), holds: true });
    }

    /// A figure that has to hold.
    pub(crate) fn check(&mut self, what: impl Into<String>, measured: impl Display, bound: impl Display, holds: bool) {
        self.rows.push(Row { what: what.into(), measured: measured.to_string(), bound: bound.to_string(), holds });
    }

    /// A figure that may not be higher.
    pub(crate) fn most<T: Display + PartialOrd>(&mut self, what: impl Into<String>, measured: T, most: T) {
        let holds = measured <= most;
        self.check(what, measured, format_args!("≤ {most}"), holds);
    }

    /// A figure that may not be lower.
    pub(crate) fn least<T: Display + PartialOrd>(&mut self, what: impl Into<String>, measured: T, least: T) {
        let holds = measured >= least;
        self.check(what, measured, format_args!("≥ {least}"), holds);
    }

    /// A figure that is known before.
    pub(crate) fn exactly<T: Display + PartialEq>(&mut self, what: impl Into<String>, measured: T, expected: T) {
        let holds = measured == expected;
        self.check(what, measured, format_args!("= {expected}"), holds);
    }

    /// How many rows do not hold.
    pub(crate) fn broken(&self) -> usize {
        self.rows.iter().filter(|row| !row.holds).count()
    }

    /// The table, in Markdown.
    pub(crate) fn print(&self) {
        println!("| what | measured | bound |\n| --- | --- | --- |");
        for Row { what, measured, bound, holds } in &self.rows {
            println!("| {what} | {measured} | {bound}{} |", if *holds { "" } else { " **BROKEN**" });
        }
    }
}

/// A number with one digit behind the point, and its unit: it compares by value and prints for people.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Of(pub(crate) f64, pub(crate) &'static str);

impl Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} {}", self.0, self.1)
    }
}
