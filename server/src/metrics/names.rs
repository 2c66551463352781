//! Label values that clients choose, kept to a bounded number.

use std::{collections::HashMap, sync::RwLock};

use crate::sync::{read, write};

/// What everything is called that came after the table was full, or cannot be a label.
pub(crate) const OTHER: &str = "other";

/// Longest value in bytes.
const MAX_LEN: usize = 64;

/// The first `capacity` values that were seen, numbered from 1. Number 0 is [`OTHER`].
///
/// Prometheus keeps one series for each value for as long as it keeps data, so a value is never given up for another.
#[derive(Debug)]
pub(crate) struct Names {
    capacity: usize,
    known: RwLock<HashMap<Box<str>, u16>>,
}

impl Names {
    /// A table that knows some values from the start.
    pub(crate) fn new(capacity: usize, first: &[&str]) -> Self {
        let known = (1..).zip(first).map(|(number, name)| ((*name).into(), number)).collect();
        Self { capacity, known: RwLock::new(known) }
    }

    /// The number of a value, below `capacity` + 1.
    pub(crate) fn number(&self, name: &str) -> u16 {
        let known = read(&self.known);
        if let Some(number) = known.get(name) {
            return *number;
        }
        // Once the table is full nothing is written any more, whatever clients send.
        let full = known.len() >= self.capacity;
        drop(known);
        if full || !is_usable(name) {
            return 0;
        }
        let mut known = write(&self.known);
        let next = known.len() + 1;
        match known.get(name) {
            Some(number) => *number,
            None if next > self.capacity => 0,
            None => {
                known.insert(name.into(), next as u16);
                next as u16
            }
        }
    }

    /// Every value with its number, in the order of the numbers.
    pub(crate) fn list(&self) -> Vec<(u16, String)> {
        let mut list = vec![(0, OTHER.to_owned())];
        list.extend(read(&self.known).iter().map(|(name, number)| (*number, name.to_string())));
        list.sort_unstable();
        list
    }
}

fn is_usable(name: &str) -> bool {
    if name == OTHER {
        return false;
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-*/".contains(&byte);
    !name.is_empty() && name.len() <= MAX_LEN && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_other() {
        let names = Names::new(2, &["known"]);
        assert_eq!((names.number("known"), names.number("a"), names.number("b")), (1, 2, 0));
        assert_eq!((names.number("a"), names.number(OTHER)), (2, 0));
        assert_eq!(names.list(), [(0, "other".into()), (1, "known".into()), (2, "a".into())]);
    }

    #[test]
    fn a_value_that_is_called_like_the_rest_is_counted_with_it() {
        let names = Names::new(10, &[]);
        assert_eq!(names.number(OTHER), 0);
        assert_eq!(names.list(), [(0, OTHER.to_owned())]);
    }

    #[test]
    fn what_would_break_a_label_is_other() {
        let names = Names::new(10, &[]);
        for name in ["", "a\"b", "a\nb", "ü", &"x".repeat(65)] {
            assert_eq!(names.number(name), 0, "{name:?}");
        }
        assert_eq!(names.list().len(), 1);
    }
}
