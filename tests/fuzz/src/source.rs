//! Bytes as a supply of decisions: whatever they are, they mean something.

use std::time::Duration;

use wse_client_core::time::WallTime;

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

    /// What a civil clock may show: near the time at which scripts begin, or anything.
    pub(crate) fn wall(&mut self) -> WallTime {
        let (near, far) = (self.pause(), self.byte());
        let began = if far < 0xC0 { 1_700_000_000_000 } else { u64::from(far - 0xC0) << 58 };
        WallTime::from_unix_ms(began.saturating_add(near.as_millis() as u64).wrapping_sub(u64::from(far & 1) * 60_000))
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
