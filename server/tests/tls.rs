//! The same port with a certificate.

mod common;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::{PATIENCE, Running, open};
use futures_util::{SinkExt, StreamExt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use wse_server::{Config, Server, StartError};

/// A folder with a certificate; gone with the test.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> (Self, CertificateDer<'static>) {
        let files = Self(std::env::temp_dir().join(format!("wse-tls-{name}-{}", std::process::id())));
        std::fs::create_dir_all(&files.0).expect("created");
        let certificate = files.renew();
        (files, certificate)
    }

    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".into()]).expect("generated");
        std::fs::write(self.chain(), cert.pem()).expect("written");
        std::fs::write(self.key(), signing_key.serialize_pem()).expect("written");
        cert.der().clone()
    }

    fn chain(&self) -> PathBuf {
        self.0.join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    fn config(&self) -> Config {
        Config { tls_certificate: Some(self.chain()), tls_key: Some(self.key()), ..open() }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Secure = TlsStream<TcpStream>;

/// Connects, and trusts this certificate alone.
async fn connect(running: &Running, trusted: &CertificateDer<'static>) -> std::io::Result<Secure> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tcp = TcpStream::connect(running.addr()).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").expect("a name"), tcp).await
}

async fn websocket(running: &Running, trusted: &CertificateDer<'static>) -> WebSocketStream<Secure> {
    let stream = connect(running, trusted).await.expect("trusted");
    let (mut socket, _) = client_async("wss://localhost/wse?compression=false", stream).await.expect("upgraded");
    assert!(next(&mut socket).await.contains("server_ready"));
    socket
}

/// The next text message.
async fn next(socket: &mut WebSocketStream<Secure>) -> String {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("in time").expect("open").expect("no error") {
            Message::Text(text) => return text.to_string(),
            Message::Binary(bytes) => return String::from_utf8_lossy(&bytes).into_owned(),
            Message::Close(close) => return format!("closed {}", close.map_or(1005, |close| close.code.into())),
            _ => {}
        }
    }
}

async fn subscribe(socket: &mut WebSocketStream<Secure>) {
    let request = json!({ "t": "subscription_update", "p": { "action": "subscribe", "topics": ["t"] } });
    socket.send(Message::text(request.to_string())).await.expect("sent");
    assert!(next(socket).await.contains("subscription_update"));
}

#[tokio::test]
async fn messages_small_and_large_go_both_ways_in_order() {
    let (files, certificate) = Files::new("messages");
    let running = Running::start(files.config()).await;
    let mut socket = websocket(&running, &certificate).await;
    assert_eq!(socket.get_ref().get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    subscribe(&mut socket).await;
    for length in [0, 1, 16_000, 17_000, 900_000] {
        let filler = "x".repeat(length);
        socket.send(Message::text(json!({ "t": "k", "tp": "t", "p": filler }).to_string())).await.expect("sent");
        assert!(next(&mut socket).await.contains(&format!("\"{filler}\"")), "{length}");
    }
    // Nobody reads meanwhile: what does not fit waits, and comes in order.
    for number in 0..500 {
        running.publish("t", "k", &json!({ "n": number, "filler": "x".repeat(10_000) }));
    }
    for number in 0..500 {
        assert!(next(&mut socket).await.contains(&format!("\"n\":{number}}}")), "{number}");
    }
    // Many small ones in one write.
    for number in 0..200 {
        socket
            .feed(Message::text(json!({ "t": "k", "tp": "t", "p": { "n": number } }).to_string()))
            .await
            .expect("fed");
    }
    socket.flush().await.expect("sent");
    for number in 0..200 {
        assert!(next(&mut socket).await.contains(&format!("{{\"n\":{number}}}")), "{number}");
    }
    socket.close(None).await.expect("closed in order");
}

#[tokio::test]
async fn http_and_a_drain_work_through_it() {
    let (files, certificate) = Files::new("http");
    let running = Running::start(Config { drain_window: Duration::ZERO, ..files.config() }).await;
    let mut stream = connect(&running, &certificate).await.expect("trusted");
    let request = "GET /wse/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let _ = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let mut socket = websocket(&running, &certificate).await;
    let server = running.server.clone();
    let drain = tokio::spawn(async move { server.drain().await });
    assert!(next(&mut socket).await.contains("\"draining\""));
    assert_eq!(next(&mut socket).await, "closed 4300");
    assert!(timeout(PATIENCE, socket.next()).await.expect("in time").is_none(), "and then the end");
    assert_eq!(timeout(PATIENCE, drain).await.expect("in time").expect("no panic"), 0);
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_while_old_connections_stay() {
    let (files, old) = Files::new("renew");
    let running = Running::start(files.config()).await;
    let mut socket = websocket(&running, &old).await;
    let new = files.renew();
    running.server.reload_certificate().expect("usable");
    assert!(connect(&running, &new).await.is_ok());
    assert!(connect(&running, &old).await.is_err());
    subscribe(&mut socket).await;

    std::fs::write(files.key(), "nonsense").expect("written");
    let error = running.server.reload_certificate().expect_err("unusable").to_string();
    assert!(error.contains("key.pem") && error.contains("private key"), "{error}");
    assert!(connect(&running, &new).await.is_ok(), "the last good one stays");

    // By itself, too.
    let newer = files.renew();
    timeout(PATIENCE, async { while connect(&running, &newer).await.is_err() {} }).await.expect("noticed in time");
}

#[tokio::test]
async fn who_does_not_speak_tls_is_turned_away_in_time() {
    let (files, certificate) = Files::new("silent");
    let running = Running::start(Config { handshake_timeout: Duration::from_millis(200), ..files.config() }).await;
    for said in [&b""[..], b"\x16\x03\x01", b"GET /wse HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(running.addr()).await.expect("connects");
        stream.write_all(said).await.expect("sent");
        let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("ends in time");
    }
    assert_eq!(running.server.stats().tls_failures, 3);
    // The handshake done, but no request.
    let mut stream = connect(&running, &certificate).await.expect("trusted");
    let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("ends in time");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let (files, _) = Files::new("broken");
    let refused = async |change: &dyn Fn(&Path, &Path)| {
        files.renew();
        change(&files.chain(), &files.key());
        match Server::builder(files.config()).check().await {
            Err(StartError::Certificate(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
    assert!(refused(&|chain, _| write(chain, "")).await.contains("no CERTIFICATE"));
    assert!(refused(&|_, key| std::fs::remove_file(key).expect("removed")).await.contains("key.pem"));
    let (others, _) = Files::new("others");
    let foreign = std::fs::read_to_string(others.key()).expect("readable");
    let mixed = refused(&|_, key| write(key, &foreign)).await;
    assert!(mixed.contains("does not fit"), "{mixed}");
}
