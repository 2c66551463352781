//! What a client may set for its own connection. Source: PROTOCOL.md §11.5.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{delivery::BatchConfig, time::Moment, wire::Message};

use super::{Event, Output, Peer};

/// Thresholds of compression that a client may ask for, in bytes.
const THRESHOLDS: std::ops::RangeInclusive<u64> = 512..=10_240;

/// Bounds of its queue that a client may ask for, in messages.
const QUEUE_SIZES: std::ops::RangeInclusive<u64> = 100..=5_000;

/// Longest name of a member of `config_update` that is answered, in bytes.
const LONGEST_NAME: usize = 64;

/// Most members of `config_update` that are looked at.
const MOST_SETTINGS: usize = 32;

/// Most messages in one batch.
const MAX_BATCH_SIZE: u64 = 100;

/// Longest time that messages are held for each other, in seconds.
const MAX_BATCH_TIMEOUT: f64 = 5.0;

/// What this connection is set to, where it may differ from the server's setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnSettings {
    pub(super) batch: BatchConfig,
    pub(super) queue_messages: usize,
}

#[derive(Serialize)]
struct UpdateAnswer {
    success: bool,
    updated_settings: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    failed_settings: Map<String, Value>,
    timestamp: String,
}

impl Peer {
    /// Changes what can be changed, each setting for itself, and says of every one what became of it.
    pub(super) fn on_config_update(&mut self, message: &Message, now: Moment) {
        let asked: Map<String, Value> = message.payload().parse_control().unwrap_or_default();
        let mut answer = UpdateAnswer {
            success: false,
            updated_settings: Map::new(),
            failed_settings: Map::new(),
            timestamp: self.wall.at(now).to_string(),
        };
        let count = asked.len();
        // What can be no setting, by its length or number, is not worth an answer of its own.
        for (name, value) in asked.into_iter().filter(|(name, _)| name.len() <= LONGEST_NAME).take(MOST_SETTINGS) {
            match self.set(&name, &value) {
                Ok(value) => drop(answer.updated_settings.insert(name, value)),
                Err(why) => drop(answer.failed_settings.insert(name, why.into())),
            }
        }
        answer.success = answer.updated_settings.len() == count;
        self.send_control("config_update_response", &answer, message.id(), now);
    }

    /// Sets one thing and gives its value from here on.
    fn set(&mut self, name: &str, value: &Value) -> Result<Value, &'static str> {
        match name {
            "compression_enabled" => self.set_compression(value.as_bool().ok_or("must be true or false")?),
            "compression_threshold" => {
                let bytes = value.as_u64().filter(|bytes| THRESHOLDS.contains(bytes)).ok_or("must be 512 to 10240")?;
                let compression = self.channel.compression.as_mut().ok_or("compression is off")?;
                compression.threshold = bytes as usize;
                Ok(bytes.into())
            }
            "batch_size" => {
                let size = value.as_u64().ok_or("must be a number")?.clamp(1, MAX_BATCH_SIZE);
                self.own.batch.size = size as usize;
                self.batcher.set_config(self.own.batch);
                Ok(size.into())
            }
            "batch_timeout" => {
                let seconds = value.as_f64().ok_or("must be a number of seconds")?.clamp(0.0, MAX_BATCH_TIMEOUT);
                self.own.batch.timeout = Duration::from_secs_f64(seconds);
                self.batcher.set_config(self.own.batch);
                Ok(seconds.into())
            }
            "max_queue_size" => {
                let count = value.as_u64().filter(|count| QUEUE_SIZES.contains(count)).ok_or("must be 100 to 5000")?;
                self.own.queue_messages = count as usize;
                self.outputs.push_back(Output::Emit(Event::QueueSize(count as usize)));
                Ok(count.into())
            }
            _ => Err("not a setting of a connection"),
        }
    }

    fn set_compression(&mut self, wanted: bool) -> Result<Value, &'static str> {
        if wanted && self.reads_plain_only() {
            return Err("what is sealed for this client is not compressed");
        }
        self.channel.compression = match (wanted, self.config.compression) {
            (false, _) => None,
            (true, Some(compression)) => Some(self.channel.compression.unwrap_or(compression)),
            (true, None) => return Err("this server does not compress"),
        };
        Ok(wanted.into())
    }
}
