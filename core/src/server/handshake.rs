//! Admission, `server_ready`, hello and key agreement. Source: PROTOCOL.md §4, §5.1.

use serde::{Deserialize, Serialize};

use crate::{
    PROTOCOL_VERSION,
    error::{Code, close},
    io::Close,
    security::{Dialect, KeyPair, Keyring, Role},
    time::Moment,
    wire::Message,
};

use super::{
    Event, Identity, Output, Peer, Timer,
    inbound::{Action, RequestedTopics},
};

/// What this server does. Only what is true.
#[derive(Serialize, Clone, Copy)]
struct Features {
    compression: bool,
    encryption: bool,
    msgpack: bool,
    full_duplex: bool,
    bound_keys: bool,
    message_signing: bool,
    batching: bool,
    recovery: bool,
}

#[derive(Serialize)]
struct ServerReady<'a> {
    message: &'a str,
    connection_id: &'a str,
    details: ReadyDetails<'a>,
}

#[derive(Serialize)]
struct ReadyDetails<'a> {
    version: u64,
    features: Features,
    limits: HelloLimits,
    connection_id: &'a str,
    server_time: &'a str,
    user_id: &'a str,
}

#[derive(Serialize)]
struct ServerHello<'a> {
    server_version: &'a str,
    protocol_version: u64,
    features: Features,
    /// The 1.x name of `features`.
    supported_features: Features,
    limits: HelloLimits,
    ping_interval: u64,
    connection_id: &'a str,
    server_time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_public_key: Option<String>,
}

#[derive(Serialize)]
struct HelloLimits {
    max_message_size: usize,
    max_topics: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_capacity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_refill: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClientHello {
    client_version: Option<String>,
    encryption_public_key: Option<String>,
    features: ClientFeatures,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClientFeatures {
    encryption: bool,
    full_duplex: bool,
    bound_keys: bool,
}

impl Peer {
    pub(super) fn welcome(&mut self, identity: Identity, now: Moment) {
        self.timers.set(Timer::Ping, now + self.config.ping_interval);
        self.timers.set(Timer::Idle, now + self.config.idle_timeout);
        let connection_id = self.connection_id.clone();
        let ready = ServerReady {
            message: "ready",
            connection_id: &connection_id,
            details: ReadyDetails {
                version: PROTOCOL_VERSION,
                features: self.features(),
                limits: self.limits(),
                connection_id: &connection_id,
                server_time: &self.wall.at(now).to_string(),
                user_id: &identity.user_id,
            },
        };
        self.send_control("server_ready", &ready, None, now);
        self.identity = Some(identity);
        let topics = std::mem::take(&mut self.params.topics);
        if !topics.is_empty() {
            self.request_topics(
                Action::Subscribe,
                RequestedTopics { topics, ..RequestedTopics::default() },
                None,
                true,
                now,
            );
        }
    }

    pub(super) fn turn_away(&mut self, code: Code, message: &str, now: Moment) {
        self.send_error(code, message, false, None, now);
        let close_code = match code {
            Code::OriginNotAllowed => close::FORBIDDEN,
            Code::ServerFull => close::TRY_LATER,
            Code::InvalidRequest => close::POLICY,
            _ => close::AUTH,
        };
        self.close(Close::new(close_code, code.as_str()), now);
    }

    fn features(&self) -> Features {
        Features {
            compression: self.config.compression.is_some(),
            encryption: self.config.encryption,
            msgpack: true,
            full_duplex: true,
            bound_keys: true,
            message_signing: self.config.signing.is_some(),
            batching: true,
            recovery: self.config.recovery,
        }
    }

    fn limits(&self) -> HelloLimits {
        let rate = self.config.inbound_rate;
        HelloLimits {
            max_message_size: self.config.limits.max_frame,
            max_topics: self.config.limits.max_topics,
            rate_limit_capacity: rate.map(|rate| rate.capacity),
            rate_limit_refill: rate.map(|rate| rate.refill),
        }
    }

    pub(super) fn on_hello(&mut self, message: &Message, now: Moment) {
        let hello: ClientHello = message.payload().parse_control().unwrap_or_default();
        self.hello_seen = true;
        self.full_duplex |= hello.features.full_duplex;
        if let Some(version) = hello.client_version {
            self.params.client_version = version;
        }
        let wants_key = hello.features.encryption && self.config.encryption && !self.channel.is_encrypted();
        let agreed = match hello.encryption_public_key.filter(|_| wants_key) {
            Some(client_key) => {
                let pair = KeyPair::generate(&mut self.rng);
                let dialect = self.dialect(hello.features.bound_keys);
                match pair.agree(&client_key, dialect, Role::Server, &mut self.rng) {
                    Ok(keys) => Some((pair.public_base64(), Keyring::new(Role::Server, dialect, keys))),
                    Err(code) => {
                        self.send_error(code, "the public key of client_hello is not usable", false, None, now);
                        self.close(Close::new(close::POLICY, code.as_str()), now);
                        return;
                    }
                }
            }
            None => None,
        };
        let (public_key, keys) = agreed.unzip();
        self.say_hello(public_key, now);
        // The hello itself still goes out in the clear: it carries our half of the key.
        if let Some(keys) = keys {
            self.channel.agree(keys);
        }
        let client_version = self.params.client_version.clone();
        self.outputs.push_back(Output::Emit(Event::Hello { client_version }));
    }

    fn say_hello(&mut self, encryption_public_key: Option<String>, now: Moment) {
        let config = self.config.clone();
        let connection_id = self.connection_id.clone();
        let features = self.features();
        let hello = ServerHello {
            server_version: &config.server_version,
            protocol_version: PROTOCOL_VERSION,
            features,
            supported_features: features,
            limits: self.limits(),
            ping_interval: u64::try_from(config.ping_interval.as_millis()).unwrap_or(u64::MAX),
            connection_id: &connection_id,
            server_time: &self.wall.at(now).to_string(),
            encryption_public_key,
        };
        self.send_control("server_hello", &hello, None, now);
    }

    /// Clients that announce a 1.x version derive the key the old way, unless they are ours.
    fn dialect(&self, bound_keys: bool) -> Dialect {
        match self.full_duplex {
            true if bound_keys => Dialect::Bound,
            false if self.params.client_version.starts_with("1.") => Dialect::V1,
            _ => Dialect::V2,
        }
    }
}
