//! Signing of selected messages, and the check at the other end. Source: PROTOCOL.md §5.3, RFC 7515, RFC 7519.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;

use crate::{
    error::Code,
    rng::Rng,
    time::WallTime,
    wire::{
        Payload,
        control::{Object, Value},
    },
};

use super::{
    Role, Secret,
    replay::ReplayWindow,
    sign::{mac, sha256_hex},
    sign_envelope,
    tokens::MIN_KEY,
    verify, verify_envelope,
};

/// Length of the part of a bound nonce that names the connection, and of the counter behind it. No published end
/// writes nonces of their sum, so a bound one is known as such, whatever its bearer says of itself.
const BOUND_TAG: usize = 32;
const BOUND_COUNTER: usize = 16;

/// The one header that is written and read: HMAC-SHA256 and nothing else.
const JWT_HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// How the member `sig` is written. Both forms are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SigningForm {
    /// `hash:timestamp:nonce:hmac`, the form of the published router.
    #[default]
    Hmac,
    /// A JWT (HS256) with the claims `hash`, `nonce` and `iat`.
    Jwt,
}

/// What is done about signatures that arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verification {
    /// They are not looked at.
    Off,
    /// A wrong one is refused; messages without one are taken.
    #[default]
    IfPresent,
    /// Messages that this end would sign must be signed, in a form with time and nonce.
    Required,
}

/// Signing of messages with a key that both ends know.
#[derive(Debug, Clone)]
pub struct SigningConfig {
    /// The shared key: at least 32 bytes of text.
    pub key: Secret,
    /// How signatures are written. Default [`SigningForm::Hmac`].
    pub form: SigningForm,
    /// Types that are signed beside publications. Default `priority_message`.
    pub kinds: BTreeSet<String>,
    /// Whether what a client publishes is signed. Default true. Topic messages of a server are written once for all
    /// who receive them, and never signed.
    pub publications: bool,
    /// What is done about signatures that arrive. Default [`Verification::IfPresent`].
    pub verification: Verification,
    /// How far the clocks of both ends may differ. Default 5 min.
    pub max_skew: Duration,
}

impl SigningConfig {
    /// The defaults, with this key.
    pub fn new(key: Secret) -> Self {
        let mut kinds = BTreeSet::new();
        kinds.insert("priority_message".to_owned());
        Self {
            key,
            form: SigningForm::default(),
            kinds,
            publications: true,
            verification: Verification::default(),
            max_skew: Duration::from_secs(5 * 60),
        }
    }

    /// Whether the key is long enough.
    pub fn is_usable(&self) -> bool {
        self.key.expose().len() >= MIN_KEY
    }
}

/// The part of a message that decides about its signature, apart from its text.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The type.
    pub kind: &'a str,
    /// Whether it is published to a topic.
    pub is_publication: bool,
}

/// Signs what one end sends and checks what it receives, on one connection.
pub struct Signing {
    config: SigningConfig,
    role: Role,
    /// Drawn once; with the counter behind it no nonce comes twice.
    nonce_prefix: u64,
    counter: u64,
    window: ReplayWindow,
    /// The connection that nonces are bound to, once both ends know its name.
    binding: Option<Binding>,
}

/// What nonces of each direction begin with on one connection: the first half of the SHA-256 of direction and name.
struct Binding {
    own: String,
    other: String,
}

impl Binding {
    fn new(role: Role, connection: &str) -> Self {
        let tag = |sender| {
            let direction = match sender {
                Role::Client => "client-to-server",
                Role::Server => "server-to-client",
            };
            let mut tag = sha256_hex(&format!("wse-signature/{direction}/{connection}"));
            tag.truncate(BOUND_TAG);
            tag
        };
        Self { own: tag(role), other: tag(role.other()) }
    }
}

struct Claims {
    hash: String,
    nonce: String,
    iat: f64,
}

impl Claims {
    fn read(claims: Value<'_>) -> Option<Self> {
        Some(Self {
            hash: claims.member("hash")?.text()?,
            nonce: claims.member("nonce")?.text()?,
            iat: claims.member("iat")?.number()?,
        })
    }
}

impl Signing {
    /// Signing for one connection.
    pub fn new(config: SigningConfig, role: Role, rng: &mut Rng) -> Self {
        let window = ReplayWindow::new(config.max_skew);
        Self { config, role, nonce_prefix: u64::from_be_bytes(rng.bytes()), counter: 0, window, binding: None }
    }

    /// Binds signatures to the connection of this name, which must be its alone: what is signed from here on counts
    /// nowhere else, and what was bound to another connection is refused. The nonces that were seen stay known.
    pub fn bind(&mut self, connection: &str) {
        self.binding = Some(Binding::new(self.role, connection));
    }

    /// Ends the binding: the connection is over, the name of the next one is not known yet.
    pub fn unbind(&mut self) {
        self.binding = None;
    }

    /// Nonces that are remembered: [`ReplayWindow::held`].
    pub fn held(&self) -> usize {
        self.window.held()
    }

    /// Whether a message of this end is to be signed.
    pub fn selects(&self, subject: Subject<'_>) -> bool {
        self.is_selected(subject, self.role)
    }

    fn is_selected(&self, subject: Subject<'_>, sender: Role) -> bool {
        let publication = subject.is_publication && sender == Role::Client && self.config.publications;
        publication || self.config.kinds.contains(subject.kind)
    }

    /// The member `sig` for a message with this canonical JSON.
    pub fn sign(&mut self, canonical: &str, now: WallTime) -> String {
        let nonce = match &self.binding {
            // From a drawn number on: an end that starts anew under an old name repeats none.
            Some(Binding { own, .. }) => {
                format!("{own}{:0BOUND_COUNTER$x}", self.nonce_prefix.wrapping_add(self.counter))
            }
            None => format!("{:016x}{:016x}", self.nonce_prefix, self.counter),
        };
        self.counter += 1;
        let ms = now.as_unix_ms();
        match self.config.form {
            SigningForm::Hmac => {
                let timestamp = format!("{}.{:03}", ms / 1000, ms % 1000);
                sign_envelope(self.key(), canonical, &timestamp, &nonce)
            }
            SigningForm::Jwt => {
                let claims = Object::new().text("hash", &sha256_hex(canonical)).text("nonce", &nonce);
                let claims = claims.number("iat", Some(ms as f64 / 1000.0)).into_json();
                let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(JWT_HEADER), URL_SAFE_NO_PAD.encode(claims));
                let tag = mac(self.key(), signed.as_bytes()).finalize().into_bytes();
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
            }
        }
    }

    /// Checks a message that arrived. `canonical` is asked for only when there is something to check; `payload` is
    /// the text of the payload, which the bare signatures of published clients are made over.
    ///
    /// # Errors
    /// [`Code::SignatureInvalid`] when the signature is wrong, too old, too new, was seen before or made for another
    /// connection, or when there is none and one is required.
    pub fn check(
        &mut self,
        subject: Subject<'_>,
        signature: Option<&str>,
        canonical: impl FnOnce() -> Option<String>,
        payload: impl FnOnce() -> String,
        now: WallTime,
    ) -> Result<(), Code> {
        let required =
            self.config.verification == Verification::Required && self.is_selected(subject, self.role.other());
        let Some(signature) = signature.filter(|_| self.config.verification != Verification::Off) else {
            return if required { Err(Code::SignatureInvalid) } else { Ok(()) };
        };
        let stamped = parse_hmac(signature).or_else(|| parse_jwt(signature));
        let genuine = match stamped {
            Some(stamped) => {
                let genuine =
                    canonical().is_some_and(|canonical| stamped.is_genuine(self.key(), &canonical, signature));
                genuine
                    && !self.is_own(&stamped.nonce)
                    && self.is_for_this_connection(&stamped.nonce)
                    && self.window.accept(stamped.ms, &stamped.nonce, now.as_unix_ms())
            }
            // A bare signature can be repeated for ever, so it is not enough where one is required.
            None => !required && verify(self.key(), &payload(), signature),
        };
        if genuine { Ok(()) } else { Err(Code::SignatureInvalid) }
    }

    /// Whether this end made the nonce: its own messages must not come back to it.
    fn is_own(&self, nonce: &str) -> bool {
        nonce.get(..16).is_some_and(|prefix| prefix == format!("{:016x}", self.nonce_prefix))
    }

    /// Whether a nonce is bound to this connection, or to none: published ends bind to none.
    fn is_for_this_connection(&self, nonce: &str) -> bool {
        let tag = nonce.get(..BOUND_TAG).filter(|_| nonce.len() == BOUND_TAG + BOUND_COUNTER);
        tag.is_none_or(|tag| self.binding.as_ref().is_some_and(|binding| binding.other == tag))
    }

    fn key(&self) -> &[u8] {
        self.config.key.expose().as_bytes()
    }
}

/// A signature that says when it was made.
struct Stamped {
    ms: u64,
    nonce: String,
    jwt_hash: Option<String>,
}

impl Stamped {
    fn is_genuine(&self, key: &[u8], canonical: &str, signature: &str) -> bool {
        let Some(hash) = &self.jwt_hash else { return verify_envelope(key, canonical, signature) };
        let Some((signed, tag)) = signature.rsplit_once('.') else { return false };
        let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
        *hash == sha256_hex(canonical) && mac(key, signed.as_bytes()).verify_slice(&tag).is_ok()
    }
}

fn parse_hmac(signature: &str) -> Option<Stamped> {
    let mut parts = signature.split(':');
    let (_hash, timestamp, nonce, _tag) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let ms = seconds_to_ms(read_json(timestamp.as_bytes(), |stamp| stamp.number())?)?;
    parts.next().is_none().then(|| Stamped { ms, nonce: nonce.to_owned(), jwt_hash: None })
}

fn parse_jwt(signature: &str) -> Option<Stamped> {
    let mut parts = signature.split('.');
    let (header, claims, _tag) = (parts.next()?, parts.next()?, parts.next()?);
    let algorithm = read_json(&URL_SAFE_NO_PAD.decode(header).ok()?, |header| header.member("alg")?.text())?;
    let claims = read_json(&URL_SAFE_NO_PAD.decode(claims).ok()?, Claims::read)?;
    let ms = seconds_to_ms(claims.iat)?;
    let ours = parts.next().is_none() && algorithm == "HS256";
    ours.then_some(Stamped { ms, nonce: claims.nonce, jwt_hash: Some(claims.hash) })
}

/// Reads what is JSON, if it is.
fn read_json<T>(text: &[u8], read: impl FnOnce(Value<'_>) -> Option<T>) -> Option<T> {
    Payload::from_json(text.to_vec()).ok()?.read_control(read)
}

/// Unix seconds as they are written, in milliseconds. Anything that is no time is none.
fn seconds_to_ms(seconds: f64) -> Option<u64> {
    let ms = (seconds * 1000.0).round();
    // Beyond 2^53 a float no longer counts milliseconds.
    (0.0..9_007_199_254_740_992.0).contains(&ms).then_some(ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;
    use crate::security::{SignatureForm, sign};

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const CANONICAL: &str = r#"{"p": {"n": 1}, "t": "priority_message"}"#;
    const PRIORITY: Subject<'_> = Subject { kind: "priority_message", is_publication: false };
    const OTHER: Subject<'_> = Subject { kind: "x", is_publication: false };

    fn at(ms: u64) -> WallTime {
        WallTime::from_unix_ms(1_771_601_400_000 + ms)
    }

    fn end(role: Role, change: impl FnOnce(&mut SigningConfig)) -> Signing {
        let mut config = SigningConfig::new(KEY.into());
        change(&mut config);
        Signing::new(config, role, &mut Rng::new(Seed::from_u64(role as u64)))
    }

    fn check(end: &mut Signing, subject: Subject<'_>, signature: Option<&str>, text: &str, now: WallTime) -> bool {
        end.check(subject, signature, || Some(text.to_owned()), || "{\"n\":1}".to_owned(), now).is_ok()
    }

    #[test]
    fn both_forms_are_taken_once_and_only_for_their_text_key_and_time() {
        for form in [SigningForm::Hmac, SigningForm::Jwt] {
            let mut client = end(Role::Client, |config| config.form = form);
            let mut server = end(Role::Server, |_| {});
            let signature = client.sign(CANONICAL, at(0));
            assert!(!check(&mut server, PRIORITY, Some(&signature), "{}", at(0)), "{form:?}, another text");
            let mut other = end(Role::Server, |config| config.key = Secret::from("another key of thirty-two bytes!"));
            assert!(!check(&mut other, PRIORITY, Some(&signature), CANONICAL, at(0)), "{form:?}, another key");
            assert!(!check(&mut server, PRIORITY, Some(&signature), CANONICAL, at(300_001)), "{form:?}, too late");
            assert!(check(&mut server, PRIORITY, Some(&signature), CANONICAL, at(300_000)), "{form:?}");
            assert!(!check(&mut server, PRIORITY, Some(&signature), CANONICAL, at(300_000)), "{form:?}, again");
            assert!(!check(&mut client, PRIORITY, Some(&signature), CANONICAL, at(0)), "{form:?}, sent back");
            assert_ne!(signature, client.sign(CANONICAL, at(0)));
        }
    }

    #[test]
    fn what_was_signed_for_one_connection_counts_on_no_other() {
        for form in [SigningForm::Hmac, SigningForm::Jwt] {
            let mut client = end(Role::Client, |config| config.form = form);
            client.bind("a");
            let mut ends: Vec<Signing> = (0..4).map(|_| end(Role::Server, |_| {})).collect();
            ends[1].bind("b");
            ends[2].bind("a");
            let signature = client.sign(CANONICAL, at(0));
            let taken = |end: &mut Signing| check(end, PRIORITY, Some(&signature), CANONICAL, at(0));
            let taken: Vec<bool> = ends.iter_mut().take(3).map(taken).collect();
            assert_eq!(taken, [false, false, true], "{form:?}: unbound, another connection, this one");
            assert!(!check(&mut client, PRIORITY, Some(&signature), CANONICAL, at(0)), "{form:?}, sent back");
            // A published end binds nothing.
            client.unbind();
            let free = client.sign(CANONICAL, at(0));
            assert!(check(&mut ends[1], PRIORITY, Some(&free), CANONICAL, at(0)), "{form:?}");
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        for form in [SigningForm::Hmac, SigningForm::Jwt] {
            let mut client = end(Role::Client, |config| config.form = form);
            let mut server = end(Role::Server, |config| config.verification = Verification::Required);
            let signature = client.sign(CANONICAL, at(0));
            for place in 0..signature.len() {
                let mut changed = signature.clone().into_bytes();
                changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
                let changed = String::from_utf8(changed).expect("ASCII");
                assert!(
                    !check(&mut server, PRIORITY, Some(&changed), CANONICAL, at(0)),
                    "{form:?}, {place}: {changed}"
                );
            }
            assert!(check(&mut server, PRIORITY, Some(&signature), CANONICAL, at(0)), "{form:?}");
        }
    }

    #[test]
    fn a_jwt_of_another_algorithm_is_refused() {
        let claims = r#"{"hash":"x","nonce":"n","iat":1}"#;
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS512"}"#, "{}"] {
            let token = format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            assert!(!check(&mut end(Role::Server, |_| {}), PRIORITY, Some(&token), CANONICAL, at(0)), "{header}");
        }
    }

    #[test]
    fn only_what_is_selected_is_signed_and_required() {
        let publication = Subject { kind: "x", is_publication: true };
        let mut server = end(Role::Server, |config| config.verification = Verification::Required);
        let client = end(Role::Client, |_| {});
        assert!(client.selects(PRIORITY) && client.selects(publication) && !client.selects(OTHER));
        assert!(!server.selects(publication), "topic messages go to many");
        assert!(!check(&mut server, PRIORITY, None, CANONICAL, at(0)));
        assert!(!check(&mut server, publication, None, CANONICAL, at(0)));
        assert!(check(&mut server, OTHER, None, CANONICAL, at(0)));
        let mut client = end(Role::Client, |config| config.verification = Verification::Required);
        assert!(check(&mut client, publication, None, CANONICAL, at(0)));
        let mut lenient = end(Role::Server, |_| {});
        assert!(check(&mut lenient, PRIORITY, None, CANONICAL, at(0)));
        assert!(!check(&mut lenient, OTHER, Some("nonsense"), CANONICAL, at(0)));
        let mut off = end(Role::Server, |config| config.verification = Verification::Off);
        assert!(check(&mut off, PRIORITY, Some("nonsense"), CANONICAL, at(0)));
    }

    #[test]
    fn bare_signatures_of_published_clients_are_taken_unless_one_is_required() {
        for form in [SignatureForm::HashedHex, SignatureForm::PlainBase64] {
            let signature = sign(KEY.as_bytes(), "{\"n\":1}", form);
            assert!(check(&mut end(Role::Server, |_| {}), OTHER, Some(&signature), CANONICAL, at(0)));
            let mut strict = end(Role::Server, |config| config.verification = Verification::Required);
            assert!(!check(&mut strict, PRIORITY, Some(&signature), CANONICAL, at(0)));
        }
    }

    #[test]
    fn times_that_are_none_are_refused() {
        for text in ["NaN", "inf", "-1", "1e300", "", "x"] {
            assert!(parse_hmac(&format!("h:{text}:n:t")).is_none(), "{text}");
        }
    }
}
