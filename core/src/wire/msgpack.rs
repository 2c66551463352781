//! msgpack: validation, the envelope's map, and the way to JSON and back. Source: PROTOCOL.md §3.3.
//!
//! Every length is compared with what is left before anything is read or reserved. Walking is
//! recursive, as deep as the depth limit allows and never deeper than [`json::DEEPEST`].

use std::ops::Range;

use rmp::Marker;

use crate::error::Code;

use super::{
    DecodeError,
    envelope::{self, Envelope, Key, Kind, Value},
    json::{self, Token, Tokens},
    number,
};

/// Checks that `bytes` are exactly one msgpack value, nested at most `max_depth`.
pub(super) fn check(bytes: &[u8], max_depth: usize) -> Result<(), DecodeError> {
    let mut walker = Walker::new(bytes);
    walker.skip(max_depth.min(json::DEEPEST))?;
    if walker.rest.is_empty() { Ok(()) } else { Err(walker.bad("bytes after the value")) }
}

/// Finds the members of the envelope in `bytes`, which must start with a map. What follows the map is ignored.
///
/// `max_depth` bounds the nesting of each member; the envelope itself does not count.
pub(super) fn index(bytes: &[u8], max_depth: usize) -> Result<Envelope, DecodeError> {
    envelope::check_size(bytes)?;
    let max_depth = max_depth.min(json::DEEPEST);
    let mut walker = Walker::new(bytes);
    let Item::Map(count) = walker.item()? else {
        let mut walker = Walker::new(bytes);
        walker.skip(max_depth)?;
        return Err(DecodeError::new(Code::InvalidEnvelope, "the message is no map"));
    };
    let mut envelope = Envelope::default();
    for _ in 0..count {
        let name = walker.name()?;
        let start = walker.at();
        let item = walker.item()?;
        walker.skip_content(item, max_depth)?;
        if let Item::Str(name) = name
            && let Some(key) = Key::from_name(name.as_bytes())
        {
            envelope.set(key, member(key, item, start, walker.at()));
        }
    }
    Ok(envelope)
}

/// Where the items of the array `name` are in a valid msgpack map; `None` when there is no such array. Of several
/// members of that name the first counts. After `most` items one more is given, and no further ones are looked for.
pub(super) fn items_of(bytes: &[u8], name: &str, most: usize) -> Option<Vec<Range<usize>>> {
    let mut walker = Walker::new(bytes);
    let Ok(Item::Map(count)) = walker.item() else { return None };
    for _ in 0..count {
        let key = walker.item().ok()?;
        walker.skip_content(key, json::DEEPEST).ok()?;
        let value = walker.item().ok()?;
        match (key, value) {
            (Item::Str(key), Item::Array(count)) if key == name => return walker.spans(count.min(most + 1)).ok(),
            (Item::Str(key), _) if key == name => return None,
            _ => walker.skip_content(value, json::DEEPEST).ok()?,
        }
    }
    None
}

/// The span of a member: content for strings, the whole value for everything else and for the payload.
fn member(key: Key, item: Item<'_>, start: usize, end: usize) -> Value {
    let is_payload = matches!(key, Key::Payload | Key::PayloadAlias);
    match item {
        Item::Str(text) if !is_payload => Value::new(Kind::Text, end - text.len(), end),
        Item::Unsigned(_) | Item::Signed(_) => Value::new(Kind::Integer, start, end),
        _ => Value::new(Kind::Other, start, end),
    }
}

/// The value of an integer.
pub(super) fn integer(bytes: &[u8]) -> Option<i128> {
    match Walker::new(bytes).item() {
        Ok(Item::Unsigned(number)) => Some(number.into()),
        Ok(Item::Signed(number)) => Some(number.into()),
        _ => None,
    }
}

/// JSON text of a valid msgpack value.
pub(super) fn to_json(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 2);
    write_json(bytes, &mut out);
    String::from_utf8(out).unwrap_or_else(|_| unreachable!("only text is written"))
}

/// Appends the JSON text of a valid msgpack value; `null` for one that is not.
///
/// Numbers keep their value; those that are not finite become `null`. Binary strings and extensions become
/// lower-case hex. Keys that are no strings become the text of their JSON.
pub(super) fn write_json(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if Walker::new(bytes).json(json::DEEPEST, out).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// msgpack of a valid JSON value.
pub(super) fn from_json(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    write_from_json(text, &mut out);
    out
}

/// Appends the msgpack of a valid JSON value.
///
/// Integers that fit 64 bits stay integers; other numbers are doubles.
pub(super) fn write_from_json(text: &[u8], out: &mut Vec<u8>) {
    let mut open = Vec::new();
    let mut unescaped = Vec::new();
    for token in Tokens::new(text) {
        if matches!(token, Token::End) {
            if let Some(container) = open.pop() {
                write_container_header(&container, out);
            }
            continue;
        }
        if let Some(Container { items, .. }) = open.last_mut() {
            *items += 1;
        }
        match token {
            Token::ObjectStart | Token::ArrayStart => {
                open.push(Container { header: out.len(), items: 0, is_map: matches!(token, Token::ObjectStart) });
                out.push(0);
            }
            Token::Text(content) if memchr::memchr(b'\\', content).is_none() => write_str_bytes(content, out),
            Token::Text(content) => {
                unescaped.clear();
                json::unescape_into(content, &mut unescaped);
                write_str_bytes(&unescaped, out);
            }
            Token::Number(number) => write_number(number, out),
            Token::Bool(value) => out.push(if value { 0xC3 } else { 0xC2 }),
            Token::Null => out.push(0xC0),
            Token::End => {}
        }
    }
}

/// A container whose end was not reached yet. One byte is kept free for its header.
struct Container {
    header: usize,
    /// Names and values.
    items: usize,
    is_map: bool,
}

/// Puts the header before the content of a container that just ended.
fn write_container_header(container: &Container, out: &mut Vec<u8>) {
    let (count, fix_marker, marker16) =
        if container.is_map { (container.items / 2, 0x80, 0xDE) } else { (container.items, 0x90, 0xDC) };
    if count <= 15 {
        out[container.header] = fix_marker | count as u8;
        return;
    }
    let mut header = Vec::with_capacity(5);
    write_header(count, (fix_marker, 15), None, marker16, &mut header);
    out.splice(container.header..=container.header, header);
}

fn write_number(text: &str, out: &mut Vec<u8>) {
    if let Ok(number) = text.parse::<u64>() {
        write_unsigned(number, out);
    } else if let Ok(number @ ..0) = text.parse::<i64>() {
        write_negative(number, out);
    } else {
        out.push(0xCB);
        out.extend_from_slice(&number::parse(text).to_be_bytes());
    }
}

/// Appends the header of a map with `count` members.
pub(super) fn write_map_header(count: usize, out: &mut Vec<u8>) {
    write_header(count, (0x80, 15), None, 0xDE, out);
}

/// Appends the header of an array with `count` items.
pub(super) fn write_array_header(count: usize, out: &mut Vec<u8>) {
    write_header(count, (0x90, 15), None, 0xDC, out);
}

/// Appends a string.
pub(super) fn write_str(text: &str, out: &mut Vec<u8>) {
    write_str_bytes(text.as_bytes(), out);
}

fn write_str_bytes(text: &[u8], out: &mut Vec<u8>) {
    write_header(text.len(), (0xA0, 31), Some(0xD9), 0xDA, out);
    out.extend_from_slice(text);
}

/// Appends the shortest header for `length`: in the marker itself, in one byte (where there is such a marker), in
/// two bytes after `marker16`, or in four after the marker that follows it.
fn write_header(length: usize, fix: (u8, usize), marker8: Option<u8>, marker16: u8, out: &mut Vec<u8>) {
    let (fix_marker, fix_max) = fix;
    if length <= fix_max {
        out.push(fix_marker | length as u8);
    } else if let (Some(marker), Ok(length)) = (marker8, u8::try_from(length)) {
        out.extend_from_slice(&[marker, length]);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(marker16);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        // Messages are bounded far below this.
        out.push(marker16 + 1);
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
}

/// Appends an integer of zero or more in its shortest form.
pub(super) fn write_unsigned(number: u64, out: &mut Vec<u8>) {
    if let Ok(byte) = u8::try_from(number) {
        if byte > 0x7F {
            out.push(0xCC);
        }
        out.push(byte);
    } else if let Ok(number) = u16::try_from(number) {
        out.push(0xCD);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        out.push(0xCE);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xCF);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_negative(number: i64, out: &mut Vec<u8>) {
    if let Ok(byte) = i8::try_from(number) {
        if byte < -32 {
            out.push(0xD0);
        }
        out.push(byte as u8);
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xD1);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        out.push(0xD2);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xD3);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// One value, or the start of a container.
#[derive(Debug, Clone, Copy)]
enum Item<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// Below zero.
    Signed(i64),
    Float(f64),
    Str(&'a str),
    /// A binary string or the data of an extension.
    Bin(&'a [u8]),
    /// Number of items.
    Array(usize),
    /// Number of members.
    Map(usize),
}

/// A position in msgpack bytes.
struct Walker<'a> {
    all: usize,
    rest: &'a [u8],
}

impl<'a> Walker<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes.len(), rest: bytes }
    }

    const fn at(&self) -> usize {
        self.all - self.rest.len()
    }

    fn bad(&self, what: &str) -> DecodeError {
        DecodeError::new(Code::BadMsgpack, format!("{what} at byte {}", self.at()))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.bad("the value is cut off"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn length<const N: usize>(&mut self) -> Result<usize, DecodeError> {
        Ok(self.array::<N>()?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn text(&mut self, length: usize) -> Result<Item<'a>, DecodeError> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Item::Str).map_err(|_| self.bad("a string that is not UTF-8"))
    }

    fn bin(&mut self, length: usize) -> Result<Item<'a>, DecodeError> {
        self.take(length).map(Item::Bin)
    }

    /// An extension: its type is dropped.
    fn extension(&mut self, length: usize) -> Result<Item<'a>, DecodeError> {
        self.take(1)?;
        self.bin(length)
    }

    /// Checks a number of items against what is left: each takes one byte at least.
    fn items(&self, count: usize, bytes_each: usize) -> Result<usize, DecodeError> {
        if count > self.rest.len() / bytes_each { Err(self.bad("the value is cut off")) } else { Ok(count) }
    }

    fn array_of(&self, count: usize) -> Result<Item<'a>, DecodeError> {
        self.items(count, 1).map(Item::Array)
    }

    fn map_of(&self, count: usize) -> Result<Item<'a>, DecodeError> {
        self.items(count, 2).map(Item::Map)
    }

    /// Reads a scalar, or the header of a container.
    #[inline]
    fn item(&mut self) -> Result<Item<'a>, DecodeError> {
        let [marker] = self.array()?;
        let signed = |number: i64| u64::try_from(number).map_or(Item::Signed(number), Item::Unsigned);
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Item::Nil,
            Marker::True => Item::Bool(true),
            Marker::False => Item::Bool(false),
            Marker::FixPos(number) => Item::Unsigned(number.into()),
            Marker::FixNeg(number) => Item::Signed(number.into()),
            Marker::U8 => Item::Unsigned(self.array::<1>()?[0].into()),
            Marker::U16 => Item::Unsigned(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Item::Unsigned(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Item::Unsigned(u64::from_be_bytes(self.array()?)),
            Marker::I8 => signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Item::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Item::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(length) => self.text(length.into())?,
            Marker::Str8 => self.length::<1>().and_then(|length| self.text(length))?,
            Marker::Str16 => self.length::<2>().and_then(|length| self.text(length))?,
            Marker::Str32 => self.length::<4>().and_then(|length| self.text(length))?,
            Marker::Bin8 => self.length::<1>().and_then(|length| self.bin(length))?,
            Marker::Bin16 => self.length::<2>().and_then(|length| self.bin(length))?,
            Marker::Bin32 => self.length::<4>().and_then(|length| self.bin(length))?,
            Marker::FixArray(count) => self.array_of(count.into())?,
            Marker::Array16 => self.length::<2>().and_then(|count| self.array_of(count))?,
            Marker::Array32 => self.length::<4>().and_then(|count| self.array_of(count))?,
            Marker::FixMap(count) => self.map_of(count.into())?,
            Marker::Map16 => self.length::<2>().and_then(|count| self.map_of(count))?,
            Marker::Map32 => self.length::<4>().and_then(|count| self.map_of(count))?,
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.length::<1>().and_then(|length| self.extension(length))?,
            Marker::Ext16 => self.length::<2>().and_then(|length| self.extension(length))?,
            Marker::Ext32 => self.length::<4>().and_then(|length| self.extension(length))?,
            Marker::Reserved => return Err(self.bad("the reserved marker")),
        })
    }

    /// Reads one value with everything in it.
    fn skip(&mut self, depth: usize) -> Result<(), DecodeError> {
        let item = self.item()?;
        self.skip_content(item, depth)
    }

    /// Reads what is in a container whose header was read.
    fn skip_content(&mut self, item: Item<'_>, depth: usize) -> Result<(), DecodeError> {
        match item {
            Item::Array(count) => {
                let depth = self.deeper(depth)?;
                for _ in 0..count {
                    self.skip(depth)?;
                }
            }
            Item::Map(count) => {
                let depth = self.deeper(depth)?;
                for _ in 0..count {
                    self.name()?;
                    self.skip(depth)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the name of a member: any scalar. In JSON a name is a string, so a map in the name of a map would be
    /// escaped once for each level, and twice as long each time.
    fn name(&mut self) -> Result<Item<'a>, DecodeError> {
        match self.item()? {
            Item::Array(_) | Item::Map(_) => Err(self.bad("a name that is a list or a map")),
            name => Ok(name),
        }
    }

    /// Reads values one after the other; gives where each is.
    fn spans(&mut self, count: usize) -> Result<Vec<Range<usize>>, DecodeError> {
        let mut spans = Vec::with_capacity(count);
        for _ in 0..count {
            let start = self.at();
            self.skip(json::DEEPEST)?;
            spans.push(start..self.at());
        }
        Ok(spans)
    }

    fn deeper(&self, depth: usize) -> Result<usize, DecodeError> {
        depth
            .checked_sub(1)
            .ok_or_else(|| DecodeError::new(Code::TooDeep, format!("nested too deep at byte {}", self.at())))
    }

    /// Writes one value with everything in it as JSON.
    fn json(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        match self.item()? {
            Item::Nil => out.extend_from_slice(b"null"),
            Item::Bool(true) => out.extend_from_slice(b"true"),
            Item::Bool(false) => out.extend_from_slice(b"false"),
            Item::Unsigned(number) => json::write_unsigned(number, out),
            Item::Signed(number) => {
                out.push(b'-');
                json::write_unsigned(number.unsigned_abs(), out);
            }
            Item::Float(number) if number.is_finite() => number::write(number, out),
            Item::Float(_) => out.extend_from_slice(b"null"),
            Item::Str(text) => json::write_string(text, out),
            Item::Bin(bytes) => write_hex(bytes, out),
            Item::Array(count) => {
                let depth = self.deeper(depth)?;
                out.push(b'[');
                for at in 0..count {
                    if at > 0 {
                        out.push(b',');
                    }
                    self.json(depth, out)?;
                }
                out.push(b']');
            }
            Item::Map(count) => {
                let depth = self.deeper(depth)?;
                out.push(b'{');
                for at in 0..count {
                    if at > 0 {
                        out.push(b',');
                    }
                    self.json_name(depth, out)?;
                    out.push(b':');
                    self.json(depth, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }

    fn json_name(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let start = out.len();
        self.json(depth, out)?;
        if out.get(start) != Some(&b'"') {
            let text = String::from_utf8_lossy(&out[start..]).into_owned();
            out.truncate(start);
            json::write_string(&text, out);
        }
        Ok(())
    }
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in bytes {
        out.extend_from_slice(&json::hex(*byte));
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> Option<Code> {
        check(bytes, 64).err().map(|error| error.code)
    }

    #[test]
    fn numbers_keep_their_value() {
        for number in [
            "0",
            "127",
            "128",
            "255",
            "256",
            "65535",
            "65536",
            "4294967295",
            "4294967296",
            "18446744073709551615",
            "-1",
            "-32",
            "-33",
            "-128",
            "-129",
            "-32768",
            "-32769",
            "-2147483648",
            "-2147483649",
            "-9223372036854775808",
            "1.0",
            "-0.0",
            "0.1",
            "1e100",
            "-2.3234554143294406e-117",
        ] {
            assert_eq!(to_json(&from_json(number.as_bytes())), number);
        }
        assert_eq!(to_json(&from_json(b"-0")), "-0.0");
        assert_eq!(to_json(&from_json(b"18446744073709551616")), "1.8446744073709552e19");
        assert_eq!(to_json(&from_json(b"1e999")), "null");
        assert_eq!(to_json(&[0xCA, 0x3F, 0xC0, 0, 0]), "1.5");
        assert_eq!(to_json(&[0xCB, 0x7F, 0xF8, 0, 0, 0, 0, 0, 0]), "null");
    }

    #[test]
    fn every_length_of_container_and_string_is_written_and_read() {
        for count in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let list = format!("[{}]", vec!["1"; count].join(","));
            assert_eq!(to_json(&from_json(list.as_bytes())), list, "{count} items");
            let members: Vec<String> = (0..count).map(|at| format!("\"{at}\":[{at}]")).collect();
            let map = format!("{{{}}}", members.join(","));
            let packed = from_json(map.as_bytes());
            assert_eq!(check(&packed, 2), Ok(()));
            assert_eq!(to_json(&packed), map, "{count} members");
            let string = format!("\"{}\"", "é".repeat(count));
            assert_eq!(to_json(&from_json(string.as_bytes())), string, "{count} letters");
        }
    }

    #[test]
    fn what_json_lacks_becomes_text() {
        // {1: bin 01ff, nil: ext, true: 2, 1.5: [], bin ff: nil}
        let bytes = [
            0x85, 0x01, 0xC4, 2, 1, 0xFF, 0xC0, 0xD6, 5, 0, 0, 0, 9, 0xC3, 2, 0xCB, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0, 0x90,
            0xC4, 1, 0xFF, 0xC0,
        ];
        assert_eq!(code(&bytes), None);
        let json = r#"{"1":"01ff","null":"00000009","true":2,"1.5":[],"ff":null}"#;
        assert_eq!(to_json(&bytes), json);
    }

    #[test]
    fn every_marker_is_refused_when_cut_off() {
        for marker in 0..=u8::MAX {
            let is_whole = matches!(marker, 0..=0x80 | 0x90 | 0xA0 | 0xC0 | 0xC2 | 0xC3 | 0xE0..);
            assert_eq!(code(&[marker]), if is_whole { None } else { Some(Code::BadMsgpack) }, "{marker:#x}");
        }
        assert_eq!(code(&[]), Some(Code::BadMsgpack));
        assert_eq!(code(&[0xC0, 0xC0]), Some(Code::BadMsgpack));
        for promise in [0xC6, 0xDB, 0xC9, 0xDD, 0xDF] {
            assert_eq!(code(&[promise, 255, 255, 255, 255, 0]), Some(Code::BadMsgpack), "{promise:#x}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize, marker: u8| [vec![marker; depth], vec![0xC0]].concat();
        assert_eq!(code(&nested(64, 0x91)), None);
        assert_eq!(code(&nested(65, 0x91)), Some(Code::TooDeep));
        assert_eq!(check(&nested(1_000_000, 0x91), usize::MAX).err().map(|error| error.code), Some(Code::TooDeep));
    }

    #[test]
    fn a_name_is_no_container() {
        // {[1]: nil}, {{}: nil}, and thirty maps that are each the name of the next: a gigabyte of escapes in JSON.
        for bytes in [&[0x81, 0x91, 1, 0xC0][..], &[0x81, 0x80, 0xC0], &[vec![0x81; 30], vec![1; 31]].concat()] {
            assert_eq!(code(bytes), Some(Code::BadMsgpack), "{bytes:?}");
            assert_eq!(index(bytes, 64).err().map(|error| error.code), Some(Code::BadMsgpack), "{bytes:?}");
        }
    }

    #[test]
    fn deep_json_is_rewritten_without_recursion() {
        let text = ["[".repeat(200_000), "]".repeat(200_000)].concat();
        assert_eq!(from_json(text.as_bytes()).len(), 200_000);
    }
}
