//! The server program under test.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

use crate::place::Place;

/// The key for publishing over HTTP.
const API_KEY: &str = "e2e-key-of-the-tests";
/// The secret of the tokens.
const SECRET: &str = "e2e-secret-with-more-than-32-bytes";

/// A running `wse-server` on a free port of the loopback interface; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// What the server said about a publication.
#[derive(Debug)]
pub(crate) struct Published {
    /// The message's id.
    pub(crate) id: String,
    /// How many connections it was queued for.
    pub(crate) delivered: u64,
}

/// A port that was free a moment ago.
///
/// # Errors
/// When the loopback interface has none.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A token for this user that ends in so many seconds. Signed here, not by the server's own code.
///
/// # Errors
/// When the clock stands before 1970.
pub(crate) fn token(secret: &str, user: &str, seconds: i64) -> Result<String> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let claims = json!({ "sub": user, "iat": now, "exp": now + seconds });
    let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(&json!({ "alg": "HS256", "typ": "JWT" })), encoded(&claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

impl Server {
    /// A server without a secret: everyone may come in, subscribe and publish.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        Self::start(place, free_address()?, &[]).await
    }

    /// A server that wants tokens.
    pub(crate) async fn closed(place: &Place) -> Result<Self> {
        Self::start(place, free_address()?, &["--jwt-secret", SECRET]).await
    }

    /// A server on this address.
    pub(crate) async fn start(place: &Place, address: SocketAddr, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(&place.server);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--api-key", API_KEY]);
        command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut server = Self { child: command.spawn().context("cannot start the server")?, address };
        let started = Instant::now();
        loop {
            if let Ok(body) = server.get("/wse/health").await {
                ensure!(body.is_object(), "/wse/health is no JSON object: {body}");
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended at once ({status})");
            }
            ensure!(started.elapsed() < Duration::from_secs(10), "the server is not up after 10 s");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it without a word to anyone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the server")
    }

    /// A token for this user, made by the program itself. It allows subscribing to everything.
    pub(crate) async fn token(place: &Place, user: &str) -> Result<String> {
        let mut command = Command::new(&place.server);
        command.args(["token", "--secret", SECRET, "--sub", user, "--ttl", "600"]);
        let output = command.stdin(Stdio::null()).output().await?;
        ensure!(output.status.success(), "wse-server token: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// A token with the right signature that ended an hour ago.
    pub(crate) fn expired_token(user: &str) -> Result<String> {
        token(SECRET, user, -3600)
    }

    /// Publishes over HTTP. `payload` is JSON text, sent as it is.
    pub(crate) async fn publish(&self, topic: &str, kind: &str, payload: &str) -> Result<Published> {
        let (topic, kind) = (Value::from(topic), Value::from(kind));
        let body = format!("{{\"topic\":{topic},\"type\":{kind},\"payload\":{payload}}}");
        let head = format!(
            "POST /wse/publish HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Authorization: Bearer {API_KEY}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let answer = self.exchange(head + &body).await?;
        let id = answer["id"].as_str().with_context(|| format!("no id in {answer}"))?.to_owned();
        let delivered = answer["delivered"].as_u64().with_context(|| format!("no count in {answer}"))?;
        Ok(Published { id, delivered })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)).await
    }

    async fn exchange(&self, request: String) -> Result<Value> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        let text = String::from_utf8(response)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no HTTP response")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{} {body}", head.lines().next().unwrap_or_default());
        serde_json::from_str(body).with_context(|| format!("not JSON: {body}"))
    }
}
