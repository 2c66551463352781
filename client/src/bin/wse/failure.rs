//! Why the program ends with an error, and what the reader can do.

use std::{io, process::ExitCode};

use wse_client::{Code, ConfigError, Disconnect, SendError, SubscribeError};

/// A reason to stop, as one line, with an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Option<String>,
    message: String,
    hint: Option<&'static str>,
    exit: u8,
}

impl Failure {
    /// Something on this machine, such as a file that cannot be read.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), hint: None, exit: 2 }
    }

    /// Something with a code of the protocol's table, known to this version or not.
    pub(crate) fn coded(code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { exit: exit_of(&code), hint: hint(&code, &message), code: Some(code), message }
    }

    /// The same with another hint, where the usual one does not fit.
    pub(crate) const fn hinting(mut self, hint: Option<&'static str>) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit)
    }

    /// Writes the line, and a hint where one is certain.
    pub(crate) fn report(&self) {
        match &self.code {
            _ if self.exit == 0 => {}
            Some(code) => eprintln!("error: {code}: {}", self.message),
            None => eprintln!("error: {}", self.message),
        }
        if let Some(hint) = self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

fn exit_of(code: &str) -> u8 {
    const REFUSED: [Code; 5] =
        [Code::AuthRequired, Code::AuthFailed, Code::OriginNotAllowed, Code::TopicDenied, Code::PublishDenied];
    const USAGE: [Code; 5] = [
        Code::InvalidConfig,
        Code::InvalidTopic,
        Code::InvalidRequest,
        Code::InvalidSubscription,
        Code::MessageTooLarge,
    ];
    let is_in = |codes: &[Code]| codes.iter().any(|known| known.as_str() == code);
    match code {
        crate::replay::UNCHECKED => 4,
        _ if is_in(&REFUSED) => 3,
        _ if is_in(&USAGE) => 2,
        _ => 1,
    }
}

fn hint(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "AUTH_REQUIRED" => "give a token with --token or WSE_TOKEN",
        "AUTH_FAILED" => "get a fresh token for this server: `wse-server token` makes one",
        "TOPIC_DENIED" => "the token's claim wse_topics does not allow this topic",
        "PUBLISH_DENIED" => "the token's claim wse_publish does not allow this topic",
        "CONNECT_FAILED" => unreached(message),
        crate::replay::UNCHECKED => "a longer recording, from the start of the client, can be checked",
        "KEY_EXCHANGE_FAILED" => "this server cannot encrypt: leave out --encrypt, or use wss://",
        _ => return None,
    })
}

/// What can be done about a connection that did not come to be. There is one code for all of them, so the text decides.
fn unreached(message: &str) -> &'static str {
    let says = |part| message.contains(part);
    if says("CaUsedAsEndEntity") {
        "the server shows a certificate of an authority as its own: make one with basicConstraints CA:FALSE"
    } else if says("invalid peer certificate") {
        "the server's certificate is not trusted here: --ca FILE names one to trust"
    } else if says("invalid HTTP version") {
        "no HTTP comes back: if the server speaks TLS, write wss://"
    } else if says("InvalidContentType") {
        "no TLS comes back: if the server speaks none, write ws://"
    } else {
        "is the server running there? --wait keeps trying"
    }
}

impl From<Disconnect> for Failure {
    fn from(end: Disconnect) -> Self {
        Self::coded(end.code.as_str(), end.detail)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::coded(error.code().as_str(), error.to_string())
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::coded(error.code().as_str(), error.to_string())
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        Self::coded(error.code().as_str(), error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever read our output has enough of it, as in `wse sub … | head`: no failure.
        let exit = u8::from(error.kind() != io::ErrorKind::BrokenPipe);
        Self { code: None, message: error.to_string(), hint: None, exit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_enough_is_no_failure() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit, 0);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit, 1);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_no_server_that_is_not_there() {
        let hint = |message: &str| Failure::coded("CONNECT_FAILED", message).hint.expect("a hint");
        assert!(hint("IO error: invalid peer certificate: UnknownIssuer").contains("--ca"));
        assert!(hint("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))").contains("CA:FALSE"));
        assert!(hint("cannot reach localhost port 5006: Connection refused").contains("running"));
    }

    #[test]
    fn exit_codes_tell_wrong_usage_from_refusals_and_from_the_network() {
        assert_eq!(exit_of("INVALID_CONFIG"), 2);
        assert_eq!(exit_of("AUTH_FAILED"), 3);
        assert_eq!(exit_of("CONNECT_FAILED"), 1);
        assert_eq!(exit_of("A_CODE_OF_THE_FUTURE"), 1);
    }
}
