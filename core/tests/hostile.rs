//! What a server can say to hurt a client.

use wse_client_core::{
    client::{Action, Client, ConnectionState, Event, Input, Output},
    config::{ClientConfig, Credentials, TokenTransport},
    error::Code,
    io::{Frame, SocketId},
    rng::Seed,
    time::{Moment, WallTime},
};

const NOW: Moment = Moment::from_millis(1000);

/// A client whose socket is open.
fn opened() -> (Client, SocketId) {
    opened_with(ClientConfig::new("ws://server/wse"))
}

fn opened_with(config: ClientConfig) -> (Client, SocketId) {
    let mut client = Client::new(config, Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("settings");
    client.connect(NOW);
    loop {
        match client.poll() {
            Output::Act(Action::Open { socket, .. }) => {
                client.handle(Input::Opened(socket), NOW);
                return (client, socket);
            }
            Output::Wait(_) => panic!("a client that connects opens a socket"),
            _ => {}
        }
    }
}

#[test]
fn losses_beyond_every_count_are_counted_as_many() {
    let (mut client, socket) = opened();
    for _ in 0..2 {
        let lost = format!(r#"WSE{{"t":"lost","p":{{"topic":"a","count":{}}}}}"#, u64::MAX);
        client.handle(Input::Frame(socket, Frame::Text(lost.into())), NOW);
    }
    assert_eq!(client.metrics(NOW).messages_lost, u64::MAX);
}

#[test]
fn a_client_that_wants_encryption_takes_no_message_before_the_key() {
    let mut config = ClientConfig::new("ws://server/wse");
    config.security.encryption = true;
    let (mut client, socket) = opened_with(config);
    let mut rejected = 0;
    for (kind, taken) in [
        ("pay", false),
        ("rate_limit_warning", false),
        ("subscription_update", false),
        ("lost", false),
        ("batch", false),
        ("key_rotation_request", false),
        ("PONG", true),
        ("heartbeat", true),
        ("draining", true),
    ] {
        let text = format!(r#"U{{"t":"{kind}","id":"{kind}","p":{{"messages":[{{"t":"pay","p":{{}}}}]}}}}"#);
        client.handle(Input::Frame(socket, Frame::Text(text.into())), NOW);
        rejected += u64::from(!taken);
        assert_eq!(client.metrics(NOW).frames_rejected, rejected, "{kind}");
        loop {
            match client.poll() {
                Output::Wait(_) => break,
                Output::Emit(Event::Rejected(error)) => assert_eq!(error.code, Code::EncryptionRequired),
                Output::Emit(Event::Message(message)) => panic!("{message:?} was handed over"),
                _ => {}
            }
        }
    }
    assert_eq!(client.state(), ConnectionState::Connecting);
}

#[test]
fn a_token_in_the_query_is_not_printed() {
    let mut config = ClientConfig::new("ws://server/wse");
    config.token_transport = TokenTransport::Query;
    config.credentials = Credentials::Token("hunter2".into());
    let mut client = Client::new(config, Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("settings");
    client.connect(NOW);
    let mut dialled = false;
    loop {
        let output = client.poll();
        let printed = format!("{output:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
        match output {
            Output::Act(Action::Open { url, .. }) => {
                dialled = true;
                assert!(url.contains("token=hunter2") && printed.contains("ws://server/wse"), "{printed}");
            }
            Output::Wait(_) => break,
            _ => {}
        }
    }
    assert!(dialled);
}
