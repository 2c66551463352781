//! Tokens against keys: known answers, keys side by side, and tokens that mean harm.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use wse_client_core::{security::Secret, server::Identity, time::WallTime};

use super::{
    TokenClaims, TokenKey,
    jws::{Jws, MAX_TOKEN},
    key_file::{self, BadKeyFile},
    make_token,
    verify::{KeySet, Refusal, Verifier},
};
use crate::{clock, config::Config};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";
const RSA: &str = include_str!("testdata/rsa.pem");
const RSA_PKCS1: &str = include_str!("testdata/rsa-pkcs1.pem");
const RSA_PUBLIC: &str = include_str!("testdata/rsa-public.pem");
const P256: &str = include_str!("testdata/p256.pem");
const P256_SEC1: &str = include_str!("testdata/p256-sec1.pem");
const P256_PUBLIC: &str = include_str!("testdata/p256-public.pem");
/// Keys and tokens of RFC 7515, appendices A.1 to A.3.
const RFC7515: &str = include_str!("testdata/rfc7515.json");

/// Seconds since 1970 in these tests.
const NOW: u64 = 1_800_000_000;

fn verifier(keys: KeySet) -> Verifier {
    Verifier::new(keys, &Config::default())
}

fn keys(files: &[&str]) -> KeySet {
    KeySet::of(files.iter().flat_map(|file| key_file::parse(file.as_bytes()).expect("keys")).collect())
}

fn secrets(current: &str, previous: Option<&str>) -> KeySet {
    let config = Config {
        jwt_secret: Some(current.into()),
        jwt_previous_secret: previous.map(Secret::from),
        ..Config::default()
    };
    KeySet::load(&config).expect("usable")
}

fn at(seconds: u64) -> WallTime {
    WallTime::from_unix_ms(seconds * 1000)
}

/// A token of any header and claims, with the HMAC of any key.
fn forged(secret: &[u8], header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn good_claims() -> String {
    json!({ "sub": "u", "exp": NOW + 60 }).to_string()
}

/// What becomes of a rightly signed token with this header.
fn with_header(header: &str) -> Result<Identity, Refusal> {
    verifier(secrets(SECRET, None)).verify(&forged(SECRET.as_bytes(), header, &good_claims()), at(NOW))
}

/// What becomes of a rightly signed token with these claims.
fn with_claims(config: &Config, claims: &str) -> Result<Identity, Refusal> {
    let token = forged(SECRET.as_bytes(), r#"{"alg":"HS256"}"#, claims);
    Verifier::new(secrets(SECRET, None), config).verify(&token, at(NOW))
}

fn pem_key(pem: &str) -> TokenKey {
    TokenKey::from_pem(&pem.into()).expect("a private key")
}

fn signed(key: &TokenKey) -> String {
    key.sign(&TokenClaims::new("alice", Duration::from_secs(60))).expect("signed")
}

/// A set of one RSA key and two secrets, each with a name.
fn named_set() -> KeySet {
    let secret =
        |kid: &str, secret: &str| json!({ "kty": "oct", "kid": kid, "k": BASE64_URL_SAFE_NO_PAD.encode(secret) });
    keys(&[&json!({ "keys": [secret("a", SECRET), secret("b", OTHER_SECRET)] }).to_string(), RSA_PUBLIC])
}

#[test]
fn the_tokens_of_rfc_7515_are_known() {
    let vectors: Value = serde_json::from_str(RFC7515).expect("JSON");
    for (kind, vector) in vectors.as_object().expect("a map") {
        let keys = keys(&[&json!({ "keys": [vector["key"]] }).to_string()]);
        let token = vector["token"].as_str().expect("a token");
        assert_eq!(keys.check_signature(&Jws::parse(token).expect("well-formed")), Ok(()), "{kind}");
        // Without `sub` it lets nobody in, right as it is.
        assert_eq!(verifier(keys).verify(token, at(1_300_819_000)), Err(Refusal::Claims));
    }
    assert_eq!(vectors.as_object().map(|vectors| vectors.len()), Some(3));
}

#[test]
fn every_changed_character_spoils_a_token() {
    let vectors: Value = serde_json::from_str(RFC7515).expect("JSON");
    for vector in vectors.as_object().expect("a map").values() {
        let keys = keys(&[&json!({ "keys": [vector["key"]] }).to_string()]);
        let token = vector["token"].as_str().expect("a token");
        for at in 0..token.len() {
            let mut changed = token.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            let checked = Jws::parse(&changed).and_then(|token| keys.check_signature(&token));
            assert!(checked.is_err(), "{changed}");
        }
    }
}

#[test]
fn a_private_key_signs_what_its_public_key_checks() {
    for (private, public, algorithm) in [
        (RSA, RSA_PUBLIC, "RS256"),
        (RSA_PKCS1, RSA_PUBLIC, "RS256"),
        (P256, P256_PUBLIC, "ES256"),
        (P256_SEC1, P256_PUBLIC, "ES256"),
    ] {
        let key = pem_key(private);
        assert!(format!("{key:?}").contains(algorithm));
        let identity = verifier(keys(&[P256_PUBLIC, RSA_PUBLIC])).verify(&signed(&key), clock::wall());
        assert_eq!(identity.expect("valid").user_id, "alice");
        let other = if public == RSA_PUBLIC { P256_PUBLIC } else { RSA_PUBLIC };
        assert_eq!(verifier(keys(&[other])).verify(&signed(&key), clock::wall()), Err(Refusal::NoKey));
    }
    for pem in [RSA_PUBLIC, "", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(TokenKey::from_pem(&pem.into()).is_err());
    }
}

#[test]
fn a_secret_signs_what_the_server_checks() {
    let token = make_token(&SECRET.into(), &TokenClaims::new("alice", Duration::from_secs(60))).expect("made");
    let identity = verifier(secrets(SECRET, None)).verify(&token, clock::wall()).expect("valid");
    assert_eq!(identity.user_id, "alice");
    assert!(make_token(&"short".into(), &TokenClaims::new("alice", Duration::ZERO)).is_err());
    assert!(make_token(&SECRET.into(), &TokenClaims::new("", Duration::ZERO)).is_err());
}

#[test]
fn an_algorithm_belongs_to_its_key() {
    let verifier = verifier(keys(&[RSA_PUBLIC, P256_PUBLIC]));
    // The well-known attack: the public key, which everyone has, as the secret of an HMAC.
    let der = BASE64_URL_SAFE_NO_PAD.encode(RSA_PUBLIC);
    for secret in [RSA_PUBLIC, RSA_PUBLIC.trim_end(), &der] {
        let token = forged(secret.as_bytes(), r#"{"alg":"HS256"}"#, &good_claims());
        assert_eq!(verifier.verify(&token, at(NOW)), Err(Refusal::NoKey));
    }
    for algorithm in ["RS256", "ES256"] {
        let token = forged(SECRET.as_bytes(), &json!({ "alg": algorithm }).to_string(), &good_claims());
        assert_eq!(verifier.verify(&token, at(NOW)), Err(Refusal::Signature), "{algorithm}");
        assert_eq!(with_header(&json!({ "alg": algorithm }).to_string()), Err(Refusal::NoKey), "{algorithm}");
    }
    // An ECDSA signature of zeros fits every message of a careless library.
    for zeros in [64, 0] {
        let token = forged(b"", r#"{"alg":"ES256"}"#, &good_claims());
        let (signed, _) = token.rsplit_once('.').expect("dots");
        let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(vec![0; zeros]));
        assert_eq!(verifier.verify(&token, at(NOW)), Err(Refusal::Signature));
    }
}

#[test]
fn unsigned_and_otherwise_signed_tokens_are_refused() {
    for algorithm in ["none", "None", "nOnE", "", "HS384", "HS512", "PS256", "EdDSA", "hs256", "HS256 "] {
        let header = json!({ "alg": algorithm }).to_string();
        assert_eq!(with_header(&header), Err(Refusal::Algorithm), "{algorithm}");
    }
    for header in ["{}", "", "null", "[]", r#"{"alg":1}"#, r#"{"alg":null}"#, r#"{"alg":"HS256","alg":"HS256"}"#] {
        assert_eq!(with_header(header), Err(Refusal::Shape), "{header}");
    }
    assert_eq!(with_header(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#), Err(Refusal::Extension));
    assert_eq!(with_header(r#"{"alg":"HS256","crit":[]}"#), Err(Refusal::Extension));
    // Keys and addresses of keys in a token are the token's own words.
    let inviting =
        r#"{"alg":"HS256","jku":"http://evil.example/keys","jwk":{"kty":"oct","k":"AAAA"},"x5u":"file:///"}"#;
    assert!(with_header(inviting).is_ok());
    let jwk = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(OTHER_SECRET) } });
    let token = forged(OTHER_SECRET.as_bytes(), &jwk.to_string(), &good_claims());
    assert_eq!(verifier(secrets(SECRET, None)).verify(&token, at(NOW)), Err(Refusal::Signature));
}

#[test]
fn what_is_no_token_is_refused_before_any_work() {
    let good = forged(SECRET.as_bytes(), r#"{"alg":"HS256"}"#, &good_claims());
    let verifier = verifier(secrets(SECRET, None));
    assert!(verifier.verify(&good, at(NOW)).is_ok());
    let (signed, signature) = good.rsplit_once('.').expect("dots");
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        "a.b".into(),
        signed.into(),
        format!("{good}="),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace('.', "\u{e4}"),
        format!("{}.{signed}.{signature}", BASE64_URL_SAFE_NO_PAD.encode("{}")),
        format!("{signed}.{}", "A".repeat(4000)),
        format!("{}.e30.AAAA", "A".repeat(4000)),
    ] {
        assert!(matches!(verifier.verify(&token, at(NOW)), Err(Refusal::Shape | Refusal::Signature)), "{token}");
    }
    // The last character has bits to spare, which must be zero: one signature has one spelling.
    let last = signature.chars().last().expect("a signature");
    let twin = if last == 'A' { 'B' } else { char::from(last as u8 + 1) };
    assert!(verifier.verify(&format!("{}{twin}", &good[..good.len() - 1]), at(NOW)).is_err());
    assert_eq!(verifier.verify(&"x".repeat(MAX_TOKEN + 1), at(NOW)), Err(Refusal::TooLong));
    let padded = json!({ "sub": "u", "exp": NOW + 60, "x": "y".repeat(6000) }).to_string();
    let long = forged(SECRET.as_bytes(), r#"{"alg":"HS256"}"#, &padded);
    assert!(long.len() > 8000 && long.len() <= MAX_TOKEN && verifier.verify(&long, at(NOW)).is_ok());
}

#[test]
fn keys_are_valid_side_by_side_and_a_name_chooses_among_them() {
    let claims = good_claims();
    let named = |secret: &str, header: Value| {
        verifier(named_set()).verify(&forged(secret.as_bytes(), &header.to_string(), &claims), at(NOW)).map(drop)
    };
    assert_eq!(named(SECRET, json!({ "alg": "HS256", "kid": "a" })), Ok(()));
    assert_eq!(named(OTHER_SECRET, json!({ "alg": "HS256", "kid": "b" })), Ok(()));
    assert_eq!(named(OTHER_SECRET, json!({ "alg": "HS256", "kid": "a" })), Err(Refusal::Signature));
    assert_eq!(named(OTHER_SECRET, json!({ "alg": "HS256" })), Ok(()));
    assert_eq!(named(SECRET, json!({ "alg": "HS256", "kid": "c" })), Err(Refusal::NoKey));
    assert_eq!(named(SECRET, json!({ "alg": "RS256", "kid": "a" })), Err(Refusal::NoKey));
    // Keys of a PEM file have no name; a token may call them as it likes, but not by the name of another.
    let rsa = |kid: &str| verifier(named_set()).verify(&signed(&pem_key(RSA).with_kid(kid)), clock::wall()).map(drop);
    assert_eq!((rsa("2026-05"), rsa("a")), (Ok(()), Err(Refusal::NoKey)));
}

#[test]
fn a_secret_is_replaced_without_a_gap() {
    let header = r#"{"alg":"HS256"}"#;
    let (new, old) =
        (forged(SECRET.as_bytes(), header, &good_claims()), forged(OTHER_SECRET.as_bytes(), header, &good_claims()));
    let verifier = verifier(secrets(SECRET, Some(OTHER_SECRET)));
    assert!(verifier.verify(&new, at(NOW)).is_ok() && verifier.verify(&old, at(NOW)).is_ok());
    assert_eq!(verifier.replace_keys(secrets(SECRET, None)), 1);
    assert!(verifier.verify(&new, at(NOW)).is_ok());
    assert_eq!(verifier.verify(&old, at(NOW)), Err(Refusal::Signature));
}

#[test]
fn files_of_keys_are_read_whole_or_not_at_all() {
    let public: Value = serde_json::from_str(RFC7515).expect("JSON");
    let foreign = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }, { "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" },
        { "kty": "RSA", "use": "enc", "n": "AA", "e": "AQAB" }, { "kty": "RSA", "alg": "RS512", "n": "AA", "e": "AQAB" },
        public["RS256"]["key"], { "kty": "new" },
    ] });
    assert_eq!(key_file::parse(foreign.to_string().as_bytes()).expect("one key").len(), 1);
    assert_eq!(key_file::parse(format!("{RSA_PUBLIC}\n{P256_PUBLIC}").as_bytes()).expect("two keys").len(), 2);
    let refused = |text: &str| key_file::parse(text.as_bytes()).err().expect("refused").to_string();
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, why) in [
        ("", "neither"),
        ("hello", "neither"),
        ("{", "line 1"),
        (r#"{"keys":[]}"#, "no key"),
        (r#"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#, "key 0: an HMAC key of 5 bytes"),
        (r#"{"keys":[{"kty":"RSA","e":"AQAB"}]}"#, "the member n"),
        (r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#, "not a point"),
        (RSA, "private key"),
        (P256_SEC1, "private key"),
        (&format!("{RSA_PUBLIC}{certificate}"), "key 1: a certificate"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "neither an RSA key"),
    ] {
        assert!(refused(text).contains(why), "{text}: {}", refused(text));
    }
    assert!(matches!(key_file::read("/no/such/file".as_ref()), Err(BadKeyFile::Io(_))));
}

#[test]
fn there_are_not_endless_keys() {
    let key = json!({ "kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(SECRET) });
    let path = std::env::temp_dir().join(format!("wse-keys-{}.json", std::process::id()));
    std::fs::write(&path, json!({ "keys": vec![key; 17] }).to_string()).expect("written");
    let config = Config { jwt_keys: vec![path.clone()], ..Config::default() };
    let error = KeySet::load(&config).err().expect("refused");
    std::fs::remove_file(path).expect("removed");
    assert!(error.setting == "jwt_keys" && error.to_string().contains("17 keys"), "{error}");
}

#[test]
fn rights_are_read_and_absent_ones_have_safe_defaults() {
    let verify = |claims: Value| with_claims(&Config::default(), &claims.to_string()).expect("valid");
    let identity = verify(json!({ "sub": "u", "exp": NOW + 60 }));
    assert!(identity.subscribe.allows("anything") && !identity.publish.allows("anything"));
    let identity = verify(json!({ "sub": "u", "exp": NOW + 60,
        "wse_topics": { "allow": ["a.*"], "deny": ["a.x"] }, "wse_publish": { "allow": ["b"] } }));
    assert!(identity.subscribe.allows("a.b") && !identity.subscribe.allows("a.x"));
    assert!(identity.publish.allows("b") && !identity.publish.allows("a.b"));
}

#[test]
fn time_has_the_configured_skew_to_the_second() {
    let check = |skew: u64, claims: Value| {
        let config = Config { jwt_skew: Duration::from_secs(skew), ..Config::default() };
        with_claims(&config, &claims.to_string()).map(drop)
    };
    for skew in [0, 30, 120] {
        assert_eq!(check(skew, json!({ "sub": "u", "exp": NOW - skew + 1 })), Ok(()));
        assert_eq!(check(skew, json!({ "sub": "u", "exp": NOW - skew })), Err(Refusal::Expired));
        assert_eq!(check(skew, json!({ "sub": "u", "exp": NOW + 60, "nbf": NOW + skew })), Ok(()));
        assert_eq!(check(skew, json!({ "sub": "u", "exp": NOW + 60, "nbf": NOW + skew + 1 })), Err(Refusal::NotYet));
    }
    assert_eq!(check(0, json!({ "sub": "u", "exp": NOW as f64 + 0.5 })), Ok(()));
}

#[test]
fn claims_that_cannot_be_read_let_nobody_in() {
    for claims in [
        "",
        "null",
        "[]",
        "{",
        r#"{"exp":9999999999}"#,
        r#"{"sub":"u"}"#,
        r#"{"sub":"u","exp":null}"#,
        r#"{"sub":"u","exp":"9999999999"}"#,
        r#"{"sub":"u","exp":1e999}"#,
        r#"{"sub":7,"exp":9999999999}"#,
        r#"{"sub":"u","exp":1,"exp":9999999999}"#,
        r#"{"sub":"u","sub":"admin","exp":9999999999}"#,
        r#"{"sub":"u","exp":9999999999,"nbf":"soon"}"#,
        r#"{"sub":"u","exp":9999999999,"wse_topics":["a"]}"#,
        r#"{"sub":"u","exp":9999999999,"wse_topics":{"alow":["a"]}}"#,
        r#"{"sub":"u","exp":9999999999,"wse_publish":"*"}"#,
    ] {
        assert_eq!(with_claims(&Config::default(), claims), Err(Refusal::Claims), "{claims}");
    }
    let deep = |claim: &str| {
        let claims = format!(r#"{{"sub":"u","exp":9999999999,"{claim}":{}{}}}"#, "[".repeat(2000), "]".repeat(2000));
        with_claims(&Config::default(), &claims).map(drop)
    };
    assert_eq!((deep("aud"), deep("wse_topics"), deep("else")), (Err(Refusal::Claims), Err(Refusal::Claims), Ok(())));
    for subject in ["", "a\u{0}b", "a\nb", &"x".repeat(257)] {
        let claims = json!({ "sub": subject, "exp": NOW + 60 }).to_string();
        assert_eq!(with_claims(&Config::default(), &claims), Err(Refusal::Subject), "{subject:?}");
    }
}

#[test]
fn configured_issuer_and_audience_must_be_there_and_match() {
    let config = Config { jwt_issuer: Some("me".into()), jwt_audience: Some("here".into()), ..Config::default() };
    let check = |iss: Value, aud: Value| {
        let mut claims = json!({ "sub": "u", "exp": NOW + 60 });
        for (name, value) in [("iss", iss), ("aud", aud)] {
            if !value.is_null() {
                claims[name] = value;
            }
        }
        with_claims(&config, &claims.to_string()).map(drop)
    };
    assert_eq!(check(json!("me"), json!("here")), Ok(()));
    assert_eq!(check(json!("me"), json!(["there", "here"])), Ok(()));
    assert_eq!(check(json!("you"), json!("here")), Err(Refusal::Issuer));
    assert_eq!(check(Value::Null, json!("here")), Err(Refusal::Issuer));
    for audience in [json!("there"), json!(["there"]), json!([]), Value::Null] {
        assert_eq!(check(json!("me"), audience), Err(Refusal::Audience));
    }
    assert_eq!(check(json!("me"), json!({ "here": true })), Err(Refusal::Claims));
}
