//! The one text of a JSON value that signatures are made over, as Python writes it. Source: PROTOCOL.md §5.3.

use std::collections::BTreeMap;

use super::{
    json::{self, Token, Tokens},
    number,
};

/// Levels of nesting of what can be signed, the envelope among them.
const DEEPEST: usize = 128;

/// The canonical form of JSON text that passed the checks of [`json`]. `None` when it nests too deep, or has a number
/// out of range or half of a surrogate pair, which not every end reads alike.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut tokens = Tokens::new(text.as_bytes());
    let first = tokens.next()?;
    write(first, &mut tokens, DEEPEST, &mut out)?;
    Some(out)
}

fn write(token: Token<'_>, rest: &mut Tokens<'_>, deepest: usize, out: &mut String) -> Option<()> {
    match token {
        Token::ObjectStart => write_object(rest, deepest.checked_sub(1)?, out)?,
        Token::ArrayStart => write_array(rest, deepest.checked_sub(1)?, out)?,
        Token::End => return None,
        Token::Text(content) => write_string(&text_of(content)?, out),
        Token::Number(text) => write_number(text, out)?,
        Token::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Token::Null => out.push_str("null"),
    }
    Some(())
}

fn write_array(rest: &mut Tokens<'_>, deepest: usize, out: &mut String) -> Option<()> {
    let mut before = "[";
    loop {
        match rest.next()? {
            Token::End => break,
            item => {
                out.push_str(before);
                write(item, rest, deepest, out)?;
                before = ", ";
            }
        }
    }
    out.push_str(if before == "[" { "[]" } else { "]" });
    Some(())
}

/// Members stand in the order of their names; of several of one name the last counts.
fn write_object(rest: &mut Tokens<'_>, deepest: usize, out: &mut String) -> Option<()> {
    let mut members = BTreeMap::new();
    while let Token::Text(name) = rest.next()? {
        let mut member = String::new();
        let value = rest.next()?;
        write(value, rest, deepest, &mut member)?;
        members.insert(text_of(name)?, member);
    }
    let mut before = "{";
    for (name, member) in &members {
        out.push_str(before);
        write_string(name, out);
        out.push_str(": ");
        out.push_str(member);
        before = ", ";
    }
    out.push_str(if before == "{" { "{}" } else { "}" });
    Some(())
}

/// Whole numbers of 64 bits keep their digits; all others are doubles.
fn write_number(text: &str, out: &mut String) -> Option<()> {
    if text.parse::<u64>().is_ok() || text.parse::<i64>().is_ok_and(|number| number != 0) {
        out.push_str(text);
        return Some(());
    }
    let number = number::parse(text);
    number.is_finite().then(|| number::write_as_python(number, out))
}

fn text_of(content: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(content.len());
    let whole = json::unescape_into(content, &mut text);
    String::from_utf8(text).ok().filter(|_| whole)
}

/// Everything but the visible characters of ASCII and the space is escaped.
fn write_string(text: &str, out: &mut String) {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    json::write_string(text, &mut quoted);
    for character in String::from_utf8_lossy(&quoted).chars() {
        if matches!(character, ' '..='~') {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str("\\u");
            let digits = unit.to_be_bytes().map(json::hex);
            out.extend(digits.into_iter().flatten().map(char::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_and_everything_beyond_ascii_is_escaped() {
        let text = r#" {"b":[1,2.5, null,true,[],{}],"a":"é\n\"\ud83d\ude00\u007f\u0001","a\u0062":false,"c":{"z":1e16,"y":1e-7,"x":-0.0}} "#;
        let expected = concat!(
            r#"{"a": "\u00e9\n\"\ud83d\ude00\u007f\u0001", "ab": false, "b": [1, 2.5, null, true, [], {}], "#,
            r#""c": {"x": -0.0, "y": 1e-07, "z": 1e+16}}"#
        );
        assert_eq!(canonical(text).as_deref(), Some(expected));
        assert_eq!(canonical(r#"{"a":1,"a":{"b":2}}"#).as_deref(), Some(r#"{"a": {"b": 2}}"#), "the last counts");
    }

    #[test]
    fn what_is_not_read_alike_everywhere_has_no_form() {
        for text in [r#""\ud800""#, r#"{"\udc00":1}"#, r#"["\ud800\u0041"]"#, "1e999", "[-1e400]"] {
            assert_eq!(canonical(text), None, "{text}");
        }
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert_eq!(canonical(&nested(DEEPEST)), Some(nested(DEEPEST)));
        assert_eq!(canonical(&nested(DEEPEST + 1)), None);
    }

    /// Written by Python 3.11: `json.dumps(json.loads(text))`.
    #[test]
    fn numbers_are_those_of_python() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "-0.0"),
            ("-7", "-7"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551615", "18446744073709551615"),
            ("0.0", "0.0"),
            ("-0.0", "-0.0"),
            ("1.0", "1.0"),
            ("2.5", "2.5"),
            ("120", "120"),
            ("120.0", "120.0"),
            ("0.1", "0.1"),
            ("0.001", "0.001"),
            ("0.0001", "0.0001"),
            ("0.00012", "0.00012"),
            ("0.00001", "1e-05"),
            ("1.234e-5", "1.234e-05"),
            ("9.99e-5", "9.99e-05"),
            ("-0.00001", "-1e-05"),
            ("1e-7", "1e-07"),
            ("1e15", "1000000000000000.0"),
            ("999999999999999.9", "999999999999999.9"),
            ("1e16", "1e+16"),
            ("1.5e16", "1.5e+16"),
            ("12345678901234567890.5", "1.2345678901234567e+19"),
            ("1e22", "1e+22"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("9007199254740993.0", "9007199254740992.0"),
            ("1e100", "1e+100"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }
}
