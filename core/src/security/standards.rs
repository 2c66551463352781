//! Known answers of public standards, run through the code that connections use. Data and sources:
//! `tests/vectors/standards`.

use hmac::Mac as _;
use serde::Deserialize;

use super::{
    KeyPair, Role, channel, hkdf_sha256,
    sign::{hex, mac, unhex},
};
use crate::rng::{Rng, Seed};

#[derive(Deserialize)]
struct File<T> {
    source: String,
    licence: String,
    cases: Vec<T>,
}

fn cases<T: for<'a> Deserialize<'a>>(json: &str, at_least: usize) -> Vec<T> {
    let file: File<T> = serde_json::from_str(json).expect("a file of vectors");
    assert!(!file.source.is_empty() && !file.licence.is_empty());
    assert!(file.cases.len() >= at_least, "{} cases", file.cases.len());
    file.cases
}

fn bytes(text: &str) -> Vec<u8> {
    unhex(text).expect("hex")
}

#[test]
fn hkdf_of_rfc_5869() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        secret: String,
        salt: String,
        info: String,
        out: String,
    }
    for case in cases::<Case>(include_str!("../../../tests/vectors/standards/hkdf_sha256.json"), 3) {
        let (salt, info) = (bytes(&case.salt), bytes(&case.info));
        let mut out = vec![0; case.out.len() / 2];
        // Parts are joined: cut anywhere, they give the same.
        let parts = [&info[..info.len() / 2], &info[info.len() / 2..]];
        hkdf_sha256(Some(salt.as_slice()).filter(|salt| !salt.is_empty()), &bytes(&case.secret), &parts, &mut out)
            .expect("short enough");
        assert_eq!(hex(&out), case.out, "{}", case.name);
    }
    assert!(hkdf_sha256(None, b"x", &[], &mut [0; 255 * 32 + 1]).is_err());
}

#[test]
fn hmac_of_rfc_4231_and_wycheproof() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        key: String,
        message: String,
        mac: String,
        valid: bool,
    }
    for case in cases::<Case>(include_str!("../../../tests/vectors/standards/hmac_sha256.json"), 15) {
        let mac = mac(&bytes(&case.key), &bytes(&case.message));
        assert_eq!(mac.clone().verify_slice(&bytes(&case.mac)).is_ok(), case.valid, "{}", case.name);
        assert_eq!(hex(&mac.finalize().into_bytes()) == case.mac, case.valid, "{}", case.name);
    }
}

#[test]
fn aes_gcm_of_nist_and_wycheproof() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        key: String,
        iv: String,
        aad: String,
        message: String,
        sealed: String,
        tag: String,
        valid: bool,
    }
    let mut opened = 0;
    for case in cases::<Case>(include_str!("../../../tests/vectors/standards/aes_256_gcm.json"), 40) {
        let key = bytes(&case.key).try_into().expect("32 bytes");
        let iv: [u8; 12] = bytes(&case.iv).try_into().expect("12 bytes");
        let frame = [b"E:", &iv[..], &bytes(&case.sealed), &bytes(&case.tag)].concat();
        let (sealer, mut opener) = channel(&key, Role::Client, &mut Rng::new(Seed::from_u64(1)));
        let ours = sealer.seal_as(iv, &bytes(&case.message));
        if case.valid && case.aad.is_empty() {
            assert_eq!(opener.open(&frame), Ok(bytes(&case.message)), "{}", case.name);
            assert_eq!(ours, frame, "{}", case.name);
            opened += 1;
        } else {
            assert!(opener.open(&frame).is_err(), "{}", case.name);
            assert!(case.message.is_empty() || ours != frame, "{}", case.name);
        }
    }
    assert!(opened >= 20, "{opened}");
}

#[test]
fn ecdh_of_wycheproof() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        flags: Vec<String>,
        public: String,
        private: String,
        shared: String,
        result: String,
    }
    let mut agreed = 0;
    for case in cases::<Case>(include_str!("../../../tests/vectors/standards/ecdh_p256.json"), 50) {
        let secret = bytes(&case.private);
        let mut padded = [0; 32];
        let digits = secret.strip_prefix(&[0]).filter(|rest| rest.len() == 32).unwrap_or(&secret);
        padded[32 - digits.len()..].copy_from_slice(digits);
        let pair = KeyPair::from_secret_bytes(&padded).expect("a valid secret");
        let shared = pair.shared_secret(&bytes(&case.public));
        // Compressed points are acceptable to the vectors, and no form of this protocol.
        let compressed = case.flags.iter().any(|flag| flag == "CompressedPoint" || flag == "CompressedPublic");
        if case.result == "valid" && !compressed {
            assert_eq!(shared.map(|shared| hex(&shared)), Ok(case.shared), "{}", case.name);
            agreed += 1;
        } else {
            assert!(shared.is_err(), "{}", case.name);
        }
    }
    assert!(agreed >= 30, "{agreed}");
}
