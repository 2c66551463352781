//! Parses WebSocket frames of a client in place. Source: RFC 6455 §5.
//!
//! All frames of one read are parsed in the buffer they arrived in: unmasked there, and handed out as slices
//! of it. Between reads only an incomplete frame or an unfinished fragmented message is kept.

use bytes::{Buf, Bytes, BytesMut};
use wse_client_core::{
    error::{Code, close},
    io::{Close, Frame},
};

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// One thing the client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A whole message, its fragments joined.
    Message(Frame),
    /// A ping, to be answered with a pong of the same bytes.
    Ping(Bytes),
    /// A pong nobody needs to answer.
    Pong,
    /// The client's close frame; nothing after it counts.
    Close(Close),
}

/// The client broke RFC 6455, or a bound: the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Close code.
    pub(crate) close: u16,
    /// Stable code, told before the close where the rule is one of ours.
    pub(crate) code: Code,
    /// One line for the client.
    pub(crate) reason: &'static str,
}

const fn protocol(reason: &'static str) -> Violation {
    Violation { close: close::PROTOCOL, code: Code::InvalidRequest, reason }
}

const INVALID_UTF8: Violation =
    Violation { close: close::INVALID_DATA, code: Code::InvalidUtf8, reason: "text is not UTF-8" };

const TOO_BIG: Violation =
    Violation { close: close::TOO_BIG, code: Code::MessageTooLarge, reason: "message is over the size limit" };

/// A message whose last fragment has not come yet.
#[derive(Debug)]
struct Fragments {
    opcode: u8,
    bytes: BytesMut,
    /// Up to here the bytes of a text are known to be UTF-8.
    checked: usize,
}

/// Turns bytes from the socket into [`Item`]s.
#[derive(Debug)]
pub(crate) struct FrameReader {
    max_message: usize,
    pending: BytesMut,
    /// What came behind an incomplete `pending`, not copied yet.
    following: BytesMut,
    /// Whether `pending` is a view of a buffer that belongs to someone else.
    borrowed: bool,
    fragments: Option<Fragments>,
}

/// A frame's header.
#[derive(Debug, Clone, Copy)]
struct Header {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    header_len: usize,
    payload_len: usize,
}

impl FrameReader {
    /// A reader that refuses messages over `max_message` bytes.
    pub(crate) fn new(max_message: usize) -> Self {
        Self { max_message, pending: BytesMut::new(), following: BytesMut::new(), borrowed: false, fragments: None }
    }

    /// Takes the bytes of one read. Call [`FrameReader::next`] until it answers `None` afterwards.
    pub(crate) fn feed(&mut self, chunk: BytesMut) {
        if self.pending.is_empty() {
            self.pending = chunk;
            self.borrowed = true;
        } else if self.following.is_empty() {
            self.following = chunk;
        } else {
            self.following.extend_from_slice(&chunk);
        }
    }

    /// The next item; `None` when the rest is incomplete.
    ///
    /// # Errors
    /// [`Violation`]: nothing more can be read from this client.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Violation> {
        loop {
            let header = self.header()?;
            let total = header.map_or(self.pending.len() + 1, |header| header.header_len + header.payload_len);
            let Some(header) = header.filter(|_| self.pending.len() >= total) else {
                if self.refill(total) {
                    continue;
                }
                self.detach();
                return Ok(None);
            };
            unmask(&mut self.pending[header.header_len..total], header.mask);
            let mut frame = self.pending.split_to(total);
            self.borrowed = true;
            frame.advance(header.header_len);
            if let Some(item) = self.accept(header, frame)? {
                return Ok(Some(item));
            }
        }
    }

    /// Goes on with what came behind `pending`: all of it where nothing is pending, else no more than the frame lacks, so
    /// that only the frame that two reads share is copied. False when nothing came.
    fn refill(&mut self, total: usize) -> bool {
        if self.following.is_empty() {
            return false;
        }
        if self.pending.is_empty() {
            self.pending = std::mem::take(&mut self.following);
            self.borrowed = true;
        } else {
            let missing = (total - self.pending.len()).min(self.following.len());
            self.pending.extend_from_slice(&self.following.split_to(missing));
        }
        true
    }

    /// Copies the incomplete rest out of the shared read buffer, so that an idle connection does not hold it.
    fn detach(&mut self) {
        // Even empty it may hold on to the buffer.
        self.following = BytesMut::new();
        if self.borrowed {
            self.pending = if self.pending.is_empty() { BytesMut::new() } else { BytesMut::from(&self.pending[..]) };
            self.borrowed = false;
        }
    }

    /// Reads and checks the header at the front, as far as it has come.
    fn header(&self) -> Result<Option<Header>, Violation> {
        let [first, second, rest @ ..] = &self.pending[..] else { return Ok(None) };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        if first & 0x70 != 0 {
            return Err(protocol("reserved bits are set"));
        }
        if second & 0x80 == 0 {
            return Err(protocol("frames of a client must be masked"));
        }
        let short = usize::from(second & 0x7F);
        match opcode {
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if !fin => return Err(protocol("control frames must not be fragmented")),
            CLOSE | PING | PONG if short > 125 => return Err(protocol("control frames carry at most 125 bytes")),
            CLOSE | PING | PONG => {}
            _ => return Err(protocol("unknown opcode")),
        }
        match (opcode, &self.fragments) {
            (CONTINUATION, None) => return Err(protocol("continuation without a message")),
            (TEXT | BINARY, Some(_)) => return Err(protocol("message inside a fragmented message")),
            _ => {}
        }
        let Some((payload_len, length_bytes)) = payload_len(short, rest)? else { return Ok(None) };
        self.check_size(opcode, payload_len)?;
        let Some(mask) = rest.get(length_bytes..length_bytes + 4) else { return Ok(None) };
        let mask = [mask[0], mask[1], mask[2], mask[3]];
        Ok(Some(Header { fin, opcode, mask, header_len: 2 + length_bytes + 4, payload_len: payload_len as usize }))
    }

    /// Refuses by the announced length, before the bytes are waited for.
    fn check_size(&self, opcode: u8, payload_len: u64) -> Result<(), Violation> {
        let joined = match &self.fragments {
            Some(fragments) if opcode == CONTINUATION => fragments.bytes.len() as u64,
            _ => 0,
        };
        if joined.saturating_add(payload_len) > self.max_message as u64 { Err(TOO_BIG) } else { Ok(()) }
    }

    fn accept(&mut self, header: Header, payload: BytesMut) -> Result<Option<Item>, Violation> {
        match header.opcode {
            PING => Ok(Some(Item::Ping(payload.freeze()))),
            PONG => Ok(Some(Item::Pong)),
            CLOSE => parse_close(&payload).map(|close| Some(Item::Close(close))),
            opcode if opcode != CONTINUATION && header.fin => whole(opcode, payload.freeze()).map(Some),
            _ => self.join(header, &payload),
        }
    }

    fn join(&mut self, header: Header, payload: &[u8]) -> Result<Option<Item>, Violation> {
        let mut fragments = self.fragments.take().unwrap_or_else(|| Fragments {
            opcode: header.opcode,
            bytes: BytesMut::new(),
            checked: 0,
        });
        fragments.bytes.extend_from_slice(payload);
        if fragments.opcode == TEXT {
            fragments.check_utf8(header.fin)?;
        }
        if header.fin {
            let bytes = fragments.bytes.freeze();
            return Ok(Some(Item::Message(if fragments.opcode == TEXT {
                Frame::Text(bytes)
            } else {
                Frame::Binary(bytes)
            })));
        }
        self.fragments = Some(fragments);
        Ok(None)
    }
}

impl Fragments {
    /// Checks what is new; a character may still be cut when more fragments follow.
    fn check_utf8(&mut self, last: bool) -> Result<(), Violation> {
        match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_none() && !last => self.checked += error.valid_up_to(),
            Err(_) => return Err(INVALID_UTF8),
        }
        Ok(())
    }
}

/// The payload length and the number of extra bytes it took; `None` when they have not all come.
fn payload_len(short: usize, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let not_minimal = protocol("the length is not in its shortest form");
    match short {
        126 => {
            let Some(bytes) = rest.first_chunk::<2>() else { return Ok(None) };
            let len = u64::from(u16::from_be_bytes(*bytes));
            if len < 126 { Err(not_minimal) } else { Ok(Some((len, 2))) }
        }
        127 => {
            let Some(bytes) = rest.first_chunk::<8>() else { return Ok(None) };
            let len = u64::from_be_bytes(*bytes);
            if len >> 63 != 0 {
                return Err(protocol("the length has its highest bit set"));
            }
            if len <= u64::from(u16::MAX) { Err(not_minimal) } else { Ok(Some((len, 8))) }
        }
        short => Ok(Some((short as u64, 0))),
    }
}

fn whole(opcode: u8, bytes: Bytes) -> Result<Item, Violation> {
    if opcode == BINARY {
        return Ok(Item::Message(Frame::Binary(bytes)));
    }
    if !bytes.is_ascii() && std::str::from_utf8(&bytes).is_err() {
        return Err(INVALID_UTF8);
    }
    Ok(Item::Message(Frame::Text(bytes)))
}

/// Source: RFC 6455 §7.4, and the codes registered since.
fn parse_close(payload: &[u8]) -> Result<Close, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Close::new(close::NO_STATUS, ""))
        } else {
            Err(protocol("a close frame has no or at least two bytes"))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(protocol("close code that must not be sent"));
    }
    std::str::from_utf8(reason).map(|reason| Close::new(code, reason)).map_err(|_| INVALID_UTF8)
}

/// Removes the mask, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Largest header of a frame that a server sends.
const MAX_HEADER: usize = 10;

/// Opcode of a frame to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text = TEXT as isize,
    Binary = BINARY as isize,
    Close = CLOSE as isize,
    Pong = PONG as isize,
}

/// A whole unfragmented frame of a server: header and payload in one piece. Also tells the header's length.
pub(crate) fn framed(opcode: Opcode, payload: &[u8]) -> (Bytes, usize) {
    let mut out = BytesMut::with_capacity(MAX_HEADER + payload.len());
    out.extend_from_slice(&[0x80 | opcode as u8]);
    match payload.len() {
        len @ 0..=125 => out.extend_from_slice(&[len as u8]),
        len @ 126..=0xFFFF => {
            out.extend_from_slice(&[126]);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.extend_from_slice(&[127]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let header_len = out.len();
    out.extend_from_slice(payload);
    (out.freeze(), header_len)
}

/// The frame for one message of the engine.
pub(crate) fn framed_message(frame: &Frame) -> (Bytes, usize) {
    match frame {
        Frame::Text(bytes) => framed(Opcode::Text, bytes),
        Frame::Binary(bytes) => framed(Opcode::Binary, bytes),
    }
}

/// A close frame; codes that only describe a missing one are sent as an empty close frame.
pub(crate) fn framed_close(close: &Close) -> Bytes {
    if matches!(close.code, close::NO_STATUS | close::ABNORMAL) {
        return framed(Opcode::Close, &[]).0;
    }
    let mut end = close.reason.len().min(123);
    while !close.reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = close.code.to_be_bytes().to_vec();
    payload.extend_from_slice(&close.reason.as_bytes()[..end]);
    framed(Opcode::Close, &payload).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(0x80 | len as u8),
            len @ 126..=0xFFFF => {
                out.push(0x80 | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(0x80 | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(KEY);
        let mut masked = payload.to_vec();
        unmask(&mut masked, KEY);
        out.extend(masked);
        out
    }

    /// Feeds `bytes` in steps of `step` and collects what comes out.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<Item>, Violation> {
        let mut reader = FrameReader::new(1000);
        let mut items = Vec::new();
        for chunk in bytes.chunks(step) {
            reader.feed(BytesMut::from(chunk));
            while let Some(item) = reader.next()? {
                items.push(item);
            }
        }
        Ok(items)
    }

    fn text(text: &str) -> Item {
        Item::Message(Frame::Text(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn the_sample_of_the_rfc_is_read() {
        // RFC 6455 §5.7: a single-frame masked text message, "Hello".
        let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(&bytes, 64), Ok(vec![text("Hello")]));
    }

    #[test]
    fn every_way_to_cut_the_stream_gives_the_same_messages() {
        let mut bytes = client_frame(0x81, b"one");
        bytes.extend(client_frame(0x01, "zwei \u{e4}".as_bytes()));
        bytes.extend(client_frame(0x89, b"in between"));
        bytes.extend(client_frame(0x80, b" drei"));
        bytes.extend(client_frame(0x82, &[7; 300]));
        bytes.extend(client_frame(0x8A, b""));
        bytes.extend(client_frame(0x88, &[0x03, 0xE8, b'b', b'y', b'e']));
        let whole = read(&bytes, bytes.len()).expect("valid");
        assert_eq!(whole.len(), 6);
        assert_eq!(whole[1], Item::Ping(Bytes::from_static(b"in between")));
        assert_eq!(whole[2], text("zwei \u{e4} drei"));
        assert_eq!(whole[5], Item::Close(Close::new(1000, "bye")));
        for step in 1..40 {
            assert_eq!(read(&bytes, step).as_ref(), Ok(&whole), "step {step}");
        }
    }

    #[test]
    fn text_may_be_cut_inside_a_character_but_must_be_whole_at_the_end() {
        let mut good = client_frame(0x01, &[0xE2, 0x82]);
        good.extend(client_frame(0x80, &[0xAC]));
        assert_eq!(read(&good, 99), Ok(vec![text("\u{20ac}")]));
        let mut cut = client_frame(0x01, &[0xE2, 0x82]);
        cut.extend(client_frame(0x80, &[]));
        assert_eq!(read(&cut, 99), Err(INVALID_UTF8));
        // Fails at the first wrong fragment already, without waiting for the last.
        assert_eq!(read(&client_frame(0x01, &[0xE2, 0x28]), 99), Err(INVALID_UTF8));
        assert_eq!(read(&client_frame(0x81, &[0xFF]), 99), Err(INVALID_UTF8));
        assert_eq!(read(&client_frame(0x88, &[0x03, 0xE8, 0xFF]), 99), Err(INVALID_UTF8));
    }

    #[test]
    fn breaches_of_the_protocol_are_named() {
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("reserved", client_frame(0xC1, b"x")),
            ("opcode", client_frame(0x83, b"x")),
            ("opcode", client_frame(0x8B, b"x")),
            ("masked", vec![0x81, 0x01, b'x']),
            ("fragmented", client_frame(0x09, b"x")),
            ("125", client_frame(0x89, &[0; 126])),
            ("continuation", client_frame(0x80, b"x")),
            ("inside", [client_frame(0x01, b"x"), client_frame(0x81, b"y")].concat()),
            ("two bytes", client_frame(0x88, &[3])),
            ("close code", client_frame(0x88, &999u16.to_be_bytes())),
            ("close code", client_frame(0x88, &1005u16.to_be_bytes())),
            ("close code", client_frame(0x88, &1015u16.to_be_bytes())),
            ("close code", client_frame(0x88, &5000u16.to_be_bytes())),
            ("shortest", vec![0x82, 0xFE, 0, 5, 1, 2, 3, 4]),
            ("shortest", vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4]),
            ("highest", vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4]),
        ];
        for (why, bytes) in cases {
            let violation = read(&bytes, 999).expect_err(why);
            assert_eq!(violation.close, close::PROTOCOL, "{why}");
            assert!(violation.reason.contains(why), "{why}: {}", violation.reason);
        }
    }

    #[test]
    fn size_is_refused_by_the_announced_length_and_by_the_sum_of_fragments() {
        // Only the header has come.
        assert_eq!(read(&[0x82, 0xFE, 0x03, 0xE9], 99), Err(TOO_BIG));
        let mut fragments = client_frame(0x02, &[0; 600]);
        fragments.extend(client_frame(0x00, &[0; 400]));
        assert_eq!(read(&fragments, 9999), Ok(vec![]));
        fragments.extend(client_frame(0x00, &[0; 1]));
        assert_eq!(read(&fragments, 9999), Err(TOO_BIG));
    }

    #[test]
    fn nothing_is_held_between_messages() {
        let mut reader = FrameReader::new(1000);
        let mut bytes = BytesMut::with_capacity(64 * 1024);
        bytes.extend_from_slice(&client_frame(0x82, b"whole"));
        bytes.extend_from_slice(&client_frame(0x82, b"cut")[..4]);
        reader.feed(bytes);
        assert!(matches!(reader.next(), Ok(Some(Item::Message(_)))));
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.pending.capacity() < 100, "{}", reader.pending.capacity());
    }

    #[test]
    fn server_frames_have_the_shortest_header() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let (bytes, header_len) = framed(Opcode::Binary, &vec![1; len]);
            assert_eq!((header_len, bytes.len()), (header, header + len));
        }
        assert_eq!(framed_close(&Close::abnormal()), Bytes::from_static(&[0x88, 0]));
        let long = framed_close(&Close::new(1000, "\u{e4}".repeat(100)));
        assert!(long.len() <= 127 && std::str::from_utf8(&long[4..]).is_ok());
    }
}
