//! The last lines of what happened, kept only when someone will read them.

use std::{collections::VecDeque, fmt};

use wse_client_core::time::Moment;

/// What becomes of the lines.
#[derive(Debug)]
pub enum Trace {
    /// Nothing is noted.
    Off,
    /// The last so many lines are kept.
    Last(usize, VecDeque<String>),
    /// Every line is kept.
    All(Vec<String>),
}

impl Trace {
    /// Keeps the last `count` lines.
    pub const fn last(count: usize) -> Self {
        Self::Last(count, VecDeque::new())
    }

    /// Keeps every line.
    pub const fn all() -> Self {
        Self::All(Vec::new())
    }

    /// Whether lines are kept at all.
    pub const fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    pub(crate) fn note(&mut self, now: Moment, line: fmt::Arguments<'_>) {
        let text = || format!("{:>8} {line}", now.as_millis());
        match self {
            Self::Off => {}
            Self::Last(count, lines) => {
                if lines.len() == *count {
                    lines.pop_front();
                }
                lines.push_back(text());
            }
            Self::All(lines) => lines.push(text()),
        }
    }

    /// What was kept.
    pub fn into_lines(self) -> Vec<String> {
        match self {
            Self::Off => Vec::new(),
            Self::Last(_, lines) => lines.into(),
            Self::All(lines) => lines,
        }
    }
}
