//! Fernet tokens, as backends store and exchange them. Source: the Fernet specification (github.com/fernet/spec),
//! version 0x80: AES-128-CBC with PKCS #7 padding, then HMAC-SHA256.

use std::time::Duration;

use aes::Aes128;
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use hmac::Mac as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{error::Code, rng::Rng, time::WallTime};

use super::{Secret, sign::mac};

const VERSION: u8 = 0x80;
const HEAD_LEN: usize = 1 + 8 + 16;
const TAG_LEN: usize = 32;

/// How far in the future a stamp may lie. Source: the specification's clock skew.
const MAX_SKEW: u64 = 60;

/// A Fernet key: one half signs, the other encrypts. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Fernet {
    signing: [u8; 16],
    encryption: [u8; 16],
}

impl Fernet {
    /// A key from its usual text form, URL-safe base64 of 32 bytes.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] when it is anything else.
    pub fn new(key: &Secret) -> Result<Self, Code> {
        let mut bytes = URL_SAFE.decode(key.expose()).map_err(|_| Code::InvalidConfig)?;
        let halves = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>());
        let fernet = match (bytes.len(), halves) {
            (32, (Some(signing), Some(encryption))) => Ok(Self { signing: *signing, encryption: *encryption }),
            _ => Err(Code::InvalidConfig),
        };
        bytes.zeroize();
        fernet
    }

    /// A token over `plain`, stamped with `now`.
    pub fn seal(&self, plain: &[u8], now: WallTime, rng: &mut Rng) -> String {
        self.seal_with(plain, now, rng.bytes())
    }

    fn seal_with(&self, plain: &[u8], now: WallTime, iv: [u8; 16]) -> String {
        let mut token = vec![VERSION];
        token.extend_from_slice(&(now.as_unix_ms() / 1000).to_be_bytes());
        token.extend_from_slice(&iv);
        let cipher = cbc::Encryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        token.extend_from_slice(&cipher.encrypt_padded_vec::<Pkcs7>(plain));
        let tag = mac(&self.signing, &token).finalize().into_bytes();
        token.extend_from_slice(&tag);
        URL_SAFE.encode(token)
    }

    /// The content of a genuine token that is not older than `life`; `None`: of any age.
    ///
    /// # Errors
    /// [`Code::DecryptFailed`] for anything else, a stamp more than a minute ahead included. The reason is not told.
    pub fn open(&self, token: &str, life: Option<Duration>, now: WallTime) -> Result<Vec<u8>, Code> {
        let token = URL_SAFE.decode(token).map_err(|_| Code::DecryptFailed)?;
        let (signed, tag) = token.split_last_chunk::<TAG_LEN>().ok_or(Code::DecryptFailed)?;
        // The tag comes first: nothing is decrypted, and no padding looked at, that is not genuine.
        mac(&self.signing, signed).verify_slice(tag).map_err(|_| Code::DecryptFailed)?;
        let (head, sealed) = signed.split_first_chunk::<HEAD_LEN>().ok_or(Code::DecryptFailed)?;
        let [VERSION, rest @ ..] = head else { return Err(Code::DecryptFailed) };
        let (stamp, iv) = rest.split_first_chunk::<8>().ok_or(Code::DecryptFailed)?;
        let (stamp, now) = (u64::from_be_bytes(*stamp), now.as_unix_ms() / 1000);
        let too_old = life.is_some_and(|life| stamp.saturating_add(life.as_secs()) < now);
        if too_old || stamp > now.saturating_add(MAX_SKEW) {
            return Err(Code::DecryptFailed);
        }
        let iv: &[u8; 16] = iv.try_into().map_err(|_| Code::DecryptFailed)?;
        cbc::Decryptor::<Aes128>::new(&self.encryption.into(), iv.into())
            .decrypt_padded_vec::<Pkcs7>(sealed)
            .map_err(|_| Code::DecryptFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[derive(serde::Deserialize)]
    struct File {
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        kind: String,
        #[serde(default)]
        desc: String,
        token: String,
        /// Unix seconds.
        now_s: u64,
        #[serde(default)]
        iv: Option<[u8; 16]>,
        #[serde(default)]
        src: String,
        #[serde(default)]
        ttl_sec: u64,
        secret: String,
    }

    #[test]
    fn the_vectors_of_the_specification_hold() {
        let file: File = serde_json::from_str(include_str!("../../../tests/vectors/standards/fernet.json"))
            .expect("a file of vectors");
        assert_eq!(file.cases.len(), 10);
        for case in file.cases {
            let fernet = Fernet::new(&case.secret.as_str().into()).expect("a key");
            let now = WallTime::from_unix_ms(case.now_s * 1000);
            let opened = fernet.open(&case.token, Some(Duration::from_secs(case.ttl_sec)), now);
            match case.kind.as_str() {
                "generate" => {
                    let iv = case.iv.expect("an IV");
                    assert_eq!(fernet.seal_with(case.src.as_bytes(), now, iv), case.token);
                }
                "verify" => assert_eq!(opened, Ok(case.src.into_bytes())),
                _ => assert_eq!(opened, Err(Code::DecryptFailed), "{}", case.desc),
            }
        }
    }

    #[test]
    fn what_was_sealed_opens_and_no_change_passes() {
        let fernet = Fernet::new(&URL_SAFE.encode([7; 32]).into()).expect("a key");
        let now = WallTime::from_unix_ms(1_771_601_400_000);
        for len in [0, 1, 15, 16, 17, 1000] {
            let plain = vec![3; len];
            let token = fernet.seal(&plain, now, &mut Rng::new(Seed::from_u64(1)));
            assert_eq!(fernet.open(&token, None, now), Ok(plain));
            let bytes = URL_SAFE.decode(&token).expect("base64");
            for place in (0..bytes.len()).step_by(7) {
                let mut changed = bytes.clone();
                changed[place] ^= 1;
                assert_eq!(fernet.open(&URL_SAFE.encode(changed), None, now), Err(Code::DecryptFailed));
            }
        }
    }

    #[test]
    fn a_key_has_32_bytes() {
        for text in ["", "AAAA", "not base64!", &URL_SAFE.encode([7; 31]), &URL_SAFE.encode([7; 33])] {
            assert_eq!(Fernet::new(&text.into()).err(), Some(Code::InvalidConfig), "{text}");
        }
    }
}
