//! The Rust client, in this process.

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::time::timeout;
use wse_client::{Client, Compression, Encoding, Event, Outgoing, Payload};

use crate::player::{Got, Mode, STEP, Settings};

/// A connected Rust client.
pub(crate) struct Native {
    client: Client,
}

impl Native {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// The client's own error, with its code.
    pub(crate) async fn join(settings: &Settings) -> Result<Self> {
        let compression = matches!(settings.mode, Mode::Compressed | Mode::Encrypted).then(Compression::default);
        let mut builder = Client::builder(&settings.url)
            .encryption(settings.mode == Mode::Encrypted)
            .compression(compression)
            .encoding(if settings.mode == Mode::Msgpack { Encoding::Msgpack } else { Encoding::Binary })
            .initial_delay(std::time::Duration::from_millis(100))
            .max_delay(std::time::Duration::from_secs(1));
        if let Some(token) = &settings.token {
            builder = builder.token(token.as_str());
        }
        let client = match builder.connect().await {
            Ok(client) => client,
            Err(error) => bail!("{:?} {error}", error.code().as_str()),
        };
        if !settings.topics.is_empty() {
            let outcome = client.subscribe(&settings.topics).await?;
            ensure!(outcome.confirmed && outcome.refused.is_empty(), "not subscribed: {outcome:?}");
        }
        let encrypted = client.server().is_some_and(|server| server.encrypted);
        ensure!(encrypted == (settings.mode == Mode::Encrypted), "connected with encrypted = {encrypted}");
        Ok(Self { client })
    }

    /// Publishes JSON text as it is.
    pub(crate) async fn publish(&self, topic: &str, kind: &str, payload: &str) -> Result<String> {
        let payload = Payload::from_json(payload.to_owned())?;
        Ok(self.client.send(Outgoing::new(kind, payload).to_topic(topic)).await?)
    }

    /// Sends to the server's application.
    pub(crate) async fn send(&self, kind: &str, payload: &serde_json::Value) -> Result<()> {
        self.client.send(Outgoing::new(kind, Payload::new(payload)?)).await?;
        Ok(())
    }

    /// Subscribes; whether the server answered.
    pub(crate) async fn subscribe(&self, topic: &str) -> Result<bool> {
        Ok(self.client.subscribe(&[topic]).await?.confirmed)
    }

    /// The next message; other events are passed over.
    pub(crate) async fn next(&mut self) -> Result<Got> {
        loop {
            let event = timeout(STEP, self.client.next()).await.context("no message in time")?;
            match event.context("the stream ended")? {
                Event::Message(message) => {
                    let text = message.payload().to_json().into_owned();
                    return Ok(Got {
                        kind: message.kind().to_owned(),
                        id: message.id().unwrap_or_default().to_owned(),
                        topic: message.topic().map(str::to_owned),
                        payload: serde_json::from_str(&text)?,
                        text: Some(text),
                    });
                }
                Event::Lost { topic, count, .. } => {
                    let payload = json!({ "topic": topic, "count": count });
                    return Ok(Got { kind: "lost".into(), id: String::new(), topic, payload, text: None });
                }
                Event::Rejected(error) => bail!("a frame was refused: {error}"),
                Event::ServerError(error) => bail!("the server says {} {}", error.code, error.message),
                _ => {}
            }
        }
    }

    /// Closes.
    pub(crate) async fn leave(self) -> Result<()> {
        timeout(STEP, self.client.close()).await.context("close() does not return")
    }
}
