//! Numbers that are no integers, from decimal text and back, exactly.
//!
//! The standard library does the same with 12 KiB of tables, which is much for a page to download.

/// The double nearest to a number of JSON. What is no such number gives some double.
pub(super) fn parse(text: &str) -> f64 {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !integer.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit()) {
        return f64::NAN;
    }
    let (integer, fraction) = (integer.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let value: f64 =
        minimal_lexical::parse_float(integer.as_bytes().iter(), fraction.as_bytes().iter(), exponent_of(exponent));
    if negative { -value } else { value }
}

/// An exponent too large for any number of digits that a frame can hold stands for all that are larger.
fn exponent_of(text: &str) -> i32 {
    const MOST: i32 = 1 << 30;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    sign * digits.bytes().fold(0, |value: i32, digit| (value * 10 + i32::from(digit & 15)).min(MOST / 16))
}

/// Appends a finite double with the fewest digits that give it back, as a number of JSON that is no integer.
pub(super) fn write(number: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
}

/// Appends a finite double as Python's `repr` does: the same digits, with an exponent from 1e16 on and below 1e-4. It
/// has a sign and at least two digits: `1e+16`, `1e-07`.
pub(super) fn write_as_python(number: f64, out: &mut String) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [integer, fraction].concat();
    let digits = all.trim_start_matches('0');
    let leading_zeros = (all.len() - digits.len()) as i32;
    let digits = digits.trim_end_matches('0');
    // Of the first digit.
    let exponent = exponent_of(exponent) + integer.len() as i32 - 1 - leading_zeros;
    if number.is_sign_negative() {
        out.push('-');
    }
    match exponent {
        _ if digits.is_empty() => out.push_str("0.0"),
        -4..0 => {
            out.push_str("0.");
            (exponent..-1).for_each(|_| out.push('0'));
            out.push_str(digits);
        }
        0..16 => {
            let (before, after) = digits.split_at(digits.len().min(exponent as usize + 1));
            out.push_str(before);
            (before.len()..exponent as usize + 1).for_each(|_| out.push('0'));
            out.push('.');
            out.push_str(if after.is_empty() { "0" } else { after });
        }
        _ => {
            let (before, after) = digits.split_at(1);
            out.push_str(before);
            out.push_str(if after.is_empty() { "" } else { "." });
            out.push_str(after);
            out.push_str(&format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(text: &str) {
        let expected: f64 = text.parse().expect("a number");
        assert_eq!(parse(text).to_bits(), expected.to_bits(), "{text}");
    }

    #[test]
    fn edges_are_read_as_the_standard_library_reads_them() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "0e5",
            "0.000",
            "1",
            "-1.5",
            "0.1",
            "0.30000000000000004",
            "1e23",
            "8.5e22",
            "9007199254740993",
            "9007199254740993.0",
            "9007199254740993.00000000000000000000000000000000001",
            "1.7976931348623157e308",
            "1.7976931348623159e308",
            "1e309",
            "-1e400",
            "5e-324",
            "2.5e-324",
            "2e-324",
            "2.2250738585072011e-308",
            "2.2250738585072014e-308",
            "1e-400",
            "1e99999999999",
            "1e-99999999999",
            "123456789012345678901234567890",
            "0.000000000000000000000000000000000000000001",
            "1E+2",
            "1e-2",
            "100e-2",
            "6.0221e+0000000000000023",
        ] {
            same(text);
        }
        assert!(parse("nonsense").is_nan());
        let long = ["1".repeat(2000), ".".into(), "3".repeat(2000), "e-1999".into()].concat();
        same(&long);
        same(&["0.", &"0".repeat(3000), "25e3001"].concat());
        same(&["5", &"0".repeat(3000), "e-2999"].concat());
    }

    proptest! {
        #[test]
        fn every_double_comes_back(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let mut out = Vec::new();
            write(number, &mut out);
            let text = String::from_utf8(out).expect("ASCII");
            prop_assert_eq!(parse(&text).to_bits(), bits);
            prop_assert_eq!(text.parse::<f64>().expect("a number").to_bits(), bits);
            prop_assert!(text.contains(['.', 'e']), "{}", text);
            let mut python = String::new();
            write_as_python(number, &mut python);
            prop_assert_eq!(parse(&python).to_bits(), bits);
        }

        #[test]
        fn any_text_of_a_number_is_read_right(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?") {
            same(&text);
        }
    }
}
