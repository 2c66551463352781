//! Requests about topics that a server refuses as a whole. Source: PROTOCOL.md §4.5, §6.1.

mod pair;

use pair::Pair;
use wse_client_core::{
    client::{Event, RequestId, SubscriptionAction, SubscriptionOutcome},
    config::ClientConfig,
    io::Frame,
    server::{self, PeerConfig},
};

fn pair(topics: &[&str], server_takes: usize) -> Pair {
    let mut config = ClientConfig::new("ws://server/wse");
    config.topics = topics.iter().map(|&name| name.to_owned()).collect();
    let mut peer = PeerConfig::default();
    peer.limits.max_topics = server_takes;
    Pair::connected(config, peer, 1)
}

fn outcomes(pair: &mut Pair) -> Vec<SubscriptionOutcome> {
    let events = std::mem::take(&mut pair.client_events).into_iter();
    events.filter_map(|event| if let Event::Subscribed(outcome) = event { Some(outcome) } else { None }).collect()
}

/// The server does as it was asked; gives the topics of each request.
fn grant(pair: &mut Pair) -> Vec<Vec<String>> {
    let mut asked = Vec::new();
    for event in std::mem::take(&mut pair.peer_events) {
        if let server::Event::Subscribe(request) = event {
            asked.push(request.topics.clone());
            let active = request.topics.clone();
            pair.peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &active, pair.now);
        }
    }
    pair.settle();
    asked
}

#[test]
fn an_error_about_a_request_is_its_outcome() {
    let mut pair = pair(&[], 2);
    let id = pair.client.subscribe(&["a", "b", "c"], pair.now).expect("within the client's own limit");
    pair.settle();
    let told = pair.client_events.iter().any(|event| matches!(event, Event::ServerError(_)));
    let ended = outcomes(&mut pair);
    assert!(told, "the server's words reach the application, too");
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!((ended[0].request, ended[0].confirmed, ended[0].accepted.len()), (id, true, 0));
    assert!(ended[0].refused.iter().all(|(_, why)| why == "TOO_MANY_TOPICS") && ended[0].refused.len() == 3);
    assert!(pair.client.topics().is_empty(), "what was refused is not asked for again");
}

#[test]
fn what_may_work_later_stays_wanted() {
    let mut pair = pair(&[], 10);
    pair.client.subscribe(&["a"], pair.now).expect("connected");
    pair.drain();
    let sent = pair.up.pop_front().expect("the request");
    let asked = wse_client_core::wire::decode(&sent, &Default::default(), None).expect("our own frame");
    let refusal = format!(
        r#"WSE{{"t":"error","cid":"{}","p":{{"code":"SERVER_ERROR","message":"no"}}}}"#,
        asked.id().expect("has an id")
    );
    pair.down.push_back(Frame::Text(refusal.into()));
    pair.deliver_down();
    let ended = outcomes(&mut pair);
    assert_eq!(ended.iter().map(|outcome| outcome.confirmed).collect::<Vec<_>>(), [false]);
    assert_eq!(pair.client.topics(), ["a"]);
}

#[test]
fn a_server_that_takes_fewer_topics_is_asked_in_parts() {
    let names = ["a", "b", "c", "d", "e"];
    let mut pair = pair(&names, 2);
    // All of them go in one request before the server said how many it takes; it refuses, and parts follow.
    assert_eq!(grant(&mut pair), [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    let ended = outcomes(&mut pair);
    assert!(ended.iter().all(|outcome| outcome.request == RequestId(0) && outcome.confirmed), "{ended:?}");
    assert_eq!(ended.iter().flat_map(|outcome| outcome.accepted.clone()).collect::<Vec<_>>(), names);
    assert_eq!(pair.client.topics(), names);
}
