//! Short-lived tokens that a server gives out itself: for one connection, or for one topic. Source: PROTOCOL.md §5.6.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;
use serde::{Deserialize, Serialize};

use crate::{error::Code, rng::Rng, time::WallTime};

use super::{Secret, sign::mac};

/// How long a session token holds, when the issuer says nothing else.
pub const SESSION_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a channel token holds, when the issuer says nothing else.
pub const CHANNEL_LIFE: Duration = Duration::from_secs(60 * 60);

/// Shortest key of a signature or a token, in bytes. Source: RFC 7518 §3.2.
pub const MIN_KEY: usize = 32;

/// Tokens are no longer than this, in bytes.
const MAX_TOKEN: usize = 4096;

/// What the MAC covers in front of the claims, so that no other use of the key makes a token.
const CONTEXT: &str = "wse-token-1.";

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "use", rename_all = "snake_case")]
pub enum Purpose {
    /// One connection.
    Session {
        /// The server's name for the connection.
        connection: String,
    },
    /// One topic.
    Channel {
        /// The topic, an exact name.
        topic: String,
    },
}

/// What a genuine token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose it is.
    pub user: String,
    /// What it is good for.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// The first moment at which it no longer holds, in Unix milliseconds.
    pub expires: u64,
    /// Drawn for each token, so that no two are the same.
    pub nonce: String,
}

/// Gives out and checks tokens with one key.
pub struct Tokens {
    key: Secret,
}

impl Tokens {
    /// Tokens of this key, which only the server knows: 32 bytes of randomness are right.
    pub const fn new(key: Secret) -> Self {
        Self { key }
    }

    /// A token of this user for this purpose, good until `now + life`.
    pub fn issue(&self, user: &str, purpose: Purpose, life: Duration, now: WallTime, rng: &mut Rng) -> Secret {
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let expires = now.as_unix_ms().saturating_add(life);
        let nonce = URL_SAFE_NO_PAD.encode(rng.bytes::<16>());
        let claims = Claims { user: user.to_owned(), purpose, expires, nonce };
        // JSON delimits its members, so no choice of names makes one token out of the parts of another.
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).expect("plain members"));
        let tag = URL_SAFE_NO_PAD.encode(self.mac(&claims).finalize().into_bytes());
        Secret::new(format!("{claims}.{tag}"))
    }

    /// The claims of a token that is genuine and still holds at `now`. Compares in constant time.
    ///
    /// # Errors
    /// [`Code::AuthFailed`] otherwise.
    pub fn check(&self, token: &str, now: WallTime) -> Result<Claims, Code> {
        if token.len() > MAX_TOKEN {
            return Err(Code::AuthFailed);
        }
        let (claims, tag) = token.split_once('.').ok_or(Code::AuthFailed)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| Code::AuthFailed)?;
        self.mac(claims).verify_slice(&tag).map_err(|_| Code::AuthFailed)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Code::AuthFailed)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Code::AuthFailed)?;
        if now.as_unix_ms() < claims.expires { Ok(claims) } else { Err(Code::AuthFailed) }
    }

    /// Whether a token lets `user` subscribe to `topic` at `now`.
    pub fn opens_channel(&self, token: &str, user: &str, topic: &str, now: WallTime) -> bool {
        self.check(token, now)
            .is_ok_and(|claims| claims.user == user && claims.purpose == Purpose::Channel { topic: topic.to_owned() })
    }

    fn mac(&self, claims: &str) -> hmac::Hmac<sha2::Sha256> {
        mac(self.key.expose().as_bytes(), format!("{CONTEXT}{claims}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn at(ms: u64) -> WallTime {
        WallTime::from_unix_ms(1_771_601_400_000 + ms)
    }

    fn tokens() -> Tokens {
        Tokens::new("0123456789abcdef0123456789abcdef".into())
    }

    fn channel(topic: &str) -> Purpose {
        Purpose::Channel { topic: topic.into() }
    }

    fn issue(user: &str, purpose: Purpose) -> Secret {
        tokens().issue(user, purpose, CHANNEL_LIFE, at(0), &mut Rng::new(Seed::from_u64(1)))
    }

    #[test]
    fn a_token_says_what_it_was_made_for_and_runs_out() {
        for purpose in [Purpose::Session { connection: "c:1".into() }, channel("a:b")] {
            let token = issue("user:1", purpose.clone());
            let last = at(3_599_999);
            let claims = tokens().check(token.expose(), last).expect("holds");
            assert_eq!((claims.user.as_str(), &claims.purpose), ("user:1", &purpose));
            assert_eq!(tokens().check(token.expose(), at(3_600_000)), Err(Code::AuthFailed));
        }
    }

    #[test]
    fn any_change_and_any_other_key_is_refused() {
        let token = issue("u", channel("t"));
        let text = token.expose();
        for place in 0..text.len() {
            let mut changed = text.to_owned().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(tokens().check(&changed, at(0)), Err(Code::AuthFailed), "{place}");
            assert_eq!(tokens().check(&text[..place], at(0)), Err(Code::AuthFailed), "cut at {place}");
        }
        assert_eq!(Tokens::new("another".into()).check(text, at(0)), Err(Code::AuthFailed));
        assert_eq!(tokens().check(&"A".repeat(MAX_TOKEN + 1), at(0)), Err(Code::AuthFailed));
    }

    #[test]
    fn a_channel_token_opens_one_topic_for_one_user() {
        let token = issue("u", channel("t"));
        let opens = |user, topic| tokens().opens_channel(token.expose(), user, topic, at(1));
        assert!(opens("u", "t"));
        assert!(!opens("v", "t") && !opens("u", "t2") && !opens("u", "*"));
        let session = issue("u", Purpose::Session { connection: "t".into() });
        assert!(!tokens().opens_channel(session.expose(), "u", "t", at(1)));
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let mut rng = Rng::new(Seed::from_u64(1));
        let mut issue = || tokens().issue("u", channel("t"), SESSION_LIFE, at(0), &mut rng);
        assert_ne!(issue(), issue());
    }
}
