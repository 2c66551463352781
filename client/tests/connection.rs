//! Connecting, subscribing, sending, and the ends of connections.

mod support;

use std::{
    future::Future as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use support::{Behaviour, Server, events_until, eventually, messages};
use wse_client::{
    Builder, Client, Code, ConnectError, ConnectionState, Encoding, Event, NetworkHint, Outgoing, Payload,
};

fn quick(server: &Server) -> Builder {
    Client::builder(&server.url).initial_delay(Duration::from_millis(10)).max_delay(Duration::from_millis(50))
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_subscribes_and_receives_in_order() {
    let server = Server::start().await;
    let mut client = quick(&server).topics(["first:*"]).token("t0ken").connect().await.unwrap();
    assert_eq!(client.state(), ConnectionState::Connected);
    assert_eq!(client.server().unwrap().user_id.as_deref(), Some("tester"));
    let outcome = client.subscribe(&["second"]).await.unwrap();
    assert!(outcome.confirmed && outcome.accepted == ["second"] && outcome.refused.is_empty(), "{outcome:?}");
    for number in 0..500 {
        let topic = if number % 2 == 0 { "first:x" } else { "second" };
        server.publish(topic, "tick", &number.to_string());
    }
    let received = messages(&mut client, 500).await;
    for (number, message) in received.iter().enumerate() {
        assert_eq!(message.payload().parse::<usize>().unwrap(), number);
        assert_eq!(message.topic(), Some(if number % 2 == 0 { "first:x" } else { "second" }));
    }
    let upgrade = &server.upgrades()[0];
    assert_eq!(upgrade.token.as_deref(), Some("t0ken"));
    assert_eq!(upgrade.cookie.as_deref(), Some("access_token=t0ken"));
    assert_eq!(client.metrics().messages_received, 500);
    client.unsubscribe(&["second"]).await.unwrap();
    assert_eq!(client.topics(), ["first:*"]);
    client.close().await;
    assert_eq!(client.state(), ConnectionState::Closed);
    eventually("the server sees the close frame", || server.closes().iter().any(|close| close.code == 1000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_awaited_outcome_comes_after_the_events_before_it() {
    let server = Server::with(Behaviour { denied: Some("secret"), ..Behaviour::default() }).await;
    let client = quick(&server).connect().await.unwrap();
    for _ in 0..200 {
        let id = client.publish("secret", "x", &1).await.unwrap();
        client.subscribe(&["t"]).await.unwrap();
        let refused =
            |event: &Event| matches!(event, Event::ServerError(error) if error.source.correlation_id() == Some(&id));
        assert!(client.try_next_batch(usize::MAX).iter().any(refused), "the refusal came first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_carries_messages_both_ways() {
    let server = Server::start().await;
    let large = format!("{{\"text\":\"{}\"}}", "ab".repeat(4000));
    for (name, builder) in [
        ("plain", quick(&server).compression(None)),
        ("text", quick(&server).encoding(Encoding::Text)),
        ("compressed", quick(&server)),
        ("msgpack", quick(&server).encoding(Encoding::Msgpack)),
        ("encrypted", quick(&server).encryption(true)),
        ("encrypted msgpack", quick(&server).encryption(true).encoding(Encoding::Msgpack)),
    ] {
        let mut client = builder.topics([name]).connect().await.unwrap();
        assert_eq!(client.server().unwrap().encrypted, name.starts_with("encrypted"));
        events_until(&mut client, "the outcome", |event| matches!(event, Event::Subscribed(_))).await;
        let payload = Payload::from_json(large.clone()).unwrap();
        let id = client.send(Outgoing::new("note", payload).to_topic(name)).await.unwrap();
        assert_eq!(id.len(), 36, "a UUID");
        let message = &messages(&mut client, 1).await[0];
        assert_eq!(message.payload().to_json(), large, "{name}");
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_named_and_nothing_is_dialled() {
    for (builder, setting) in [
        (Client::builder("http://localhost"), "endpoints"),
        (Client::builder("localhost:5006"), "endpoints"),
        (Client::builder("ws://a").endpoint(""), "endpoints"),
        (Client::builder("ws://a").topics([""]), "topics"),
        (Client::builder("ws://a").backoff_multiplier(0.0), "reconnect.multiplier"),
        (Client::builder("ws://a").event_buffer(0), "event_buffer"),
        (Client::builder("ws://a").send_buffer(0), "send_buffer"),
        (Client::builder("ws://a").write_timeout(Duration::ZERO), "write_timeout"),
        (Client::builder("ws://a").root_certificates("nonsense"), "root_certificates"),
    ] {
        match builder.connect().await {
            Err(ConnectError::Config(error)) => {
                assert_eq!(error.setting, setting);
                assert_eq!(error.code(), Code::InvalidConfig);
            }
            other => panic!("{setting}: {other:?}"),
        }
    }
}

#[test]
fn starting_outside_a_runtime_is_an_error_and_no_panic() {
    let error = Client::builder("ws://a").start().unwrap_err();
    assert_eq!(error.setting, "runtime");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_and_connect_says_so() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("ws://127.0.0.1:{unused}/wse");
    let error = Client::builder(&url)
        .initial_delay(Duration::from_millis(20))
        .connect_timeout(Duration::from_millis(300))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!(error.is_retryable());
    assert!(error.to_string().contains("CONNECT_FAILED: cannot reach 127.0.0.1 port"), "{error}");

    let error =
        Client::builder(&url).initial_delay(Duration::from_millis(1)).max_retries(2).connect().await.unwrap_err();
    assert_eq!(error.code(), Code::RetriesExhausted);
    assert!(!error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_speaks_is_left_and_tried_again() {
    let server = Server::with(Behaviour { speaks: false, ..Behaviour::default() }).await;
    let error = quick(&server)
        .ready_timeout(Duration::from_millis(100))
        .connect_timeout(Duration::from_millis(800))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!(error.to_string().contains("not ready within 100ms"), "{error}");
    assert!(server.upgrades().len() >= 2, "tried again: {}", server.upgrades().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_can_be_refused_with_an_http_status() {
    for (status, expected) in [(401, Code::AuthFailed), (403, Code::Forbidden), (503, Code::Timeout)] {
        let server = Server::with(Behaviour { http_status: Some(status), ..Behaviour::default() }).await;
        let error = quick(&server).connect_timeout(Duration::from_millis(400)).connect().await.unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_close_code_leads_back_or_to_a_typed_end() {
    let server = Server::start().await;
    for code in [1000, 1001, 1002, 1007, 1008, 1009, 1011, 1012, 1013, 4300, 4401, 4429, 4999] {
        let mut client = quick(&server).topics(["t"]).connect().await.unwrap();
        events_until(&mut client, "the outcome", |event| matches!(event, Event::Subscribed(_))).await;
        server.close_all(code);
        let seen = events_until(&mut client, "the end", |event| matches!(event, Event::Disconnected(_))).await;
        let Some(Event::Disconnected(end)) = seen.last() else { unreachable!() };
        assert_eq!(end.close.as_ref().unwrap().code, code);
        assert!(end.retry_in.is_some(), "{code} leads back");
        let is_change = |event: &Event| matches!(event, Event::StateChanged { to: ConnectionState::Reconnecting, .. });
        assert!(seen.iter().any(is_change), "{code}: {seen:?}");
        events_until(&mut client, "subscribed again", |event| matches!(event, Event::Subscribed(_))).await;
        server.publish("t", "after", &code.to_string());
        assert_eq!(messages(&mut client, 1).await[0].payload().to_json(), code.to_string());
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_ends_the_stream_and_reconnect_starts_it_again() {
    let server = Server::start().await;
    let mut client = quick(&server).connect().await.unwrap();
    server.close_all(4403);
    let seen = events_until(&mut client, "the end", |event| matches!(event, Event::Disconnected(_))).await;
    let Some(Event::Disconnected(end)) = seen.last() else { unreachable!() };
    assert_eq!((end.code, end.retry_in), (Code::OriginNotAllowed, None));
    assert_eq!(client.state(), ConnectionState::Failed);
    assert!(client.next().await.is_none(), "the stream wakes and ends");
    client.reconnect();
    events_until(&mut client, "connected", |event| matches!(event, Event::Connected(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_tcp_connection_comes_back_with_its_topics() {
    let server = Server::start().await;
    let mut client = quick(&server).topics(["t"]).connect().await.unwrap();
    for round in 0..3 {
        events_until(&mut client, "subscribed", |event| matches!(event, Event::Subscribed(_))).await;
        server.publish("t", "n", &round.to_string());
        assert_eq!(messages(&mut client, 1).await[0].payload().to_json(), round.to_string());
        server.abort_all();
        let seen = events_until(&mut client, "the end", |event| matches!(event, Event::Disconnected(_))).await;
        let Some(Event::Disconnected(end)) = seen.last() else { unreachable!() };
        assert_eq!(end.code, Code::ConnectionClosed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_on_its_port_is_found_again() {
    let server = Server::start().await;
    let mut client = quick(&server).topics(["t"]).connect().await.unwrap();
    let port = server.port();
    drop(server);
    events_until(&mut client, "the end", |event| matches!(event, Event::Disconnected(_))).await;
    let server = Server::on_port(port, Behaviour::default()).await;
    events_until(&mut client, "connected", |event| matches!(event, Event::Connected(_))).await;
    events_until(&mut client, "subscribed", |event| matches!(event, Event::Subscribed(_))).await;
    server.publish("t", "n", "1");
    messages(&mut client, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_is_asked_again_after_4401() {
    let server = Server::with(Behaviour { tokens: Some(vec!["fresh"]), ..Behaviour::default() }).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let client = quick(&server)
        .token_provider(move |renew| {
            log.lock().unwrap().push(renew);
            async move { Ok::<_, std::io::Error>(Some(String::from(if renew { "fresh" } else { "stale" }))) }
        })
        .connect()
        .await
        .unwrap();
    assert_eq!(*calls.lock().unwrap(), [false, true]);
    assert_eq!(server.upgrades().len(), 2);
    assert_eq!(client.last_disconnect().unwrap().code, Code::AuthFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_that_fail_panic_or_hang_are_bounded_and_tried_again() {
    let server = Server::start().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let client = quick(&server)
        .dial_timeout(Duration::from_millis(200))
        .token_provider(move |_| {
            let call = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                match call {
                    0 => Err("the vault is shut"),
                    1 => panic!("a bug of the application"),
                    2 => std::future::pending().await,
                    _ => Ok(None),
                }
            }
        })
        .connect()
        .await
        .unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    assert_eq!(client.last_disconnect().unwrap().code, Code::TokenProviderFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_fixed_token_ends_connect_at_once() {
    let server = Server::with(Behaviour { tokens: Some(vec!["right"]), ..Behaviour::default() }).await;
    let started = Instant::now();
    let error = quick(&server).token("wrong").connect().await.unwrap_err();
    assert_eq!(error.code(), Code::AuthFailed);
    assert!(error.to_string().contains("the token is not valid here"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));

    let mut client = quick(&server).token("wrong").start().unwrap();
    events_until(&mut client, "refused", |event| matches!(event, Event::Disconnected(_))).await;
    client.set_token(Some("right"));
    events_until(&mut client, "connected", |event| matches!(event, Event::Connected(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_without_a_connection_and_wrong_messages_are_errors() {
    let server = Server::start().await;
    let client = quick(&server).connect().await.unwrap();
    let error = client.publish("a*", "x", &1).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Code::InvalidTopic, false));
    let error = client.publish("a", "server_ready", &1).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidRequest);
    let error = client.subscribe::<&str>(&[]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidSubscription);
    client.close().await;
    let error = client.publish("a", "x", &1).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Code::NotConnected, true));
    assert_eq!(client.subscribe(&["a"]).await.unwrap_err().code(), Code::ConnectionClosed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_close_arrives() {
    let server = Server::start().await;
    let client = quick(&server).connect().await.unwrap();
    for number in 0..200 {
        client.send(Outgoing::new("job", Payload::new(&number).unwrap())).await.unwrap();
    }
    client.close().await;
    eventually("all jobs", || server.received().len() == 200).await;
    assert_eq!(server.received()[199], "job 199");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_clone_closes_the_connection() {
    let server = Server::start().await;
    let client = quick(&server).connect().await.unwrap();
    let clone = client.clone();
    drop(client);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.closes().is_empty(), "a clone is left");
    clone.publish("a", "x", &1).await.unwrap();
    drop(clone);
    eventually("closed", || server.closes().iter().any(|close| close.code == 1000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_left_at_close_can_be_read_and_then_the_stream_ends() {
    let server = Server::start().await;
    let mut client = quick(&server).connect().await.unwrap();
    client.close().await;
    let last = events_until(&mut client, "closed", |event| matches!(event, Event::Disconnected(_))).await;
    assert!(last.iter().any(|event| matches!(event, Event::StateChanged { to: ConnectionState::Closed, .. })));
    assert!(client.next().await.is_none());
    assert!(client.next_batch(10).await.is_empty());
    assert!(client.is_finished() && client.is_ended());
}

#[test]
fn readers_wake_when_the_runtime_goes_away() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let client = runtime.block_on(quick(&server).connect()).unwrap();
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&woken);
    client.set_waker(Some(Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    })));
    client.try_next_batch(usize::MAX);
    while !client.arm() {
        client.try_next_batch(usize::MAX);
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
    client.try_next_batch(usize::MAX);
    assert!(client.is_finished() && client.is_ended());
    assert!(woken.load(Ordering::SeqCst) >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_futures_loses_nothing() {
    let server = Server::start().await;
    let mut client = quick(&server).topics(["t"]).connect().await.unwrap();
    events_until(&mut client, "subscribed", |event| matches!(event, Event::Subscribed(_))).await;
    let mut received = Vec::new();
    for number in 0..300 {
        server.publish("t", "n", &number.to_string());
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while received.len() < 300 {
        assert!(Instant::now() < deadline, "only {}", received.len());
        {
            // Polled once and dropped, whatever it was about to do.
            let mut waker = Context::from_waker(Waker::noop());
            let mut next = std::pin::pin!(client.next());
            if let Poll::Ready(Some(Event::Message(message))) = next.as_mut().poll(&mut waker) {
                received.push(message.payload().parse::<usize>().unwrap());
            }
        }
        {
            let mut waker = Context::from_waker(Waker::noop());
            let mut subscribing = std::pin::pin!(client.subscribe(&["other"]));
            assert!(subscribing.as_mut().poll(&mut waker).is_pending());
        }
        let next = tokio::time::timeout(Duration::from_micros(50), client.next()).await;
        if let Ok(Some(Event::Message(message))) = next {
            received.push(message.payload().parse::<usize>().unwrap());
        }
    }
    assert_eq!(received, (0..300).collect::<Vec<_>>());
    assert!(client.subscribe(&["third"]).await.unwrap().confirmed, "the driver lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_ends_a_long_pause() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let pause = Duration::from_secs(600);
    let client =
        Client::builder(format!("ws://127.0.0.1:{unused}/wse")).initial_delay(pause).max_delay(pause).start().unwrap();
    eventually("the first attempt failed", || client.metrics().failed_attempts == 1).await;
    let _server = Server::on_port(unused, Behaviour::default()).await;
    client.network_hint(NetworkHint::Online);
    eventually("connected", || client.state() == ConnectionState::Connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_renewed_only_where_there_are_any() {
    let server = Server::start().await;
    let client = quick(&server).connect().await.unwrap();
    assert_eq!(client.rotate_keys().unwrap_err().code(), Code::EncryptionRequired);
    assert_eq!(client.set_channel_token("", Some("x")).unwrap_err().code(), Code::InvalidTopic);
    client.set_channel_token("t", Some("x")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_written_when_the_client_fails_and_when_it_is_closed() {
    let file = std::env::temp_dir().join(format!("wse-recording-{}.jsonl", std::process::id()));
    let client = Client::builder("ws://127.0.0.1:9/wse")
        .max_retries(1)
        .initial_delay(Duration::from_millis(10))
        .record_to(&file)
        .start()
        .unwrap();
    eventually("written on failure", || std::fs::metadata(&file).is_ok_and(|data| data.len() > 0)).await;
    assert_eq!(client.last_disconnect().map(|end| end.code), Some(Code::RetriesExhausted));
    std::fs::remove_file(&file).unwrap();
    client.close().await;
    let written = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(Some(written), client.recording());
}
