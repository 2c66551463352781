//! One pass over JSON text: validates it and notes where the members of the envelope are.
//!
//! Strict RFC 8259, without recursion and without allocation: nesting costs one bit. Text that passes
//! is UTF-8. An escape that names half of a surrogate pair is grammatical and passes too; where such
//! text is unescaped, it becomes U+FFFD.

use std::{borrow::Cow, ops::Range};

use crate::error::Code;

use super::{
    DecodeError,
    envelope::{self, Envelope, Key, Kind, Value},
};

/// Nesting that is refused whatever the limit says.
pub(super) const DEEPEST: usize = 256;

/// Checks that `text` is exactly one well-formed JSON value in UTF-8, nested at most `max_depth`.
pub(super) fn check(text: &[u8], max_depth: usize) -> Result<(), DecodeError> {
    check_utf8(text)?;
    let mut scanner = Scanner::new(text, max_depth);
    scanner.skip_space();
    scanner.skip_value().and_then(|_| scanner.finish()).map_err(|fault| scanner.error(fault))
}

/// Finds the members of the envelope in `text`, which must be one JSON object.
///
/// `max_depth` bounds the nesting of each member; the envelope itself does not count.
pub(super) fn index(text: &[u8], max_depth: usize) -> Result<Envelope, DecodeError> {
    let mut envelope = Envelope::default();
    index_into(&mut envelope, text, max_depth).map(|()| envelope)
}

/// The same into an envelope that is there: it is large, and moving it costs as much as a part of the scan.
pub(super) fn index_into(envelope: &mut Envelope, text: &[u8], max_depth: usize) -> Result<(), DecodeError> {
    envelope::check_size(text)?;
    check_utf8(text)?;
    let mut scanner = Scanner::new(text, max_depth);
    scanner.envelope(envelope).map_err(|fault| scanner.error(fault))
}

/// Where the items of the array `name` are in a valid JSON object; `None` when there is no such array. Of several
/// members of that name the first counts. After `most` items one more is given, and no further ones are looked for.
pub(super) fn items_of(text: &[u8], name: &str, most: usize) -> Option<Vec<Range<usize>>> {
    let mut found = None;
    let mut scanner = Scanner::new(text, DEEPEST);
    scanner
        .members(|scanner, start, end| {
            if &scanner.text[start..end] == name.as_bytes() {
                found = scanner.items(most)?;
                return Ok(false);
            }
            scanner.skip_value().map(|_| true)
        })
        .ok()?;
    found
}

/// Where the items of a valid JSON array are; `None` when it is none. After `most` items one more is given.
pub(super) fn items(text: &[u8], most: usize) -> Option<Vec<Range<usize>>> {
    Scanner::new(text, DEEPEST).items(most).unwrap_or_default()
}

/// A member of an object.
pub(super) struct Member<'a> {
    /// The content of its name, still escaped.
    name: &'a [u8],
    /// Where its value is.
    pub(super) value: Range<usize>,
}

impl Member<'_> {
    /// Its name.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match std::str::from_utf8(self.name) {
            Ok(name) if memchr::memchr(b'\\', self.name).is_none() => Cow::Borrowed(name),
            _ => Cow::Owned(unescape(self.name)),
        }
    }
}

/// Looks at each member of a valid JSON object in turn; at none when it is no object.
pub(super) fn each_member(text: &[u8], mut look: impl FnMut(Member<'_>)) {
    let mut scanner = Scanner::new(text, DEEPEST);
    // Text that is not valid has no members from there on.
    let _ = scanner.members(|scanner, start, end| {
        let value = scanner.at;
        scanner.skip_value()?;
        look(Member { name: &scanner.text[start..end], value: value..scanner.at });
        Ok(true)
    });
}

/// Checks that `text` is UTF-8.
pub(super) fn check_utf8(text: &[u8]) -> Result<(), DecodeError> {
    // Nearly all is ASCII, and whether it is takes a fraction of the time.
    if text.is_ascii() {
        return Ok(());
    }
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(DecodeError::new(Code::InvalidUtf8, format!("not UTF-8 at byte {}", error.valid_up_to()))),
    }
}

/// The text of a string's content that passed the scanner.
pub(super) fn unescape(content: &[u8]) -> String {
    let mut out = Vec::with_capacity(content.len());
    unescape_into(content, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends the text of a string's content that passed the scanner. Gives whether no escape names half of a surrogate
/// pair.
pub(super) fn unescape_into(content: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = content;
    let mut whole = true;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((&letter, after)) = rest.split_first() else { return whole };
        rest = after;
        match letter {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (after, is_whole) = unescape_unicode(rest, out);
                rest = after;
                whole &= is_whole;
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest);
    whole
}

/// Reads four hex digits, and the second half of a surrogate pair where there is one. Gives what follows, and whether
/// they name a character.
fn unescape_unicode<'a>(text: &'a [u8], out: &mut Vec<u8>) -> (&'a [u8], bool) {
    let Some((first, mut rest)) = hex4(text) else { return (text, false) };
    let mut code = first;
    if (0xD800..0xDC00).contains(&first)
        && let Some(after) = rest.strip_prefix(b"\\u")
        && let Some((second @ 0xDC00..0xE000, after)) = hex4(after)
    {
        code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        rest = after;
    }
    let character = char::from_u32(code);
    let written = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(written.encode_utf8(&mut [0; 4]).as_bytes());
    (rest, character.is_some())
}

fn hex4(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let value = digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))?;
    Some((value, rest))
}

/// Appends `text` as a JSON string, quotes included.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[clean..at]);
        clean = at + 1;
        if short == 0 {
            let [high, low] = hex(byte);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&bytes[clean..]);
    out.push(b'"');
}

/// The two lower-case hex digits of a byte.
pub(super) const fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}

/// Appends a number.
pub(super) fn write_unsigned(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// What is wrong at the scanner's position. One byte, so that results travel in registers.
#[derive(Debug, Clone, Copy)]
enum Fault {
    NoValue,
    NoEnd,
    NoName,
    NoColon,
    NoQuote,
    NoDigit,
    NoWord,
    NoEscape,
    NoHexDigits,
    ControlCharacter,
    ObjectGoesOn,
    ArrayGoesOn,
    TooDeep,
    NoObject,
}

impl Fault {
    const fn expected(self) -> &'static str {
        match self {
            Self::NoValue => "a value",
            Self::NoEnd => "the end",
            Self::NoName => "a name in quotes",
            Self::NoColon => "\":\"",
            Self::NoQuote => "\"",
            Self::NoDigit => "a digit",
            Self::NoWord => "true, false or null",
            Self::NoEscape => "an escape",
            Self::NoHexDigits => "four hex digits",
            Self::ControlCharacter => "an escaped control character",
            Self::ObjectGoesOn => "\",\" or \"}\"",
            Self::ArrayGoesOn => "\",\" or \"]\"",
            Self::TooDeep => "less nesting",
            Self::NoObject => "an object",
        }
    }
}

/// Which containers are open, one bit each: set for an object.
struct Open {
    bits: [u64; DEEPEST / 64],
    depth: usize,
}

impl Open {
    const fn new() -> Self {
        Self { bits: [0; DEEPEST / 64], depth: 0 }
    }

    const fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        if is_object {
            self.bits[word] |= bit;
        } else {
            self.bits[word] &= !bit;
        }
        self.depth += 1;
    }

    const fn is_object(&self) -> bool {
        let top = self.depth - 1;
        self.bits[top / 64] & (1 << (top % 64)) != 0
    }
}

/// A position in JSON text.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    max_depth: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a [u8], max_depth: usize) -> Self {
        Self { text, at: 0, max_depth: max_depth.min(DEEPEST) }
    }

    fn error(&self, fault: Fault) -> DecodeError {
        let at = self.at;
        match fault {
            Fault::TooDeep => {
                DecodeError::new(Code::TooDeep, format!("nested deeper than {} at byte {at}", self.max_depth))
            }
            Fault::NoObject => DecodeError::new(Code::InvalidEnvelope, "the message is no object"),
            other => DecodeError::new(Code::InvalidJson, format!("expected {} at byte {at}", other.expected())),
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Goes to the next byte that is no space, and gives it: the first of a token. At the end it is 0, with which no token
    /// begins.
    #[inline]
    fn token(&mut self) -> u8 {
        match self.peek() {
            Some(byte) if byte > b' ' => byte,
            _ => self.token_behind_space(),
        }
    }

    #[cold]
    fn token_behind_space(&mut self) -> u8 {
        self.skip_space();
        self.peek().unwrap_or(0)
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Fault::NoEnd) }
    }

    /// Reads a whole text whose value must be an object, and notes its members.
    fn envelope(&mut self, envelope: &mut Envelope) -> Result<(), Fault> {
        let first = self.token();
        if first != b'{' {
            self.value(first)?;
            self.finish()?;
            return Err(Fault::NoObject);
        }
        self.at += 1;
        let mut next = self.token();
        if next == b'}' {
            self.at += 1;
            return self.finish();
        }
        loop {
            let key = self.key(next)?;
            let first = self.token();
            let start = self.at;
            let kind = self.value(first)?;
            if let Some(key) = key {
                envelope.set(key, member(key, kind, start, self.at));
            }
            match self.token() {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(Fault::ObjectGoesOn),
            }
            next = self.token();
        }
        self.at += 1;
        self.finish()
    }

    /// Reads an object. For each member `value` is told where the content of its name is; it reads the value, and
    /// says whether to go on.
    fn members(&mut self, mut value: impl FnMut(&mut Self, usize, usize) -> Result<bool, Fault>) -> Result<(), Fault> {
        let mut next = b'{';
        while self.token() == next {
            self.at += 1;
            let quote = self.token();
            if quote == b'}' {
                break;
            }
            let start = self.at + 1;
            let (_, end) = self.name(quote)?;
            self.skip_space();
            if !value(self, start, end)? {
                break;
            }
            next = b',';
        }
        Ok(())
    }

    /// Reads a value; gives the spans of its items if it is an array.
    fn items(&mut self, most: usize) -> Result<Option<Vec<Range<usize>>>, Fault> {
        if self.peek() != Some(b'[') {
            return Ok(None);
        }
        self.at += 1;
        self.skip_space();
        let mut spans = Vec::new();
        while self.peek() != Some(b']') && spans.len() <= most {
            let start = self.at;
            self.skip_value()?;
            spans.push(start..self.at);
            self.skip_space();
            if self.peek() == Some(b',') {
                self.at += 1;
                self.skip_space();
            }
        }
        Ok(Some(spans))
    }

    /// Reads a member's name, whose first byte is given, and the colon; says which member of the envelope it names.
    #[inline]
    fn key(&mut self, first: u8) -> Result<Option<Key>, Fault> {
        let start = self.at + 1;
        let (kind, end) = self.name(first)?;
        let name = &self.text[start..end];
        Ok(match kind {
            // An escape takes at most six bytes for one.
            Kind::Escaped if name.len() <= Key::LONGEST * 6 => Key::from_name(unescape(name).as_bytes()),
            Kind::Escaped => None,
            _ => Key::from_name(name),
        })
    }

    /// Reads a string, whose first byte is given, and a colon. Gives the string's kind and where its content ends.
    #[inline]
    fn name(&mut self, first: u8) -> Result<(Kind, usize), Fault> {
        if first != b'"' {
            return Err(Fault::NoName);
        }
        let kind = self.string()?;
        let end = self.at - 1;
        if self.token() != b':' {
            return Err(Fault::NoColon);
        }
        self.at += 1;
        Ok((kind, end))
    }

    /// Reads one value with everything in it. The space before it is already skipped.
    fn skip_value(&mut self) -> Result<Kind, Fault> {
        self.value(self.peek().unwrap_or(0))
    }

    /// The same, for those who know its first byte.
    #[inline]
    fn value(&mut self, first: u8) -> Result<Kind, Fault> {
        match first {
            b'{' | b'[' => self.container(first).map(|()| Kind::Other),
            _ => self.scalar(first),
        }
    }

    /// Reads an object or an array, and everything in it.
    fn container(&mut self, mut first: u8) -> Result<(), Fault> {
        let mut open = Open::new();
        loop {
            first = match first {
                b'{' => {
                    self.enter(&mut open, true)?;
                    match self.token() {
                        b'}' => self.go_on(&mut open)?,
                        quote => {
                            self.name(quote)?;
                            self.token()
                        }
                    }
                }
                b'[' => {
                    self.enter(&mut open, false)?;
                    match self.token() {
                        b']' => self.go_on(&mut open)?,
                        item => item,
                    }
                }
                scalar => {
                    self.scalar(scalar)?;
                    self.go_on(&mut open)?
                }
            };
            if open.depth == 0 {
                return Ok(());
            }
        }
    }

    #[inline]
    fn enter(&mut self, open: &mut Open, is_object: bool) -> Result<(), Fault> {
        if open.depth >= self.max_depth {
            return Err(Fault::TooDeep);
        }
        self.at += 1;
        open.push(is_object);
        Ok(())
    }

    /// Reads what stands between two values: the ends of containers, a comma, a name. Gives the first byte of the next value,
    /// if anything is still open.
    #[inline]
    fn go_on(&mut self, open: &mut Open) -> Result<u8, Fault> {
        while open.depth > 0 {
            let is_object = open.is_object();
            match self.token() {
                b',' => {
                    self.at += 1;
                    let next = self.token();
                    if !is_object {
                        return Ok(next);
                    }
                    self.name(next)?;
                    return Ok(self.token());
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ if is_object => return Err(Fault::ObjectGoesOn),
                _ => return Err(Fault::ArrayGoesOn),
            }
            self.at += 1;
            open.depth -= 1;
        }
        Ok(0)
    }

    #[inline]
    fn scalar(&mut self, first: u8) -> Result<Kind, Fault> {
        match first {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => Err(Fault::NoValue),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<Kind, Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Fault::NoWord);
        }
        self.at += word.len();
        Ok(Kind::Other)
    }

    /// Reads a string from its opening quote.
    #[inline]
    fn string(&mut self) -> Result<Kind, Fault> {
        let text = self.text;
        self.at = plain_until(text, self.at + 1);
        if text.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Kind::Text);
        }
        self.escaped_string()
    }

    /// Reads the rest of a string, from its first byte that may not stand as it is.
    #[cold]
    fn escaped_string(&mut self) -> Result<Kind, Fault> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Kind::Escaped);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(Fault::ControlCharacter),
                None => return Err(Fault::NoQuote),
            }
            self.at = plain_until(self.text, self.at);
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(Fault::NoHexDigits);
                    }
                    self.at += 1;
                }
            }
            _ => return Err(Fault::NoEscape),
        }
        Ok(())
    }

    #[inline]
    fn number(&mut self) -> Result<Kind, Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(Fault::NoDigit) } else { Ok(()) }
    }
}

/// The span of a member: content without quotes for strings, except for the payload.
fn member(key: Key, kind: Kind, start: usize, end: usize) -> Value {
    let is_payload = matches!(key, Key::Payload | Key::PayloadAlias);
    match kind {
        Kind::Text | Kind::Escaped if !is_payload => Value::new(kind, start + 1, end - 1),
        _ => Value::new(kind, start, end),
    }
}

/// Where the bytes from `at` on end that may stand in a string as they are.
#[inline]
fn plain_until(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    while let Some(Ok(chunk)) = text.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_le_bytes(chunk);
        // The lowest bit set in each term is exact; higher ones may be borrowed from it.
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        let special = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash);
        let special = special & TOPS;
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&byte) = text.get(at) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            break;
        }
        at += 1;
    }
    at
}

/// A piece of JSON text that passed [`check`], for a caller that rewrites it.
pub(super) enum Token<'a> {
    ObjectStart,
    ArrayStart,
    End,
    /// A name or a string value: its content, still escaped.
    Text(&'a [u8]),
    Number(&'a str),
    Bool(bool),
    Null,
}

/// Cuts JSON text that passed [`check`] into its pieces, in order.
pub(super) struct Tokens<'a>(Scanner<'a>);

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self(Scanner::new(text, DEEPEST))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let scanner = &mut self.0;
        while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') = scanner.peek() {
            scanner.at += 1;
        }
        let text = scanner.text;
        let start = scanner.at;
        let single = match scanner.peek()? {
            b'{' => Token::ObjectStart,
            b'[' => Token::ArrayStart,
            b'}' | b']' => Token::End,
            first => {
                scanner.scalar(first).ok()?;
                return Some(match first {
                    b'"' => Token::Text(&text[start + 1..scanner.at - 1]),
                    b't' => Token::Bool(true),
                    b'f' => Token::Bool(false),
                    b'n' => Token::Null,
                    _ => Token::Number(std::str::from_utf8(&text[start..scanner.at]).unwrap_or("0")),
                });
            }
        };
        scanner.at += 1;
        Some(single)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &[u8]) -> Option<Code> {
        check(text, 64).err().map(|error| error.code)
    }

    #[test]
    fn grammar_is_strict() {
        for good in [
            "0",
            "-0",
            "1.5e+10",
            "-0.0E-1",
            r#""""#,
            r#""\u00e9\n\/\"""#,
            "true",
            "null",
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            r#"{"a":{"b":[]}}"#,
            r#""\ud800""#,
            "\"\u{7f}é😀\"",
            "1e999",
        ] {
            assert_eq!(code(good.as_bytes()), None, "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "0x1",
            "NaN",
            "tru",
            "True",
            "'a'",
            r#""a"#,
            r#""\x""#,
            r#""\u12g4""#,
            "\"\t\"",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            "{a:1}",
            r#"{"a" 1}"#,
            "{1:1}",
            "[",
            "]",
            "{}{}",
            "1 2",
            "//",
            "\u{feff}1",
            "\u{a0}1",
        ] {
            assert_eq!(code(bad.as_bytes()), Some(Code::InvalidJson), "{bad}");
        }
        assert_eq!(code(b"\"\xc3\x28\""), Some(Code::InvalidUtf8));
        assert_eq!(code(b"\"\xed\xa0\x80\""), Some(Code::InvalidUtf8));
    }

    #[test]
    fn every_special_byte_is_found_at_every_place() {
        for length in 0..40 {
            for at in 0..length {
                for special in [b'"', b'\\', 0, 0x1F] {
                    let mut text = vec![0x7F; length];
                    text[at] = special;
                    assert_eq!(plain_until(&text, 0), at, "{special} at {at} of {length}");
                    text[length - 1] = b'"';
                    assert_eq!(plain_until(&text, 0), at, "{special} at {at} of {length}, quoted");
                }
            }
            assert_eq!(plain_until(&vec![0xFF; length], 0), length);
            assert_eq!(plain_until(&vec![0x20; length], 0), length);
        }
    }

    #[test]
    fn depth_is_bounded_before_it_costs() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert_eq!(check(nested(64).as_bytes(), 64), Ok(()));
        assert_eq!(code(nested(65).as_bytes()), Some(Code::TooDeep));
        assert_eq!(code("[".repeat(10_000).as_bytes()), Some(Code::TooDeep));
        assert_eq!(code(r#"{"a":"#.repeat(10_000).as_bytes()), Some(Code::TooDeep));
        assert_eq!(check(nested(DEEPEST).as_bytes(), usize::MAX), Ok(()));
        assert!(check(nested(DEEPEST + 1).as_bytes(), usize::MAX).is_err());
        assert_eq!(check(b"[]", 0).err().map(|error| error.code), Some(Code::TooDeep));
        assert_eq!(check(b"1", 0), Ok(()));
    }

    #[test]
    fn kinds_of_containers_are_remembered_across_words() {
        let open: String = (0..200).map(|at| if at % 3 == 0 { r#"{"a":"# } else { "[" }).collect();
        let close: String = (0..200).rev().map(|at| if at % 3 == 0 { "}" } else { "]" }).collect();
        assert_eq!(check(format!("{open}1{close}").as_bytes(), 256), Ok(()));
        assert!(check(format!("{open}1{}", close.replacen('}', "]", 1)).as_bytes(), 256).is_err());
    }

    #[test]
    fn escapes_become_text() {
        let cases = [
            (r#"a\"b\\\/\b\f\n\r\t"#, "a\"b\\/\u{8}\u{c}\n\r\t"),
            (r"\u00e9\u4e16\ud83d\ude00", "é世😀"),
            (r"\ud83d", "\u{fffd}"),
            (r"\ude00x", "\u{fffd}x"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            ("é😀", "é😀"),
        ];
        for (escaped, text) in cases {
            assert_eq!(unescape(escaped.as_bytes()), text);
        }
    }

    #[test]
    fn strings_are_written_with_the_escapes_they_need() {
        let mut out = Vec::new();
        write_string("a\"\\/\u{0}\u{8}\t\n\u{c}\r\u{1f}é", &mut out);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), r#""a\"\\/\u0000\b\t\n\f\r\u001fé""#);
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 9, 10, 1_700_000_000_000, u64::MAX] {
            let mut out = Vec::new();
            write_unsigned(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
