//! Signatures over messages: HMAC-SHA256 in the three forms that published packages write.
//! Source: PROTOCOL.md §5.3, RFC 2104.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How a bare signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureForm {
    /// 1.x clients and all servers: lower-case hex of the HMAC over the lower-case hex SHA-256 of the text.
    HashedHex,
    /// 2.x clients: base64 of the HMAC over the text itself.
    PlainBase64,
}

/// Signs a JSON text. The key may have any length; 32 bytes of randomness are right.
pub fn sign(key: &[u8], text: &str, form: SignatureForm) -> String {
    match form {
        SignatureForm::HashedHex => hex(&mac(key, sha256_hex(text).as_bytes()).finalize().into_bytes()),
        SignatureForm::PlainBase64 => STANDARD.encode(mac(key, text.as_bytes()).finalize().into_bytes()),
    }
}

/// Whether a bare signature of either form belongs to this text and key. Compares in constant time.
pub fn verify(key: &[u8], text: &str, signature: &str) -> bool {
    let hashed = || mac(key, sha256_hex(text).as_bytes());
    let plain = || STANDARD.decode(signature).is_ok_and(|tag| mac(key, text.as_bytes()).verify_slice(&tag).is_ok());
    unhex(signature).is_some_and(|tag| hashed().verify_slice(&tag).is_ok()) || plain()
}

/// The member `sig` of an envelope, `hash:timestamp:nonce:hmac`, over its canonical JSON without `sig`.
///
/// `timestamp` is Unix seconds as decimal text, `nonce` hex; neither may contain a colon.
pub fn sign_envelope(key: &[u8], canonical: &str, timestamp: &str, nonce: &str) -> String {
    let signed = format!("{}:{timestamp}:{nonce}", sha256_hex(canonical));
    let tag = mac(key, signed.as_bytes()).finalize().into_bytes();
    format!("{signed}:{}", hex(&tag))
}

/// Whether a member `sig` belongs to this canonical JSON and key. Compares in constant time. Age and reuse of
/// its timestamp and nonce are the caller's to check.
pub fn verify_envelope(key: &[u8], canonical: &str, signature: &str) -> bool {
    let Some((signed, tag)) = signature.rsplit_once(':') else { return false };
    let right_text = signed.split(':').next() == Some(&sha256_hex(canonical));
    let right_key = unhex(tag).is_some_and(|tag| mac(key, signed.as_bytes()).verify_slice(&tag).is_ok());
    right_text && right_key
}

/// The canonical JSON that signatures are made over: keys sorted, `", "` and `": "` between, everything beyond
/// ASCII escaped, numbers as Python writes them.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

/// Values that came from the wire nest no deeper than its limit, so recursion is bounded.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => write_float(float, out),
            None => out.push_str(&number.to_string()),
        },
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (at, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_string(name, out);
                out.push_str(": ");
                write_canonical(member, out);
            }
            out.push('}');
        }
    }
}

/// As Python's `repr` does: the shortest digits that give the same number, with an exponent from 1e16 on and below
/// 1e-4. The exponent has a sign and at least two digits: `1e+16`, `1e-07`.
fn write_float(float: f64, out: &mut String) {
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = float.to_string();
        out.push_str(&plain);
        out.push_str(if plain.contains('.') { "" } else { ".0" });
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()));
    }
}

fn write_string(text: &str, out: &mut String) {
    let quoted = Value::from(text).to_string();
    for character in quoted.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

pub(super) fn mac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac
}

pub(super) fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_canonical_form_is_that_of_the_published_router() {
        let value = json!({"b": [1, 2.5, null, true], "a": "é\n\"😀", "c": {"z": 1e16, "y": 1e-7, "x": -0.0}});
        let expected =
            r#"{"a": "\u00e9\n\"\ud83d\ude00", "b": [1, 2.5, null, true], "c": {"x": -0.0, "y": 1e-07, "z": 1e+16}}"#;
        assert_eq!(canonical_json(&value), expected);
    }

    /// Written by Python 3.11: `json.dumps(json.loads(text))`.
    #[test]
    fn numbers_are_those_of_python() {
        for (text, expected) in [
            ("0", "0"),
            ("-7", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            ("0.0", "0.0"),
            ("-0.0", "-0.0"),
            ("1.0", "1.0"),
            ("2.5", "2.5"),
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
            let value: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(canonical_json(&value), expected, "{text}");
        }
    }

    #[test]
    fn a_changed_text_key_or_signature_is_refused() {
        let signature = sign_envelope(b"key", "{}", "1700000000.5", "00ff");
        assert!(verify_envelope(b"key", "{}", &signature));
        assert!(!verify_envelope(b"kex", "{}", &signature));
        assert!(!verify_envelope(b"key", "{ }", &signature));
        assert!(!verify_envelope(b"key", "{}", &signature.replace("1700000000.5", "1700000001.5")));
        assert!(!verify_envelope(b"key", "{}", "nonsense"));
        for form in [SignatureForm::HashedHex, SignatureForm::PlainBase64] {
            let signature = sign(b"key", "{}", form);
            assert!(verify(b"key", "{}", &signature));
            assert!(!verify(b"kex", "{}", &signature));
            assert!(!verify(b"key", "{ }", &signature));
        }
        assert!(!verify(b"key", "{}", ""));
    }
}
