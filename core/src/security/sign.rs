//! Signatures over messages: HMAC-SHA256 in the three forms that published packages write.
//! Source: PROTOCOL.md §5.3, RFC 2104.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::wire::{self, Payload};

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
/// ASCII escaped, numbers as Python writes them. `None` when `text` is no JSON, nests deeper than 64, or has a number
/// out of range or half of a surrogate pair.
pub fn canonical_json(text: &str) -> Option<String> {
    let payload = Payload::from_json(text.to_owned()).ok()?;
    wire::canonical(&payload.to_json())
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
    use super::*;

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
