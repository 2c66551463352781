//! Bytes as a supply of decisions: whatever they are, they mean something.

use std::time::Duration;

/// A supply of decisions. Once it is used up it gives zeros.
pub(crate) struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// One of `items`.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::from(self.byte()) % items.len()]
    }

    /// A length of time: mostly milliseconds, now and then minutes.
    pub(crate) fn pause(&mut self) -> Duration {
        let byte = u64::from(self.byte());
        Duration::from_millis(if byte < 128 { byte } else { (byte - 128) * (byte - 128) * 20 })
    }

    /// Up to 255 bytes: a length, then as many as there are.
    pub(crate) fn chunk(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.rest.len());
        let (chunk, rest) = self.rest.split_at(length);
        self.rest = rest;
        chunk
    }

    /// The same as text.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.chunk()).into_owned()
    }
}
