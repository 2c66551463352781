//! A client in any language, behind one set of verbs.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{native::Native, place::Place, shim::Shim};

/// Which client plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The crate `wse-client`, in this process.
    Rust,
    /// The Python package `wse-client`.
    Python,
    /// The npm package `wse-client`, in Chromium.
    Browser,
}

impl Kind {
    /// Every client of this project.
    pub(crate) const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::Browser];

    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Browser => "Chromium",
        }
    }
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// JSON, never compressed.
    Plain,
    /// JSON, compressed when large.
    Compressed,
    /// msgpack.
    Msgpack,
    /// Sealed, and compressed when large.
    Encrypted,
}

impl Mode {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::Compressed, Self::Msgpack, Self::Encrypted];

    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Compressed => "compressed",
            Self::Msgpack => "msgpack",
            Self::Encrypted => "encrypted",
        }
    }
}

/// What a client is told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where to connect.
    pub(crate) url: String,
    /// How messages are written.
    pub(crate) mode: Mode,
    /// The token, if there is one.
    pub(crate) token: Option<String>,
    /// Topics to subscribe to before it counts as joined.
    pub(crate) topics: Vec<String>,
}

impl Settings {
    /// A client of this address that subscribes to these topics.
    pub(crate) fn new(address: impl std::fmt::Display, mode: Mode, topics: &[&str]) -> Self {
        Self {
            url: format!("ws://{address}/wse"),
            mode,
            token: None,
            topics: topics.iter().map(ToString::to_string).collect(),
        }
    }

    /// The same, with a token.
    pub(crate) fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The same, as the argument of a shim.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "url": self.url,
            "token": self.token,
            "topics": self.topics,
            "encryption": self.mode == Mode::Encrypted,
            "compression": matches!(self.mode, Mode::Compressed | Mode::Encrypted),
            "format": if self.mode == Mode::Msgpack { "msgpack" } else { "json" },
        })
    }
}

/// A message that a client got.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    /// The type.
    pub(crate) kind: String,
    /// The id.
    pub(crate) id: String,
    /// The topic.
    pub(crate) topic: Option<String>,
    /// The payload.
    pub(crate) payload: Value,
    /// The payload as it came, where the client shows it.
    pub(crate) text: Option<String>,
}

/// A client that is connected and subscribed.
pub(crate) struct Player {
    /// Which one.
    pub(crate) kind: Kind,
    seat: Seat,
}

enum Seat {
    Here(Native),
    There(Box<Shim>),
}

impl Player {
    /// Starts a client and waits until it is connected and subscribed.
    ///
    /// # Errors
    /// When it does not get that far; the text has the client's code.
    pub(crate) async fn join(place: &Place, kind: Kind, settings: &Settings) -> Result<Self> {
        let shims = Place::shims();
        let arguments = settings.to_json();
        let mut shim = match kind {
            Kind::Rust => {
                let native = Native::join(settings).await.context("Rust")?;
                return Ok(Self { kind, seat: Seat::Here(native) });
            }
            Kind::Python => Shim::start(&place.python, &shims.join("python_client.py"), &arguments, &[])?,
            Kind::Browser => {
                let script = shims.join("browser_client.mjs");
                Shim::start("node".as_ref(), &script, &arguments, &[("WSE_CHROMIUM", &place.chromium)])?
            }
        };
        let connected = shim.expect("connected").await.context(kind.name())?;
        if connected["encrypted"] != (settings.mode == Mode::Encrypted) {
            bail!("{} connected with encrypted = {}", kind.name(), connected["encrypted"]);
        }
        Ok(Self { kind, seat: Seat::There(Box::new(shim)) })
    }

    /// Publishes to a topic and gives the message's id. `payload` is JSON text.
    pub(crate) async fn publish(&mut self, topic: &str, kind: &str, payload: &str) -> Result<String> {
        match &mut self.seat {
            Seat::Here(native) => native.publish(topic, kind, payload).await,
            Seat::There(shim) => {
                let payload: Value = serde_json::from_str(payload)?;
                shim.order(&json!({ "do": "send", "type": kind, "topic": topic, "payload": payload })).await?;
                let sent = shim.expect("sent").await.context(self.kind.name())?;
                Ok(sent["id"].as_str().context("no id")?.to_owned())
            }
        }
    }

    /// Sends to the server's application.
    pub(crate) async fn send(&mut self, kind: &str, payload: &Value) -> Result<()> {
        match &mut self.seat {
            Seat::Here(native) => native.send(kind, payload).await,
            Seat::There(shim) => {
                shim.order(&json!({ "do": "send", "type": kind, "payload": payload })).await?;
                shim.expect("sent").await.context(self.kind.name()).map(|_| ())
            }
        }
    }

    /// Subscribes, and checks whether the client knows if the server answered.
    pub(crate) async fn subscribe(&mut self, topic: &str, confirmed: bool) -> Result<()> {
        let told = match &mut self.seat {
            Seat::Here(native) => native.subscribe(topic).await?,
            Seat::There(shim) => {
                shim.order(&json!({ "do": "subscribe", "topic": topic })).await?;
                let outcome = shim.expect("subscription").await.context(self.kind.name())?;
                outcome["confirmed"].as_bool().context("no outcome")?
            }
        };
        ensure!(told == confirmed, "{} says confirmed = {told}", self.kind.name());
        Ok(())
    }

    /// The next message of the application.
    pub(crate) async fn next(&mut self) -> Result<Got> {
        match &mut self.seat {
            Seat::Here(native) => native.next().await.context("Rust"),
            Seat::There(shim) => {
                let line = shim.expect("message").await.context(self.kind.name())?;
                let text = |name: &str| line[name].as_str().map(str::to_owned);
                Ok(Got {
                    kind: text("type").unwrap_or_default(),
                    id: text("id").unwrap_or_default(),
                    topic: text("topic"),
                    payload: line["payload"].clone(),
                    text: text("text"),
                })
            }
        }
    }

    /// Closes, and waits for the end.
    pub(crate) async fn leave(self) -> Result<()> {
        match self.seat {
            Seat::Here(native) => native.leave().await,
            Seat::There(mut shim) => {
                shim.order(&json!({ "do": "close" })).await?;
                shim.expect("closed").await.context(self.kind.name())?;
                shim.finish().await.context(self.kind.name())
            }
        }
    }
}

/// Time that no test may need for one step.
pub(crate) const STEP: Duration = Duration::from_secs(30);
