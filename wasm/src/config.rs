//! From the wrapper's settings, as JSON, to the engine's.

use std::time::Duration;

use serde::Deserialize;
use wse_client_core::{
    config::{ClientConfig, Credentials, TokenTransport},
    delivery::BatchConfig,
    security::Secret,
    wire::{Compression, Encoding},
};

/// What the wrapper hands over: names checked, `undefined` left out, `Infinity` written as `null`.
/// Whether a value can be used is decided by [`ClientConfig::check`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    endpoints: Vec<String>,
    #[serde(default)]
    topics: Vec<String>,
    token: Option<String>,
    #[serde(default)]
    token_provider: bool,
    client_version: Option<String>,
    #[serde(default)]
    reconnection: Reconnection,
    #[serde(default)]
    security: Security,
    #[serde(default)]
    performance: Performance,
    #[serde(default)]
    offline: Offline,
    encoding: Option<Form>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reconnection {
    max_retries: Option<u32>,
    initial_delay: Option<f64>,
    max_delay: Option<f64>,
    backoff_multiplier: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Security {
    encryption: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Performance {
    compression: Option<bool>,
    batch_size: Option<f64>,
    batch_timeout: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Offline {
    enabled: Option<bool>,
    max_size: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Json,
    Text,
    Msgpack,
}

impl Settings {
    /// The engine's settings.
    pub(crate) fn into_config(self) -> ClientConfig {
        let mut config = ClientConfig::new(String::new());
        config.endpoints = self.endpoints;
        config.topics = self.topics;
        // A browser cannot set headers on a WebSocket.
        config.token_transport = TokenTransport::Query;
        config.credentials = match (self.token_provider, self.token) {
            (true, _) => Credentials::Provider,
            (false, Some(token)) => Credentials::Token(Secret::new(token)),
            (false, None) => Credentials::None,
        };
        if let Some(version) = self.client_version {
            config.client_version = version;
        }
        self.reconnection.apply(&mut config);
        config.security.encryption = self.security.encryption.unwrap_or(config.security.encryption);
        self.performance.apply(&mut config);
        self.offline.apply(&mut config);
        config.performance.encoding = match self.encoding {
            None | Some(Form::Json) => Encoding::Binary,
            Some(Form::Text) => Encoding::Text,
            Some(Form::Msgpack) => Encoding::Msgpack,
        };
        config
    }
}

impl Reconnection {
    fn apply(self, config: &mut ClientConfig) {
        config.reconnect.max_retries = self.max_retries;
        if let Some(ms) = self.initial_delay {
            config.reconnect.initial_delay = millis(ms);
        }
        if let Some(ms) = self.max_delay {
            config.reconnect.max_delay = millis(ms);
        }
        if let Some(factor) = self.backoff_multiplier {
            config.reconnect.multiplier = factor;
        }
    }
}

impl Performance {
    fn apply(self, config: &mut ClientConfig) {
        if let Some(compress) = self.compression {
            config.performance.compression = compress.then(Compression::default);
        }
        // Naming either of the two asks for batches.
        if self.batch_size.is_some() || self.batch_timeout.is_some() {
            let default = BatchConfig::default();
            config.performance.batch = Some(BatchConfig {
                size: self.batch_size.map_or(default.size, whole),
                timeout: self.batch_timeout.map_or(default.timeout, millis),
                ..default
            });
        }
    }
}

impl Offline {
    fn apply(self, config: &mut ClientConfig) {
        config.offline.enabled = self.enabled.unwrap_or(config.offline.enabled);
        config.offline.max_size = self.max_size.map_or(config.offline.max_size, whole);
    }
}

/// A count. What is negative or no number becomes zero, which the check refuses by name.
fn whole(number: f64) -> usize {
    number as usize
}

/// Milliseconds of JavaScript. What is negative becomes zero, which the check refuses by name.
fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(if ms > 0.0 { Duration::MAX } else { Duration::ZERO })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> ClientConfig {
        serde_json::from_str::<Settings>(json).expect("settings").into_config()
    }

    #[test]
    fn absent_settings_keep_the_defaults_of_the_engine() {
        let (ours, core) = (parse(r#"{"endpoints":["ws://a"]}"#), ClientConfig::new("ws://a"));
        assert_eq!(ours.reconnect, core.reconnect);
        assert_eq!(ours.performance.compression, core.performance.compression);
        assert_eq!(ours.performance.encoding, core.performance.encoding);
        assert_eq!(ours.performance.batch, None);
        assert_eq!(ours.offline, core.offline);
        assert_eq!(ours.token_transport, TokenTransport::Query);
    }

    #[test]
    fn every_setting_arrives() {
        let config = parse(
            r#"{"endpoints":["ws://a","ws://b"],"topics":["t"],"tokenProvider":true,"encoding":"msgpack",
                "reconnection":{"maxRetries":3,"initialDelay":10,"maxDelay":20.5,"backoffMultiplier":2},
                "security":{"encryption":true},
                "performance":{"compression":false,"batchSize":4,"batchTimeout":50},
                "offline":{"enabled":false,"maxSize":7}}"#,
        );
        assert_eq!(config.endpoints.len(), 2);
        assert_eq!(config.reconnect.max_retries, Some(3));
        assert_eq!(config.reconnect.max_delay, Duration::from_micros(20_500));
        assert!(config.security.encryption);
        assert_eq!(config.performance.compression, None);
        assert_eq!(config.performance.encoding, Encoding::Msgpack);
        let batch = config.performance.batch.expect("asked for");
        assert_eq!((batch.size, batch.timeout), (4, Duration::from_millis(50)));
        assert_eq!((config.offline.enabled, config.offline.max_size), (false, 7));
        assert!(matches!(config.credentials, Credentials::Provider));
    }

    #[test]
    fn a_negative_or_endless_delay_does_not_panic() {
        assert_eq!(millis(-5.0), Duration::ZERO);
        assert_eq!(millis(f64::NAN), Duration::ZERO);
        assert_eq!(millis(f64::INFINITY), Duration::MAX);
    }
}
