//! Questions to the server, and the server's: one outcome each, over any link.

use std::time::Duration;

use wse_client_core::{
    client::{
        BatchReport, ConnectionReport, EncryptionReport, Event, HandlersReport, HealthReport, NoticeKind, Outgoing,
        PresenceChange, PresenceReport, Request, RequestError, RequestId, RequestOutcome, SendError, SystemReport,
    },
    config::ClientConfig,
    error::Code,
    wire::{Payload, Priority},
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
            assert_eq!(Some(message.kind()), request.answer_kind());
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

#[test]
fn a_question_by_its_type_is_answered_like_the_typed_one() {
    let mut world = connected(false);
    let named = |kind: &str| Request::Named { kind: kind.to_owned(), payload: Payload::EMPTY };
    let health: HealthReport = answer(&mut world, &named("health_check_request")).parse().expect("shape");
    assert_eq!(health.status, "healthy");
    let refused = world.client.request(&named("server_hello"), world.now()).expect_err("reserved");
    assert!(matches!(&refused, RequestError::Unusable(SendError::InvalidKind { .. })), "{refused}");
    assert_eq!(refused.code(), Code::InvalidRequest);
    let large = Request::Named { kind: "x".into(), payload: Payload::new(&"x".repeat(1 << 20)).expect("text") };
    assert_eq!(world.client.request(&large, world.now()).expect_err("too large").code(), Code::MessageTooLarge);
}

#[test]
fn a_question_that_only_the_application_knows_is_answered_by_cid_alone() {
    let mut world = connected(false);
    let question = Request::Named { kind: "weather".into(), payload: Payload::EMPTY };
    let id = world.ask(&question);
    world.server_sends(Outgoing::new("weather_response", Payload::EMPTY));
    world.run(SECOND);
    assert!(outcomes(&world, id).is_empty());
    let cid = world.last_id_heard().to_owned();
    world.server_sends(Outgoing { correlation_id: Some(cid), ..Outgoing::new("sunny", Payload::EMPTY) });
    world.run(SECOND);
    assert!(matches!(&outcomes(&world, id)[..], [RequestOutcome::Answered(message)] if message.kind() == "sunny"));
}

#[test]
fn who_is_present_can_be_asked() {
    let mut world = connected(false);
    let id = world.ask(&Request::Presence { topic: "room".into(), after: None, limit: Some(2) });
    world.run(SECOND);
    assert_eq!(world.kinds_heard(), ["presence_request"]);
    let members = r#"{"topic":"room","total":1,"members":[{"user_id":"ann","data":{}}]}"#;
    let cid = Some(world.last_id_heard().to_owned());
    let reply = Outgoing::new("presence_response", Payload::from_json(members).expect("JSON"));
    world.server_sends(Outgoing { correlation_id: cid, ..reply });
    world.run(SECOND);
    let ended = outcomes(&world, id);
    let [RequestOutcome::Answered(message)] = &ended[..] else { panic!("{ended:?}") };
    let report: PresenceReport = message.payload().parse().expect("shape");
    assert_eq!((report.total, report.members[0].user_id.as_str()), (1, "ann"));
}

#[test]
fn a_batch_is_taken_apart_and_answered_message_by_message() {
    for encryption in [false, true] {
        let mut world = connected(encryption);
        let numbered = |n: u64| Outgoing::new("n", Payload::new(&serde_json::json!({ "n": n })).expect("JSON"));
        let nested = Outgoing::new("batch_message", Payload::EMPTY);
        let named = Outgoing { id: Some("mine".into()), ..numbered(1) };
        let report: BatchReport =
            answer(&mut world, &Request::Batch(vec![named, nested, numbered(2)])).parse().expect("shape");
        assert_eq!((report.total, report.successful, report.failed), (3, 2, 1));
        assert_eq!(report.results[0].id.as_deref(), Some("mine"));
        assert_eq!(report.results[1].error.as_deref(), Some("INVALID_REQUEST"));
        assert_eq!(world.heard_by_server(), [1, 2]);
        assert!(world.plaintext_after_agreement().is_empty());
    }
    let mut world = connected(false);
    let many = vec![Outgoing::new("n", Payload::EMPTY); 10_000];
    assert_eq!(world.client.request(&Request::Batch(many), world.now()).expect_err("many").code(), Code::QueueFull);
    let wrong = Request::Batch(vec![Outgoing::new("ping", Payload::EMPTY)]);
    assert_eq!(world.client.request(&wrong, world.now()).expect_err("reserved").code(), Code::InvalidRequest);
}

#[test]
fn a_wrapped_message_is_opened_by_the_server_with_its_priority() {
    let mut world = connected(true);
    let alarm = Outgoing::new("alarm", Payload::from_json(r#"{"n":7}"#).expect("JSON"));
    let wrapped = Outgoing { priority: Priority::Critical, ..alarm }.wrapped();
    assert_eq!((wrapped.kind.as_str(), wrapped.priority), ("priority_message", Priority::Critical));
    world.client.send(wrapped, world.now()).expect("connected");
    world.run(SECOND);
    assert_eq!((world.kinds_heard(), world.heard_by_server()), (["alarm".to_owned()].as_slice(), [7].as_slice()));
}

#[test]
fn a_snapshot_is_a_notice_of_its_own_kind() {
    let mut world = connected(false);
    world.server_sends(Outgoing::new("portfolio_snapshot", Payload::EMPTY));
    world.server_sends(Outgoing::new("snapshot_complete", Payload::EMPTY));
    world.server_sends(Outgoing::new("portfolio_update", Payload::EMPTY));
    world.run(SECOND);
    let kinds: Vec<_> = world.events().iter().filter(|event| event.message().is_some()).map(notice).collect();
    assert_eq!(kinds, [Some(NoticeKind::Snapshot), Some(NoticeKind::SnapshotComplete), None]);
}

const fn notice(event: &Event) -> Option<NoticeKind> {
    match event {
        Event::Notice(notice) => Some(notice.kind),
        _ => None,
    }
}
