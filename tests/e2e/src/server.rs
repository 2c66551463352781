//! The server program under test, as a process of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{ExitStatus, Stdio},
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

/// The key for publishing over HTTP.
pub const API_KEY: &str = "e2e-key-of-the-tests";
/// The secret of the tokens.
const SECRET: &str = "e2e-secret-with-more-than-32-bytes";

/// A running `wse-server` on a free port of the loopback interface; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What the server said about a publication.
#[derive(Debug)]
pub struct Published {
    /// The message's id.
    pub id: String,
    /// How many connections it was queued for.
    pub delivered: u64,
}

/// A port that was free a moment ago.
///
/// # Errors
/// When the loopback interface has none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A token for this user that ends in so many seconds. Signed here, not by the server's own code.
///
/// # Errors
/// When the clock stands before 1970.
pub fn token(secret: &str, user: &str, seconds: i64) -> Result<String> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let claims = json!({ "sub": user, "iat": now, "exp": now + seconds });
    let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encoded(&json!({ "alg": "HS256", "typ": "JWT" })), encoded(&claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

impl Server {
    /// A server without a secret: everyone may come in, subscribe and publish.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn open(program: impl AsRef<Path>) -> Result<Self> {
        Self::start(program, free_address()?, &[]).await
    }

    /// A server that wants tokens.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn closed(program: impl AsRef<Path>) -> Result<Self> {
        Self::start(program, free_address()?, &["--jwt-secret", SECRET]).await
    }

    /// A server on this address, with these flags.
    ///
    /// # Errors
    /// When it does not start, or does not answer within 10 s.
    pub async fn start(program: impl AsRef<Path>, address: SocketAddr, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(program.as_ref());
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

    /// The number of the process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn ended(mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Kills it without a word to anyone (SIGKILL).
    ///
    /// # Errors
    /// As the operating system says.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the server")
    }

    /// A token for this user, made by the program itself. It allows subscribing to everything.
    ///
    /// # Errors
    /// When the program makes none.
    pub async fn token(program: impl AsRef<Path>, user: &str) -> Result<String> {
        let mut command = Command::new(program.as_ref());
        command.args(["token", "--secret", SECRET, "--sub", user, "--ttl", "600"]);
        let output = command.stdin(Stdio::null()).output().await?;
        ensure!(output.status.success(), "wse-server token: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// A token with the right signature that ended an hour ago.
    ///
    /// # Errors
    /// When the clock stands before 1970.
    pub fn expired_token(user: &str) -> Result<String> {
        token(SECRET, user, -3600)
    }

    /// Publishes over HTTP. `payload` is JSON text, sent as it is.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn publish(&self, topic: &str, kind: &str, payload: &str) -> Result<Published> {
        let (topic, kind) = (Value::from(topic), Value::from(kind));
        let body = format!("{{\"topic\":{topic},\"type\":{kind},\"payload\":{payload}}}");
        let answer = self.post(&body).await?;
        let id = answer["id"].as_str().with_context(|| format!("no id in {answer}"))?.to_owned();
        let delivered = answer["delivered"].as_u64().with_context(|| format!("no count in {answer}"))?;
        Ok(Published { id, delivered })
    }

    /// The answer to a body for `/wse/publish`.
    ///
    /// # Errors
    /// When the server does not answer with status 200 and JSON.
    pub async fn post(&self, body: &str) -> Result<Value> {
        let head = format!(
            "POST /wse/publish HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Authorization: Bearer {API_KEY}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.exchange(head + body).await
    }

    /// The answer to a GET request.
    ///
    /// # Errors
    /// When the server does not answer with status 200 and JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
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
