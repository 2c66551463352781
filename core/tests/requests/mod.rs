//! Questions to the server, and the server's: one outcome each, over any link.

use std::time::Duration;

use wse_client_core::{
    client::{
        ConnectionReport, EncryptionReport, Event, HandlersReport, HealthReport, NoticeKind, Outgoing, PresenceChange,
        Request, RequestId, RequestOutcome, SystemReport,
    },
    config::ClientConfig,
    wire::Payload,
};

use super::world::{LinkFaults, World, WorldConfig};

const SECOND: Duration = Duration::from_secs(1);

fn connected(encryption: bool) -> World {
    let mut client = ClientConfig::new("ws://server/wse");
    client.security.encryption = encryption;
    World::connected(WorldConfig { client, ..WorldConfig::default() })
}

fn outcomes(world: &World, wanted: RequestId) -> Vec<RequestOutcome> {
    let ended = world.events().iter().filter_map(|event| match event {
        Event::Response { request, outcome } if *request == wanted => Some(outcome.clone()),
        _ => None,
    });
    ended.collect()
}

fn answer(world: &mut World, request: &Request) -> Payload {
    let id = world.ask(request);
    world.run(SECOND);
    match outcomes(world, id).as_slice() {
        [RequestOutcome::Answered(message)] => {
            assert_eq!(message.kind(), request.answer_kind());
            message.payload().clone()
        }
        other => panic!("{request:?}: {other:?}"),
    }
}

#[test]
fn the_server_answers_what_a_connection_knows() {
    for encryption in [false, true] {
        let mut world = connected(encryption);
        let health: HealthReport = answer(&mut world, &Request::Health).parse().expect("shape");
        assert_eq!(health.status, "healthy");
        let server = world.client.server().expect("connected").clone();
        let connection: ConnectionReport = answer(&mut world, &Request::ConnectionState).parse().expect("shape");
        assert_eq!(Some(connection.connection_id), server.connection_id);
        assert_eq!((connection.encrypted, connection.rejected), (encryption, 0));
        assert!(connection.uptime_ms > 1000, "{}", connection.uptime_ms);
        let state: EncryptionReport = answer(&mut world, &Request::Encryption).parse().expect("shape");
        assert_eq!(state.enabled, encryption);
        let system: SystemReport = answer(&mut world, &Request::SystemStatus).parse().expect("shape");
        assert_eq!(Some(system.server_version), server.server_version);
        let handlers: HandlersReport = answer(&mut world, &Request::Handlers).parse().expect("shape");
        assert!(handlers.handlers.iter().any(|kind| kind == Request::Health.kind()));
        for request in [Request::ServerConfig, Request::SequenceStats] {
            answer(&mut world, &request);
        }
        assert!(world.plaintext_after_agreement().is_empty());
        assert!(!world.events().iter().any(|event| event.message().is_some()), "an answer came twice");
    }
}

#[test]
fn a_question_that_nobody_answers_ends_once() {
    let mut world = connected(false);
    let id = world.ask(&Request::Metrics);
    world.run(9 * SECOND);
    assert!(outcomes(&world, id).is_empty());
    world.run(2 * SECOND);
    assert!(matches!(outcomes(&world, id)[..], [RequestOutcome::TimedOut]));
}

#[test]
fn a_cut_ends_all_questions_and_none_is_asked_again() {
    let mut world = connected(false);
    world.faults = LinkFaults { swallow: true, ..LinkFaults::default() };
    let ids = [world.ask(&Request::Health), world.ask(&Request::SystemStatus)];
    world.faults = LinkFaults::default();
    world.cut();
    world.run(60 * SECOND);
    for id in ids {
        assert!(matches!(outcomes(&world, id)[..], [RequestOutcome::Disconnected]), "{:?}", outcomes(&world, id));
    }
}

#[test]
fn the_servers_questions_are_answered_and_seen() {
    for encryption in [false, true] {
        let mut world = connected(encryption);
        world.server_sends(Outgoing::new("metrics_request", Payload::EMPTY));
        world.run(SECOND);
        assert_eq!(world.kinds_heard(), ["metrics_response"]);
        assert!(matches!(world.events().last(), Some(Event::Message(message)) if message.kind() == "metrics_request"));
        assert!(world.plaintext_after_agreement().is_empty());
    }
}

#[test]
fn notices_keep_their_message_and_wrappers_are_opened_once() {
    let mut world = connected(true);
    let json = |text: &'static str| Payload::from_json(text).expect("valid JSON");
    world.server_sends(Outgoing::new("presence_join", json(r#"{"user_id":"ann","data":{"n":1}}"#)));
    world.server_sends(Outgoing::new("priority_message", json(r#"{"message":{"t":"alarm","p":{"n":2}}}"#)));
    world.server_sends(Outgoing::new("priority_message", json(r#"{"n":3}"#)));
    world.run(SECOND);
    let notices: Vec<_> = world.events().iter().filter(|event| matches!(event, Event::Notice(_))).collect();
    let [Event::Notice(notice)] = notices[..] else { panic!("{notices:?}") };
    assert_eq!(notice.kind, NoticeKind::PresenceJoin);
    let change: PresenceChange = notice.source.payload().parse().expect("shape");
    assert_eq!(change.user_id, "ann");
    let seen: Vec<_> = world.events().iter().filter_map(Event::message).map(|message| message.kind()).collect();
    assert_eq!(seen, ["presence_join", "alarm", "priority_message"]);
    assert_eq!(world.received(), [2, 3]);
    assert!(world.events().iter().filter_map(Event::message).all(|message| message.is_encrypted()));
}
