//! What a token says, and whether that is good enough. Source: RFC 7519 §4.1, PROTOCOL.md §4.2.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use wse_client_core::{server::Identity, time::WallTime, topic::Acl};

use super::verify::Refusal;

/// Longest user id in bytes.
pub(super) const MAX_SUBJECT: usize = 256;

/// What the server reads in a token. Other claims are ignored; one of these twice makes the token unreadable.
#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    /// Seconds since 1970, as in `nbf`; fractions are allowed.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(borrow, default)]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    aud: Option<Audience<'a>>,
    #[serde(default)]
    wse_topics: Option<Acl>,
    #[serde(default)]
    wse_publish: Option<Acl>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Many(#[serde(borrow)] Vec<Cow<'a, str>>),
}

impl Audience<'_> {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::One(audience) => audience == name,
            Self::Many(audiences) => audiences.iter().any(|audience| audience == name),
        }
    }
}

/// What is asked of the claims of every token.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// The `iss` that there must be. `None`: not looked at.
    pub(super) issuer: Option<String>,
    /// The `aud` that there must be, alone or in a list. `None`: not looked at.
    pub(super) audience: Option<String>,
    /// How far clocks may be apart.
    pub(super) skew: Duration,
}

impl Rules {
    /// Who the token is about, and what it allows: subscribing to everything unless `wse_topics` says less,
    /// publishing to nothing unless `wse_publish` says more.
    pub(super) fn check(&self, claims: &[u8], wall: WallTime) -> Result<Identity, Refusal> {
        let claims: Claims<'_> = serde_json::from_slice(claims).map_err(|_| Refusal::Claims)?;
        self.check_time(&claims, wall)?;
        // A claim that is asked for must be there.
        if self.issuer.is_some() && self.issuer.as_deref() != claims.iss.as_deref() {
            return Err(Refusal::Issuer);
        }
        if let Some(audience) = &self.audience
            && !claims.aud.as_ref().is_some_and(|claimed| claimed.has(audience))
        {
            return Err(Refusal::Audience);
        }
        let subject = claims.sub.into_owned();
        if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
            return Err(Refusal::Subject);
        }
        Ok(Identity {
            user_id: subject,
            subscribe: claims.wse_topics.unwrap_or_default(),
            publish: claims.wse_publish.unwrap_or_else(Acl::nothing),
        })
    }

    /// A token is over in the very second that `exp` names. Source: RFC 7519 §4.1.4.
    fn check_time(&self, claims: &Claims<'_>, wall: WallTime) -> Result<(), Refusal> {
        let (now, skew) = (wall.as_unix_ms() as f64 / 1000.0, self.skew.as_secs_f64());
        if now >= claims.exp + skew {
            return Err(Refusal::Expired);
        }
        match claims.nbf {
            Some(nbf) if now + skew < nbf => Err(Refusal::NotYet),
            _ => Ok(()),
        }
    }
}
