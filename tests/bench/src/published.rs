//! What the servers that are compared publish, and how the load generator finds its way in it.

use std::{
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

/// Digits of a message's number.
const NUMBER: usize = 10;

/// Digits of the time of sending, in microseconds since 1970.
const TIME: usize = 16;

/// `publish FIRST COUNT SIZE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Number of the first message.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Bytes of each message.
    pub size: usize,
}

impl Request {
    /// Reads the line; `None` when it says something else.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("publish ")?.split(' ');
        let (first, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { first, count, size: words.next()?.parse().ok()? })
    }

    /// The numbers of the messages.
    pub const fn numbers(&self) -> Range<u64> {
        self.first..self.first + self.count
    }
}

/// Microseconds since 1970: the one clock that processes share.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// A payload of `size` bytes, or of as many as number and time take. They are text: JSON numbers may not begin with
/// zeros, and readers want fixed widths.
pub fn payload(number: u64, size: usize) -> String {
    let stamped = format!(r#"{{"n":"{number:0NUMBER$}","at":"{:0TIME$}","note":""#, now_us());
    format!("{stamped}{}\"}}", "x".repeat(size.saturating_sub(stamped.len() + 2)))
}

/// A whole message of `size` bytes, for servers that publish a text as it is.
pub fn text(number: u64, size: usize) -> String {
    let head = r#"{"c":"U","t":"trade","p":"#;
    let tail = r#","tp":"bench","v":1}"#;
    format!("{head}{}{tail}", payload(number, size.saturating_sub(head.len() + tail.len())))
}

/// Number and time of sending of a message.
pub fn stamp_of(frame: &[u8]) -> Option<(u64, u64)> {
    const BEFORE: &[u8] = b"\"n\":\"";
    const BETWEEN: usize = "\",\"at\":\"".len();
    // The payload stands in the front.
    let near = &frame[..frame.len().min(256)];
    let at = near.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let number = digits(frame.get(at..at + NUMBER)?)?;
    let at = at + NUMBER + BETWEEN;
    Some((number, digits(frame.get(at..at + TIME)?)?))
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        let text = text(1234, 175);
        assert_eq!(text.len(), 175);
        let (number, sent) = stamp_of(text.as_bytes()).expect("stamped");
        assert_eq!(number, 1234);
        assert!(now_us() - sent < 60_000_000);
        assert_eq!(stamp_of(b"{\"t\":\"PONG\"}"), None);
    }

    #[test]
    fn requests_are_read() {
        let request = Request::parse("publish 5 3 175").expect("a request");
        assert_eq!((request.numbers(), request.size), (5..8, 175));
        assert_eq!(Request::parse("count"), None);
    }
}
