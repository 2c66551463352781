//! The alphabet: everything that an application, a driver, a server and the clock can do to a client.

use std::sync::LazyLock;

use bytes::Bytes;
use wse_client_core::{
    client::NetworkHint,
    io::Frame,
    rng::{Rng, Seed},
    security::KeyPair,
};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Connect,
    Close,
    Reconnect,
    SetToken,
    Subscribe,
    Send,
    TokenGiven,
    NoToken,
    TokenFailed,
    Opened,
    OpenedOld,
    FailedPlainly,
    FailedWith401,
    FailedWith403,
    FailedOld,
    ClosedWith(u16),
    ClosedOld,
    Says(Word),
    SaysOnOld(Word),
    ReadsPaused(bool),
    Hint(NetworkHint),
    /// To the next deadline of the connection, waking at every deadline before it.
    NextDeadline,
    /// Ten minutes at once, as after the lid of a laptop was shut.
    Sleep,
}

/// What a server can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Ready,
    Hello,
    HelloWithKey,
    HelloWithKeyFull,
    HelloWithBadKey,
    Pong,
    Application,
    AuthError,
    SubscriptionAnswer,
    /// Come back after 20 seconds, within 40.
    Draining,
    Garbage,
}

pub(crate) const ALPHABET: [Step; 40] = [
    Step::Connect,
    Step::Close,
    Step::Reconnect,
    Step::SetToken,
    Step::Subscribe,
    Step::Send,
    Step::TokenGiven,
    Step::NoToken,
    Step::TokenFailed,
    Step::Opened,
    Step::OpenedOld,
    Step::FailedPlainly,
    Step::FailedWith401,
    Step::FailedWith403,
    Step::FailedOld,
    Step::ClosedWith(1000),
    Step::ClosedWith(4401),
    Step::ClosedWith(4403),
    Step::ClosedOld,
    Step::Says(Word::Ready),
    Step::Says(Word::Hello),
    Step::Says(Word::HelloWithKey),
    Step::Says(Word::HelloWithKeyFull),
    Step::Says(Word::HelloWithBadKey),
    Step::Says(Word::Pong),
    Step::Says(Word::Application),
    Step::Says(Word::AuthError),
    Step::Says(Word::SubscriptionAnswer),
    Step::Says(Word::Draining),
    Step::Says(Word::Garbage),
    Step::SaysOnOld(Word::Ready),
    Step::ReadsPaused(true),
    Step::ReadsPaused(false),
    Step::Hint(NetworkHint::Offline),
    Step::Hint(NetworkHint::Online),
    Step::Hint(NetworkHint::Sleep),
    Step::Hint(NetworkHint::Wake),
    Step::Hint(NetworkHint::AddressChanged),
    Step::NextDeadline,
    Step::Sleep,
];

impl Word {
    /// The frame, as a server of any make would write it.
    pub(crate) fn frame(self) -> Frame {
        static KEY: LazyLock<String> =
            LazyLock::new(|| KeyPair::generate(&mut Rng::new(Seed::from_u64(5))).public_base64());
        let text = match self {
            Self::Ready => r#"{"t":"server_ready","p":{}}"#.to_owned(),
            Self::Hello => r#"{"t":"server_hello","p":{}}"#.to_owned(),
            Self::HelloWithKey => {
                format!(r#"{{"t":"server_hello","p":{{"encryption_public_key":"{}"}}}}"#, KEY.as_str())
            }
            Self::HelloWithKeyFull => format!(
                r#"{{"t":"server_hello","p":{{"encryption_public_key":"{}","features":{{"full_duplex":true}}}}}}"#,
                KEY.as_str()
            ),
            Self::HelloWithBadKey => r#"{"t":"server_hello","p":{"encryption_public_key":"AAAA"}}"#.to_owned(),
            Self::Pong => r#"{"t":"PONG","p":{}}"#.to_owned(),
            Self::Application => r#"{"t":"order","p":{"n":1}}"#.to_owned(),
            Self::AuthError => r#"{"t":"error","p":{"code":"AUTH_REQUIRED","message":"who?"}}"#.to_owned(),
            Self::SubscriptionAnswer => {
                r#"{"t":"subscription_update","p":{"action":"subscribe","success":true}}"#.to_owned()
            }
            Self::Draining => r#"{"t":"draining","p":{"retry_after":20000,"window":40000}}"#.to_owned(),
            Self::Garbage => "{]".to_owned(),
        };
        Frame::Text(Bytes::from(text))
    }
}
