//! From the wrapper's settings to the engine's.

use std::time::Duration;

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::{JsCast as _, JsValue};
use wse_client_core::{
    config::{ClientConfig, Credentials, TokenTransport},
    delivery::BatchConfig,
    error::Code,
    security::Secret,
    wire::{Compression, Encoding},
};

use crate::error;

/// Reads what the wrapper hands over: a plain object with sections, its names checked, `undefined` left out.
/// Whether a value can be used is decided by [`ClientConfig::check`].
///
/// # Errors
/// [`Code::InvalidConfig`] for a value of the wrong kind.
pub(crate) fn read(settings: &Object) -> Result<ClientConfig, JsValue> {
    let settings = Section(settings);
    let mut config = ClientConfig::new(String::new());
    config.endpoints = settings.texts("endpoints")?.unwrap_or_default();
    config.topics = settings.texts("topics")?.unwrap_or_default();
    // A browser cannot set headers on a WebSocket.
    config.token_transport = TokenTransport::Query;
    config.credentials = match (settings.truth("tokenProvider")?, settings.text("token")?) {
        (Some(true), _) => Credentials::Provider,
        (_, Some(token)) => Credentials::Token(Secret::new(token)),
        (_, None) => Credentials::None,
    };
    if let Some(version) = settings.text("clientVersion")? {
        config.client_version = version;
    }
    config.performance.encoding = match settings.text("encoding")?.as_deref() {
        None | Some("json") => Encoding::Binary,
        Some("text") => Encoding::Text,
        Some("msgpack") => Encoding::Msgpack,
        Some(_) => return Err(wrong("encoding")),
    };
    settings.section("reconnection", |section| reconnection(section, &mut config))?;
    settings.section("security", |section| {
        config.security.encryption = section.truth("encryption")?.unwrap_or(config.security.encryption);
        Ok(())
    })?;
    settings.section("performance", |section| performance(section, &mut config))?;
    // A page that wants messages kept says so.
    config.offline.enabled = false;
    settings.section("offline", |section| {
        config.offline.enabled = section.truth("enabled")?.unwrap_or(false);
        config.offline.max_size = section.number("maxSize")?.map_or(config.offline.max_size, whole);
        Ok(())
    })?;
    Ok(config)
}

fn reconnection(section: &Section<'_>, config: &mut ClientConfig) -> Result<(), JsValue> {
    let reconnect = &mut config.reconnect;
    reconnect.max_retries = match section.number("maxRetries")? {
        Some(retries) if retries.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&retries) => {
            return Err(wrong("maxRetries"));
        }
        retries => retries.map(|retries| retries as u32),
    };
    reconnect.initial_delay = section.number("initialDelay")?.map_or(reconnect.initial_delay, millis);
    reconnect.max_delay = section.number("maxDelay")?.map_or(reconnect.max_delay, millis);
    reconnect.multiplier = section.number("backoffMultiplier")?.unwrap_or(reconnect.multiplier);
    Ok(())
}

fn performance(section: &Section<'_>, config: &mut ClientConfig) -> Result<(), JsValue> {
    if let Some(compress) = section.truth("compression")? {
        config.performance.compression = compress.then(Compression::default);
    }
    // Naming either of the two asks for batches.
    let (size, timeout) = (section.number("batchSize")?, section.number("batchTimeout")?);
    if size.is_some() || timeout.is_some() {
        let default = BatchConfig::default();
        config.performance.batch = Some(BatchConfig {
            size: size.map_or(default.size, whole),
            timeout: timeout.map_or(default.timeout, millis),
            ..default
        });
    }
    Ok(())
}

/// An object of settings. A member that is `undefined` or `null` counts as missing.
struct Section<'a>(&'a Object);

impl Section<'_> {
    fn get<T>(&self, name: &str, read: impl FnOnce(&JsValue) -> Option<T>) -> Result<Option<T>, JsValue> {
        let value = Reflect::get(self.0, &name.into())?;
        if value.is_undefined() || value.is_null() {
            return Ok(None);
        }
        read(&value).map(Some).ok_or_else(|| wrong(name))
    }

    fn section(&self, name: &str, read: impl FnOnce(&Section<'_>) -> Result<(), JsValue>) -> Result<(), JsValue> {
        let section = self.get(name, |value| value.dyn_ref::<Object>().cloned())?;
        section.map_or(Ok(()), |section| read(&Section(&section)))
    }

    fn text(&self, name: &str) -> Result<Option<String>, JsValue> {
        self.get(name, JsValue::as_string)
    }

    fn texts(&self, name: &str) -> Result<Option<Vec<String>>, JsValue> {
        self.get(name, |value| value.dyn_ref::<Array>()?.iter().map(|item| item.as_string()).collect())
    }

    fn truth(&self, name: &str) -> Result<Option<bool>, JsValue> {
        self.get(name, JsValue::as_bool)
    }

    /// A number; one that is not finite stands for the default, which is without end where that makes sense.
    fn number(&self, name: &str) -> Result<Option<f64>, JsValue> {
        Ok(self.get(name, JsValue::as_f64)?.filter(|number| number.is_finite()))
    }
}

fn wrong(name: &str) -> JsValue {
    error::error(Code::InvalidConfig, &["the setting ", name, " has a value of the wrong kind"].concat())
}

/// A count. What is negative or no number becomes zero, which the check refuses by name.
fn whole(number: f64) -> usize {
    number as usize
}

/// Milliseconds of JavaScript. What is negative becomes zero, which the check refuses by name.
fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(if ms > 0.0 { Duration::MAX } else { Duration::ZERO })
}
