//! Signed messages between a `Client` and a `Peer`: what is signed, and what is refused.

mod pair;

use pair::Pair;
use wse_client_core::{
    client::{self, Outgoing},
    config::ClientConfig,
    error::Code,
    io::Frame,
    security::{Secret, SigningConfig, SigningForm, Verification},
    server::{self, PeerConfig},
    wire::{Encoding, Payload, Priority},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn signing(change: impl FnOnce(&mut SigningConfig)) -> SigningConfig {
    let mut signing = SigningConfig::new(KEY.into());
    signing.kinds.insert("order".into());
    change(&mut signing);
    signing
}

fn connected(encoding: Encoding, client: Option<SigningConfig>, server: Option<SigningConfig>) -> Pair {
    let mut config = ClientConfig::new("ws://server/wse");
    config.performance.encoding = encoding;
    config.security.signing = client;
    Pair::connected(config, PeerConfig { signing: server, ..PeerConfig::default() }, 1)
}

fn required() -> SigningConfig {
    signing(|signing| signing.verification = Verification::Required)
}

fn signatures(pair: &Pair) -> usize {
    pair.written.iter().filter(|frame| frame.bytes().windows(3).any(|window| window == b"sig")).count()
}

fn refused_by_server(pair: &Pair) -> Vec<Code> {
    pair.peer_events
        .iter()
        .filter_map(|event| match event {
            server::Event::Rejected(error) => Some(error.code),
            _ => None,
        })
        .collect()
}

#[test]
fn selected_messages_are_signed_and_accepted_in_every_encoding_and_form() {
    for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
        for form in [SigningForm::Hmac, SigningForm::Jwt] {
            let with_form = |mut config: SigningConfig| {
                config.form = form;
                Some(config)
            };
            let mut pair = connected(encoding, with_form(required()), with_form(required()));
            pair.send_up("order", 1);
            pair.send_up("x", 2);
            pair.send_down("order", 3);
            pair.send_down("x", 4);
            assert_eq!(signatures(&pair), 2, "{encoding:?} {form:?}");
            pair.settle();
            assert_eq!((pair.heard_up(), pair.heard_down()), (vec![1, 2], vec![3, 4]), "{encoding:?} {form:?}");
            assert_eq!(refused_by_server(&pair), []);
        }
    }
}

#[test]
fn what_a_client_publishes_is_signed_and_awkward_values_keep_their_text() {
    for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
        let mut pair = connected(encoding, Some(required()), Some(required()));
        let json =
            r#"{"n":7,"big":18446744073709551615,"small":1e-7,"one":1.0,"far":1e300,"neg":-3,"s":"é\n😀","d":1,"d":2}"#;
        let mut message = Outgoing::new("x", Payload::from_json(json).expect("JSON")).to_topic("room");
        message.priority = Priority::High;
        message.correlation_id = Some("c-1".into());
        pair.client.send(message, pair.now).expect("connected");
        pair.settle();
        assert_eq!(refused_by_server(&pair), [], "{encoding:?}");
        assert_eq!(pair.heard_up(), [7], "{encoding:?}");
    }
}

#[test]
fn a_missing_or_wrong_signature_is_refused_with_its_code() {
    let other_key = signing(|signing| signing.key = Secret::from("another key of at least 32 bytes"));
    for (client, server) in
        [(None, required()), (Some(other_key.clone()), required()), (Some(other_key), signing(|_| {}))]
    {
        let mut pair = connected(Encoding::Text, client, Some(server));
        pair.send_up("order", 1);
        pair.send_up("x", 2);
        pair.settle();
        assert_eq!(pair.heard_up(), [2]);
        assert_eq!(refused_by_server(&pair), [Code::SignatureInvalid]);
        let told = pair
            .client_events
            .iter()
            .any(|event| matches!(event, client::Event::ServerError(error) if error.code == "SIGNATURE_INVALID"));
        assert!(told, "the client is told");
    }
}

#[test]
fn a_client_refuses_what_its_server_did_not_sign() {
    let mut pair = connected(Encoding::Text, Some(required()), None);
    pair.send_down("order", 1);
    pair.send_down("x", 2);
    pair.settle();
    assert_eq!(pair.heard_down(), [2]);
    let refused =
        |event: &client::Event| matches!(event, client::Event::Rejected(error) if error.code == Code::SignatureInvalid);
    assert_eq!(pair.client_events.iter().filter(|event| refused(event)).count(), 1);
}

#[test]
fn a_signed_frame_counts_once_and_any_change_is_noticed() {
    let mut pair = connected(Encoding::Text, Some(required()), Some(required()));
    pair.send_up("order", 1);
    let frame = pair.up[0].clone();
    let changed = String::from_utf8(frame.bytes().to_vec()).expect("text").replace("\"n\":1", "\"n\":9");
    pair.peer.handle(server::Input::Frame(Frame::Text(changed.into())), pair.now);
    pair.settle();
    pair.peer.handle(server::Input::Frame(frame), pair.now);
    pair.settle();
    assert_eq!(pair.heard_up(), [1]);
    assert_eq!(refused_by_server(&pair), [Code::SignatureInvalid, Code::SignatureInvalid]);
}

#[test]
fn a_short_key_is_refused() {
    let mut config = ClientConfig::new("ws://server/wse");
    config.security.signing = Some(SigningConfig::new("short".into()));
    assert_eq!(config.check().expect_err("too short").setting, "security.signing.key");
}
