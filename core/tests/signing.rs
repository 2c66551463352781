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
    time::WallTime,
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

fn refused_by_client(pair: &Pair) -> usize {
    let refused =
        |event: &client::Event| matches!(event, client::Event::Rejected(error) if error.code == Code::SignatureInvalid);
    pair.client_events.iter().filter(|event| refused(event)).count()
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
    assert_eq!((pair.heard_down(), refused_by_client(&pair)), (vec![2], 1));
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
fn a_signed_frame_cannot_be_repeated_on_another_connection_of_the_server() {
    for form in [SigningForm::Hmac, SigningForm::Jwt] {
        let with_form = || Some(signing(|signing| signing.form = form));
        let mut first = connected(Encoding::Text, with_form(), Some(required()));
        first.send_up("order", 1);
        let frame = first.up[0].clone();
        // Whoever listened says nothing of itself, neither what it reads nor that it can sign.
        let mut second = Pair::named(PeerConfig { signing: Some(required()), ..PeerConfig::default() }, "c-2");
        second.peer.handle(server::Input::Frame(frame), second.now);
        second.settle();
        assert_eq!((second.heard_up(), refused_by_server(&second)), (vec![], vec![Code::SignatureInvalid]), "{form:?}");
        first.settle();
        assert_eq!(first.heard_up(), [1], "{form:?}");
    }
}

#[test]
fn a_client_remembers_what_it_heard_on_its_last_connection() {
    let mut pair = connected(Encoding::Text, Some(required()), Some(required()));
    pair.send_down("order", 1);
    let frame = pair.down[0].clone();
    pair.settle();
    // Somebody in the middle gives the next connection the name of the last one.
    pair.reconnect(PeerConfig { signing: Some(required()), ..PeerConfig::default() });
    assert_eq!((pair.heard_down(), refused_by_client(&pair)), (vec![1], 0));
    pair.down.push_back(frame);
    pair.settle();
    assert_eq!((pair.heard_down(), refused_by_client(&pair)), (vec![1], 1));
    pair.send_down("order", 2);
    pair.settle();
    assert_eq!(pair.heard_down(), [1, 2]);
}

#[test]
fn a_short_key_is_refused() {
    let mut config = ClientConfig::new("ws://server/wse");
    config.security.signing = Some(SigningConfig::new("short".into()));
    assert_eq!(config.check().expect_err("too short").setting, "security.signing.key");
    let server = PeerConfig { signing: Some(SigningConfig::new("short".into())), ..PeerConfig::default() };
    assert_eq!(server.check().expect_err("too short").setting, "signing.key");
    let server = PeerConfig { token_key: Some("short".into()), ..PeerConfig::default() };
    assert_eq!(server.check().expect_err("too short").setting, "token_key");
    let server = PeerConfig { token_key: Some(KEY.into()), signing: Some(required()), ..PeerConfig::default() };
    assert_eq!(server.check(), Ok(()));
}

#[test]
fn clocks_may_differ_by_five_minutes_and_no_more() {
    for (seconds, refused) in [(-299, false), (299, false), (-301, true), (301, true)] {
        let mut pair = connected(Encoding::Binary, Some(signing(|_| ())), Some(signing(|_| ())));
        let wall = pair::WALL.as_unix_ms().checked_add_signed(seconds * 1000).expect("after 1970");
        pair.peer.set_clock(WallTime::from_unix_ms(wall), pair.now);
        pair.send_up("order", 1);
        pair.send_down("order", 2);
        pair.settle();
        assert_eq!(
            (refused_by_server(&pair).len(), refused_by_client(&pair)),
            (refused.into(), refused.into()),
            "{seconds}"
        );
        assert_eq!(
            (pair.heard_up().len(), pair.heard_down().len()),
            ((!refused).into(), (!refused).into()),
            "{seconds}"
        );
    }
}

#[test]
fn a_client_knows_whether_the_server_has_a_key() {
    for server in [None, Some(signing(|_| ()))] {
        let has_key = server.is_some();
        let pair = connected(Encoding::Binary, Some(signing(|_| ())), server);
        assert_eq!(pair.client.server().expect("connected").signing, has_key);
    }
}

#[test]
fn a_wrapper_must_be_signed_as_what_it_carries() {
    let only_orders = |signing: &mut SigningConfig| {
        signing.kinds = ["order".to_owned()].into();
        signing.verification = Verification::Required;
    };
    let mut pair = connected(Encoding::Text, None, Some(signing(only_orders)));
    pair.settle();
    let wrapped = Outgoing { priority: Priority::High, ..Outgoing::new("order", Payload::EMPTY) }.wrapped();
    pair.client.send(wrapped, pair.now).expect("connected");
    pair.settle();
    assert_eq!(refused_by_server(&pair), [Code::SignatureInvalid]);
}
