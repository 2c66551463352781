//! The log of the binary: its formats, its levels, and what is never in it.

mod common;

use std::{net::SocketAddr, process::Stdio};

use common::{Client, PATIENCE, SECRET, http, token};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A running program, and the lines of its log.
struct Program {
    child: Child,
    lines: Vec<String>,
    log: BufReader<tokio::process::ChildStderr>,
}

impl Program {
    fn start(arguments: &[&str], rust_log: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wse-server"));
        command.args(["--port", "0"]).args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).env_remove("RUST_LOG");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSE_")) {
            command.env_remove(name);
        }
        if let Some(filter) = rust_log {
            command.env("RUST_LOG", filter);
        }
        let mut child = command.spawn().expect("starts");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Self { child, lines: Vec::new(), log }
    }

    /// Reads on to a line with this text. None of the lines on the way is lost.
    async fn until(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.log.read_line(&mut line)).await.unwrap_or_else(|_| {
                panic!("{text:?} does not come:\n{}", self.lines.concat());
            });
            assert!(read.expect("text") > 0, "{text:?} does not come:\n{}", self.lines.concat());
            self.lines.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    async fn address(&mut self) -> SocketAddr {
        let line = self.until("ws://").await;
        let (_, rest) = line.split_once("ws://").expect("an address");
        rest.split('/').next().expect("an address").parse().expect("an address")
    }

    /// Ends the program, and gives everything that it logged.
    async fn finish(mut self) -> String {
        self.child.start_kill().expect("killed");
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).await.expect("text");
        self.lines.concat() + &rest
    }
}

#[tokio::test]
async fn json_lines_name_the_trace_and_keep_secrets() {
    let arguments =
        ["--log-format", "json", "--log-level", "trace", "--jwt-secret", SECRET, "--api-key", "the-key-of-this-test"];
    let mut program = Program::start(&arguments, None);
    let address = program.address().await;
    let token = token();
    let request = format!("ws://{address}/wse?token={token}").into_client_request().expect("a request");
    let mut client = Client::connect(request).await;
    client.subscribe(&["news"]).await;
    let body = json!({ "topic": "news", "type": "hello", "payload": { "word": "the-word-of-this-test" } }).to_string();
    let trace = format!("traceparent: {TRACE}");
    let headers = ["x-api-key: the-key-of-this-test", &trace];
    let answer = http(address, "POST", "/wse/publish?token=not-for-the-log", &headers, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    client.message_of("hello").await;
    for message in ["publish", "deliver", "http request"] {
        let in_trace = |line: &String| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["message"] == message && line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        };
        while !program.lines.iter().any(in_trace) {
            program.until("trace_id").await;
        }
    }
    let log = program.finish().await;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    for secret in [&*token, SECRET, "the-key-of-this-test", "the-word-of-this-test", "not-for-the-log"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn the_level_of_the_environment_counts_when_nothing_else_is_said() {
    let mut program = Program::start(&[], Some("info,wse_server=debug"));
    let address = program.address().await;
    http(address, "GET", "/wse/health", &[], b"").await;
    let line = program.until("http request").await;
    assert!(line.contains("DEBUG") && line.contains("/wse/health"), "{line}");

    let mut program = Program::start(&["--log", "info"], Some("debug"));
    let address = program.address().await;
    http(address, "GET", "/wse/health", &[], b"").await;
    assert!(!program.finish().await.contains("http request"));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    for (arguments, told) in
        [(["--log-format", "xml"], "text or json"), (["--log-level", "wse_server=loud"], "--log-level")]
    {
        let mut program = Program::start(&arguments, None);
        program.until(told).await;
        let status = timeout(PATIENCE, program.child.wait()).await.expect("in time").expect("waited for");
        assert!(!status.success());
    }
}

#[tokio::test]
async fn a_refused_page_is_named() {
    let mut program = Program::start(&["--allowed-origins", "https://app.example.com"], None);
    let address = program.address().await;
    for origin in ["https://other.example", "https://user:hush@other.example/hush"] {
        let mut request = format!("ws://{address}/wse").into_client_request().expect("a request");
        request.headers_mut().insert("origin", origin.parse().expect("a value"));
        assert_eq!(Client::connect(request).await.error_and_close().await.1.code, 4403);
    }
    let line = program.until("ORIGIN_NOT_ALLOWED").await;
    assert!(line.contains("https://other.example") && line.contains("127.0.0.1"), "{line}");
    let line = program.until("ORIGIN_NOT_ALLOWED").await;
    assert!(line.contains("(not an origin)") && !line.contains("hush"), "{line}");
}

#[tokio::test]
async fn a_drain_tells_how_many_went_and_how_long_it_took() {
    let mut program = Program::start(&["--drain-window", "0"], None);
    let address = program.address().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(format!("ws://{address}/wse").into_client_request().expect("a request")).await;
        assert_eq!(client.message().await.kind(), "server_ready");
        clients.push(client);
    }
    let pid = program.child.id().expect("running").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("runs").success());
    assert!(program.until("leaving").await.contains("connections=3"));
    assert!(program.until("sending clients away").await.contains("connections=3"));
    for client in &mut clients {
        assert_eq!(client.closed().await.code, 4300);
    }
    drop(clients);
    let line = program.until("drained").await;
    assert!(line.contains("sent_away=3 cut=0 took=") && line.trim_end().ends_with('s'), "{line}");
}

#[tokio::test]
async fn the_token_of_the_console_is_no_reason_to_warn() {
    const KEY: &str = "the-key-of-this-test";
    let arguments = ["--jwt-secret", SECRET, "--api-key", KEY];
    let mut program = Program::start(&arguments, None);
    let address = program.address().await;
    let key = format!("x-api-key: {KEY}");
    let answer = http(address, "POST", "/console/token", &[&key], b"").await;
    let connect = async |token: &str| {
        let request = format!("ws://{address}/wse?token={token}").into_client_request().expect("a request");
        assert_eq!(Client::connect(request).await.message().await.kind(), "server_ready");
    };
    connect(answer.json()["token"].as_str().expect("a token")).await;
    // A second line would not come: what is said once is said of this one.
    http(address, "GET", "/wse/health", &[], b"").await;
    let log = program.finish().await;
    assert!(!log.contains("token in the URL"), "{log}");
}

#[tokio::test]
async fn the_hint_to_publish_works_as_it_stands() {
    for (arguments, hint) in [
        (&[][..], Some("try it: curl -d")),
        (&["--api-key", "the-key-of-this-test"], Some("try it: curl -H \"X-API-Key: $WSE_API_KEY\" -d")),
        (&["--host", "0.0.0.0", "--allow-open"], None),
    ] {
        let mut program = Program::start(arguments, None);
        let port = program.address().await.port();
        // Served only after everything is announced.
        http(([127, 0, 0, 1], port).into(), "GET", "/wse/health", &[], b"").await;
        let log = program.finish().await;
        assert_eq!(log.contains("try it"), hint.is_some(), "{log}");
        assert!(hint.is_none_or(|hint| log.contains(hint)), "{log}");
    }
}
