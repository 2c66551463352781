//! `C:` frames: zlib around the text. Source: RFC 1950, PROTOCOL.md §3.2.

use std::cell::Cell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::Code;

use super::DecodeError;

thread_local! {
    /// The compressor of the last message and its level. It takes 300 KiB; to ask the heap for them costs more than
    /// to compress a message, so a thread that has compressed keeps them for the next one.
    static COMPRESSOR: Cell<Option<(u32, Compress)>> = const { Cell::new(None) };

    /// The same for inflating: 43 KiB.
    static INFLATER: Cell<Option<Decompress>> = const { Cell::new(None) };
}

/// zlib-compresses `data` at `level` 1–9.
pub fn compress(data: &[u8], level: u32) -> Vec<u8> {
    let level = level.clamp(1, 9);
    let mut engine = match COMPRESSOR.take() {
        Some((same, mut engine)) if same == level => {
            engine.reset();
            engine
        }
        _ => Compress::new(Compression::new(level), true),
    };
    let out = compress_with(&mut engine, data);
    COMPRESSOR.set(Some((level, engine)));
    out
}

fn compress_with(engine: &mut Compress, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 2 + 64);
    loop {
        let rest = data.get(engine.total_in() as usize..).unwrap_or_default();
        match engine.compress_vec(rest, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => return out,
            Ok(Status::Ok | Status::BufError) => out.reserve(out.capacity() / 2 + 64),
            Err(error) => unreachable!("compressing from memory to memory: {error}"),
        }
    }
}

/// Inflates zlib (or raw deflate) `data`, and stops as soon as the result passes `max` bytes.
///
/// Bytes after the end of the compressed data are ignored.
///
/// # Errors
/// [`Code::BadCompression`], [`Code::InflatedTooLarge`].
pub fn inflate(data: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    if has_zlib_header(data) {
        match run(data, true, max) {
            Err(error) if error.code == Code::BadCompression => {}
            done => return done,
        }
    }
    run(data, false, max)
}

/// RFC 1950 §2.2: method 8, and the two bytes are a multiple of 31.
fn has_zlib_header(data: &[u8]) -> bool {
    data.first_chunk::<2>().is_some_and(|head| head[0] & 0x0F == 8 && u16::from_be_bytes(*head) % 31 == 0)
}

fn run(data: &[u8], zlib: bool, max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut engine = INFLATER.take().unwrap_or_else(|| Decompress::new(zlib));
    engine.reset(zlib);
    let result = inflate_with(&mut engine, data, max);
    INFLATER.set(Some(engine));
    result
}

fn inflate_with(engine: &mut Decompress, data: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    // One byte above the limit is room enough to see that there is more.
    let room = max.saturating_add(1);
    let mut out = Vec::with_capacity(data.len().saturating_mul(4).clamp(64, 1 << 16).min(room));
    loop {
        let before = (engine.total_in(), engine.total_out());
        let rest = data.get(engine.total_in() as usize..).unwrap_or_default();
        let status = engine.decompress_vec(rest, &mut out, FlushDecompress::None);
        if out.len() > max {
            return Err(DecodeError::new(Code::InflatedTooLarge, format!("inflates to more than {max} bytes")));
        }
        match status {
            Ok(Status::StreamEnd) => return Ok(out),
            Ok(_) if out.len() == out.capacity() => out.reserve_exact(out.len().max(64).min(room - out.len())),
            Ok(_) if before != (engine.total_in(), engine.total_out()) => {}
            Ok(_) => return Err(DecodeError::new(Code::BadCompression, "the compressed data is cut off")),
            Err(_) => return Err(DecodeError::new(Code::BadCompression, "not zlib or deflate data")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(data: &[u8], max: usize) -> Option<Code> {
        inflate(data, max).err().map(|error| error.code)
    }

    #[test]
    fn what_is_compressed_inflates_to_the_same() {
        for length in [0, 1, 63, 64, 65, 1000, 100_000] {
            let text: Vec<u8> = (0..length).map(|at| (at * at % 251) as u8).collect();
            for level in [1, 6, 9, 100] {
                let data = compress(&text, level);
                assert_eq!(inflate(&data, length), Ok(text.clone()), "{length} at {level}");
                if length > 0 {
                    assert_eq!(code(&data, length - 1), Some(Code::InflatedTooLarge));
                }
            }
        }
    }

    /// Engines are used again, whatever became of what they did before.
    #[test]
    fn nothing_of_one_message_shows_in_the_next() {
        let text = br#"{"t":"x","p":{"word":"word word word"}}"#;
        let data = compress(text, 6);
        let raw = &data[2..];
        for other in 1..=9 {
            compress(&[other as u8; 70_000], other);
            assert_eq!(compress(text, 6), data, "after level {other}");
        }
        for (before, max) in [(&data[..9], 1000), (&*data, 5), (b"garbage", 1000), (raw, 1000), (b"", 0)] {
            let _ = inflate(before, max);
            assert_eq!(inflate(&data, text.len()).as_deref(), Ok(&text[..]));
            let _ = inflate(before, max);
            assert_eq!(inflate(raw, text.len()).as_deref(), Ok(&text[..]));
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = compress(&vec![b'0'; 10 << 20], 9);
        assert!(bomb.len() < 20_000);
        assert_eq!(code(&bomb, 1 << 20), Some(Code::InflatedTooLarge));
        assert_eq!(code(&bomb, 0), Some(Code::InflatedTooLarge));
    }

    #[test]
    fn broken_data_is_told_from_large_data() {
        let data = compress(b"{\"t\":\"x\"} and so on and so on and so on", 6);
        for end in 0..data.len() {
            assert_eq!(code(&data[..end], 1 << 20), Some(Code::BadCompression), "cut at {end}");
        }
        assert_eq!(code(b"garbage", 1 << 20), Some(Code::BadCompression));
        let mut wrong_sum = data.clone();
        *wrong_sum.last_mut().expect("a checksum") ^= 1;
        assert_eq!(code(&wrong_sum, 1 << 20), Some(Code::BadCompression));
        assert!(inflate(&[data.as_slice(), b"more"].concat(), 1 << 20).is_ok());
    }
}
