//! The binary `wse`, as a shell runs it.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use support::{Behaviour, Server, eventually};

/// Runs `wse` to its end, bounded, without blocking the runtime that the server lives on.
async fn wse(arguments: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wse"))
        .args(arguments)
        .env_remove("WSE_TOKEN")
        .env_remove("WSE_API_KEY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let id = child.id();
    let finished = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let Ok(output) = tokio::time::timeout(Duration::from_secs(20), finished).await else {
        let _ = Command::new("kill").arg(id.to_string()).status();
        panic!("wse {arguments:?} did not end");
    };
    let Output { status, stdout, stderr } = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pub_publishes_sub_prints() {
    let server = Server::start().await;
    for (option, expected) in [
        ("--json", r#""payload":{"n": 1}}"#),
        ("--pretty", "room:1  chat  {\n  \"n\": 1\n}"),
        ("--encrypt", r#"room:1  chat  {"n": 1}"#),
        ("--msgpack", r#"room:1  chat  {"n":1}"#),
    ] {
        let before = server.upgrades().len();
        let url = server.url.clone();
        let subscriber = tokio::spawn(async move { wse(&["sub", &url, "room:*", "--count", "3", option], "").await });
        eventually("the subscriber is there", || server.upgrades().len() > before).await;
        // Published until the subscription holds: each run of pub is one more message.
        let mut published = 0;
        while !subscriber.is_finished() {
            let (code, id, errors) = wse(&["pub", &server.url, "room:1", "chat", r#"{"n": 1}"#], "").await;
            assert_eq!((code, id.trim().len()), (0, 36), "{errors}");
            published += 1;
            assert!(published < 20, "the subscriber never ends");
        }
        let (code, out, errors) = subscriber.await.unwrap();
        assert_eq!(code, 0, "{errors}");
        assert_eq!(out.matches(expected).count(), 3, "{option}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pub_reads_lines_from_stdin_in_order() {
    let server = Server::start().await;
    let (code, ids, errors) = wse(&["pub", &server.url, "t", "n", "-"], "1\n\n2\n3\n").await;
    assert_eq!((code, ids.lines().count()), (0, 3), "{errors}");
    assert_eq!(server.received(), ["n 1", "n 2", "n 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_says_who_the_server_takes_us_for() {
    let server = Server::start().await;
    let (code, out, errors) = wse(&["ping", &server.url, "--count", "3", "--interval", "0.05"], "").await;
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("user tester") && out.contains("round trip 3") && out.contains("mean"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_a_code_a_hint_and_an_exit_code() {
    let guarded = Server::with(Behaviour { tokens: Some(vec!["right"]), ..Behaviour::default() }).await;
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("ws://127.0.0.1:{unused}/wse");
    for (arguments, exit, expected) in [
        (vec!["sub", &guarded.url, "t", "--token", "wrong"], 3, "AUTH_FAILED"),
        (vec!["sub", &nobody, "t"], 1, "CONNECT_FAILED"),
        (vec!["sub", "http://a", "t"], 2, "INVALID_CONFIG"),
        (vec!["sub", &guarded.url, "", "--token", "right"], 2, "INVALID_TOPIC"),
        (vec!["pub", &guarded.url, "t", "x", "not json", "--token", "right"], 2, "INVALID_REQUEST"),
        (vec!["pub", &guarded.url, "t*", "x", "--token", "right"], 2, "INVALID_TOPIC"),
        (vec!["ping", &guarded.url, "--ca", "/nonexistent.pem"], 2, "cannot read /nonexistent.pem"),
        (vec!["sub", &guarded.url], 2, "Usage"),
        (vec!["pub", &nobody, "t", "x", "--http"], 1, "CONNECT_FAILED"),
    ] {
        let (code, out, errors) = wse(&arguments, "").await;
        assert_eq!(code, exit, "{arguments:?}: {errors}");
        assert!(errors.contains(expected) && out.is_empty(), "{arguments:?}: {errors}");
        assert!(!errors.contains("wrong\n") && !errors.contains("right"), "no tokens: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_told_and_the_rest_goes_on() {
    let server = Server::with(Behaviour { denied: Some("secret"), ..Behaviour::default() }).await;
    let (code, out, errors) = wse(&["pub", &server.url, "secret", "x"], "").await;
    assert_eq!((code, out.as_str()), (3, ""), "{errors}");
    assert!(errors.contains("error: PUBLISH_DENIED") && errors.contains("hint: "), "{errors}");
    let (code, _, errors) = wse(&["sub", &server.url, "secret"], "").await;
    assert_eq!(code, 3, "{errors}");
    assert!(errors.contains("error: TOPIC_DENIED"), "{errors}");

    let url = server.url.clone();
    let subscriber = tokio::spawn(async move { wse(&["sub", &url, "secret", "open", "-n", "1"], "").await });
    while !subscriber.is_finished() {
        server.publish("open", "x", "1");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (code, out, errors) = subscriber.await.unwrap();
    assert!(code == 0 && out.contains("open  x  1") && errors.contains("secret: TOPIC_DENIED"), "{out}{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_posts_the_topic_and_shows_the_answer() {
    for (status, answer, exit, expected) in [
        ("200 OK", r#"{"delivered":2,"id":"x"}"#, 0, r#"{"delivered":2"#),
        ("401 Unauthorized", r#"{"code":"AUTH_FAILED","message":"wrong key"}"#, 3, "AUTH_FAILED: HTTP 401: wrong key"),
        ("503 Service Unavailable", "down", 1, "SERVER_ERROR: HTTP 503: down"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/wse", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || answer_one(&listener, status, answer));
        let (code, out, errors) = wse(&["pub", &url, "a\"b", "x", "[1]", "--http", "--api-key", "K"], "").await;
        let request = serving.join().unwrap();
        assert_eq!(code, exit, "{errors}");
        assert!(format!("{out}{errors}").contains(expected), "{out}{errors}");
        assert!(request.starts_with("POST /wse/publish "), "{request}");
        assert!(request.to_lowercase().contains("authorization: bearer k\r\n"), "{request}");
        assert!(request.ends_with(r#"{"topic":"a\"b","type":"x","payload":[1]}"#), "{request}");
    }
}

/// One HTTP exchange, by hand.
fn answer_one(listener: &TcpListener, status: &str, answer: &str) -> String {
    let (mut tcp, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(tcp.try_clone().unwrap());
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut request).unwrap() > 0);
    }
    let length = request.to_lowercase().split("content-length: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    write!(tcp, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len()).unwrap();
    request + &String::from_utf8(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_it_quietly() {
    let server = Server::start().await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_wse"))
        .args(["sub", &server.url, "t"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let finished = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !finished.is_finished() {
        assert!(Instant::now() < deadline, "a closed pipe must end it");
        server.publish("t", "x", "1");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let output = finished.await.unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_it_cleanly() {
    let server = Server::start().await;
    let child = Command::new(env!("CARGO_BIN_EXE_wse"))
        .args(["sub", &server.url, "t"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("subscribed", || !server.upgrades().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    eventually("a close frame", || server.closes().iter().any(|close| close.code == 1000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sub_records_replay_explains() {
    let server = Server::start().await;
    let directory = std::env::temp_dir().join(format!("wse-record-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("flight.jsonl");
    let path = file.to_str().unwrap().to_owned();
    let (url, record) = (server.url.clone(), path.clone());
    let subscriber = tokio::spawn(async move {
        wse(&["sub", &url, "room:*", "--count", "1", "--encrypt", "--token", "hunter2", "--record", &record], "").await
    });
    while !subscriber.is_finished() {
        wse(&["pub", &server.url, "room:1", "chat", r#"{"n": "swordfish"}"#], "").await;
    }
    let (code, _, errors) = subscriber.await.unwrap();
    assert_eq!(code, 0, "{errors}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("swordfish"), "{text}");

    let (code, out, errors) = wse(&["replay", &path], "").await;
    assert_eq!(code, 0, "{out}{errors}");
    assert!(out.contains("because: the application asked: connect"), "{out}");
    assert!(out.trim_end().ends_with("decisions, all the same"), "{out}");

    std::fs::write(&file, text.replacen(r#""to":"connected""#, r#""to":"closed""#, 1)).unwrap();
    let (code, _, errors) = wse(&["replay", &path], "").await;
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("recorded was") && errors.contains("connecting → connected"), "{errors}");

    let overflowed = text.replacen(r#""truncated":0"#, r#""truncated":12"#, 1);
    assert_ne!(overflowed, text);
    std::fs::write(&file, overflowed).unwrap();
    let (code, out, errors) = wse(&["replay", &path], "").await;
    assert_eq!(code, 4, "{errors}");
    assert!(errors.contains("nothing was checked") && errors.contains("12 entries were dropped"), "{errors}");
    assert!(out.contains("because: the application asked: connect"), "it is told all the same: {out}");

    std::fs::write(&file, text.replacen(r#""version":2"#, r#""version":9"#, 1)).unwrap();
    let (code, _, errors) = wse(&["replay", &path], "").await;
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("version 9"), "{errors}");
    std::fs::remove_dir_all(directory).unwrap();
}
