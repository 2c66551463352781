//! Frames on their way to one socket, many in one write.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::Bytes;
use wse_client_core::io::Frame;

use super::{Stream, engine::Outbox, frames::framed_message};
use crate::hub::Framed;

/// Most frames in one vectored write.
const MAX_SLICES: usize = 256;

/// Above this many bytes no more is fetched from the topics: what waits, waits in the shared rings.
const ROOM: usize = 64 * 1024;

#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    /// Meant for this connection alone, so that its memory is this connection's.
    direct: bool,
}

/// The outgoing queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    queue: VecDeque<Segment>,
    /// Go out before everything that has not begun.
    pongs: VecDeque<Bytes>,
    /// Bytes of the first segment that are written already.
    written: usize,
    bytes: usize,
    direct: usize,
}

impl Writer {
    /// Adds the close frame, behind everything else.
    pub(crate) fn push_close(&mut self, frame: Bytes) {
        self.push(frame, true);
    }

    /// Adds the answer to a WebSocket ping, ahead of the queue.
    pub(crate) fn push_pong(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.direct += frame.len();
        self.pongs.push_back(frame);
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn push(&mut self, bytes: Bytes, direct: bool) {
        self.bytes += bytes.len();
        if direct {
            self.direct += bytes.len();
        }
        self.queue.push_back(Segment { bytes, direct });
    }

    /// Writes as much as one call takes.
    ///
    /// # Errors
    /// As the socket answers, `WouldBlock` included.
    pub(crate) fn write_to(&mut self, stream: &mut Stream) -> io::Result<usize> {
        self.place_pongs();
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        let mut skip = self.written;
        for (slice, segment) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(&segment.bytes[skip..]);
            skip = 0;
            count += 1;
        }
        let written = stream.try_write(&slices[..count])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok(written)
    }

    fn place_pongs(&mut self) {
        let first = usize::from(self.written > 0);
        for (index, bytes) in self.pongs.drain(..).enumerate() {
            self.queue.insert(first + index, Segment { bytes, direct: true });
        }
    }

    fn advance(&mut self, count: usize) {
        self.bytes -= count;
        self.written += count;
        while let Some(first) = self.queue.front()
            && self.written >= first.bytes.len()
        {
            self.written -= first.bytes.len();
            if first.direct {
                self.direct -= first.bytes.len();
            }
            self.queue.pop_front();
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(16);
        }
    }
}

impl Outbox for Writer {
    fn push_direct(&mut self, frame: &Frame) {
        self.push(framed_message(frame).0, true);
    }

    fn push_sealed(&mut self, frame: &Frame) {
        self.push(framed_message(frame).0, false);
    }

    fn push_shared(&mut self, frame: &Framed) {
        self.push(frame.bytes().clone(), false);
    }

    fn has_room(&self) -> bool {
        self.bytes < ROOM && self.queue.len() < MAX_SLICES
    }

    fn direct_bytes(&self) -> usize {
        self.direct
    }

    /// A frame that has begun must be finished, or the stream makes no sense.
    fn abandon(&mut self) {
        self.pongs.clear();
        self.queue.truncate(usize::from(self.written > 0));
        self.bytes = self.queue.iter().map(|segment| segment.bytes.len()).sum::<usize>() - self.written;
        self.direct = self.queue.iter().filter(|segment| segment.direct).map(|segment| segment.bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(writer: &Writer) -> Vec<&[u8]> {
        writer.queue.iter().map(|segment| &segment.bytes[..]).collect()
    }

    #[test]
    fn pongs_overtake_what_has_not_begun() {
        let mut writer = Writer::default();
        writer.push(Bytes::from_static(b"begun"), true);
        writer.push(Bytes::from_static(b"waits"), false);
        writer.advance(2);
        writer.push_pong(Bytes::from_static(b"p1"));
        writer.push_pong(Bytes::from_static(b"p2"));
        writer.place_pongs();
        assert_eq!(waiting(&writer), [&b"begun"[..], b"p1", b"p2", b"waits"]);
    }

    #[test]
    fn sums_follow_partial_writes() {
        let mut writer = Writer::default();
        writer.push(Bytes::from_static(b"12345"), true);
        writer.push(Bytes::from_static(b"678"), false);
        assert_eq!((writer.bytes, writer.direct), (8, 5));
        writer.advance(4);
        assert_eq!((writer.bytes, writer.direct), (4, 5));
        writer.advance(3);
        assert_eq!((writer.bytes, writer.direct, writer.written), (1, 0, 2));
        writer.advance(1);
        assert!(writer.is_empty() && writer.queue.is_empty());
    }

    #[test]
    fn giving_up_keeps_the_frame_that_has_begun() {
        let mut writer = Writer::default();
        writer.push(Bytes::from_static(b"begun"), true);
        writer.push(Bytes::from_static(b"waits"), false);
        writer.push_pong(Bytes::from_static(b"pong"));
        writer.advance(1);
        writer.abandon();
        assert_eq!(waiting(&writer), [&b"begun"[..]]);
        assert_eq!((writer.bytes, writer.direct), (4, 5));
    }
}
