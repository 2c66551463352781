//! The few shapes of DER that keys come in. Source: X.690, RFC 5280 §4.1 (public keys), RFC 5958 (private keys).

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// `rsaEncryption` and its empty parameters. Source: RFC 3279 §2.3.1.
const RSA: &[u8] = &[0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];

/// `id-ecPublicKey` on the curve P-256. Source: RFC 5480 §2.1.1.
const P256: &[u8] =
    &[0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];

/// A public key, read but not checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey<'a> {
    /// Modulus and exponent, big-endian.
    Rsa { n: &'a [u8], e: &'a [u8] },
    /// A point in uncompressed form.
    P256(&'a [u8]),
}

/// Reads a `SubjectPublicKeyInfo`, what PEM calls `PUBLIC KEY`. `None`: malformed, or another kind of key.
pub(super) fn public_key(der: &[u8]) -> Option<PublicKey<'_>> {
    let (kind, rest) = take(all(der, SEQUENCE)?, SEQUENCE)?;
    let key = all(rest, BIT_STRING)?.strip_prefix(&[0])?;
    match kind {
        RSA => {
            let (n, rest) = take(all(key, SEQUENCE)?, INTEGER)?;
            Some(PublicKey::Rsa { n, e: all(rest, INTEGER)? })
        }
        P256 => Some(PublicKey::P256(key)),
        _ => None,
    }
}

/// Wraps an `ECPrivateKey` of P-256, what PEM calls `EC PRIVATE KEY`, as PKCS #8. Source: RFC 5915, RFC 5958 §2.
pub(super) fn pkcs8_of_p256(ec_private_key: &[u8]) -> Vec<u8> {
    let version = value(INTEGER, &[0]);
    let parts = [version, value(SEQUENCE, P256), value(OCTET_STRING, ec_private_key)];
    value(SEQUENCE, &parts.concat())
}

/// The content of the only value in `input`.
fn all(input: &[u8], tag: u8) -> Option<&[u8]> {
    take(input, tag).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// The content of the first value, and what follows it.
fn take(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = input.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (len, rest) = match short {
        0..=0x7F => (usize::from(short), rest),
        0x81 | 0x82 => {
            let (long, rest) = rest.split_at_checked(usize::from(short & 0x0F))?;
            (long.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (first == tag).then(|| rest.split_at_checked(len)).flatten()
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("keys are shorter than 64 KiB").to_be_bytes();
    let mut out = vec![tag];
    match (high, low) {
        (0, 0..=0x7F) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_or_goes_on_is_no_key() {
        let point = [&[4][..], &[7; 64]].concat();
        let parts = [value(SEQUENCE, P256), value(BIT_STRING, &[&[0][..], &point].concat())].concat();
        let der = value(SEQUENCE, &parts);
        assert_eq!(public_key(&der), Some(PublicKey::P256(&point)));
        for end in 0..der.len() {
            assert_eq!(public_key(&der[..end]), None, "{end}");
        }
        assert_eq!(public_key(&[&der[..], &[0]].concat()), None);
    }

    #[test]
    fn long_lengths_are_read_as_they_are_written() {
        for len in [0, 1, 127, 128, 255, 256, 5000] {
            let content = vec![1; len];
            assert_eq!(all(&value(INTEGER, &content), INTEGER), Some(&content[..]), "{len}");
        }
        assert_eq!(all(&[INTEGER, 0x80], INTEGER), None);
        assert_eq!(all(&[INTEGER, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], INTEGER), None);
    }
}
