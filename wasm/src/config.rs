//! From the wrapper's options to the engine's settings. Which there are, and what they hold, is in [`SETTINGS`].
//!
//! [`SETTINGS`]: wse_client_core::settings::SETTINGS

use std::time::Duration;

use js_sys::Array;
use wasm_bindgen::{JsCast as _, JsValue};
use wse_client_core::{
    config::{ClientConfig, ConfigError, Credentials, TokenTransport},
    security::Secret,
    settings::{Set, Setting, Settings},
};

/// Reads pairs of an option's path and its value, such as `["reconnection.maxRetries", 5]`, with what names no setting of
/// the engine: `endpoints` and `token`. `asks`: tokens come from a function.
///
/// # Errors
/// The first option that is unknown or cannot be used, under the name it has in TypeScript.
pub(crate) fn read(options: &Array, version: String, asks: bool) -> Result<ClientConfig, ConfigError> {
    let mut settings = Settings::default();
    settings.configure(|config| {
        config.client_version = version;
        // A browser cannot set headers on a WebSocket.
        config.token_transport = TokenTransport::Query;
        if asks {
            config.credentials = Credentials::Provider;
        }
    });
    for pair in options.iter() {
        let pair = Array::from(&pair);
        let (name, value) = (pair.get(0).as_string().unwrap_or_default(), pair.get(1));
        set(&mut settings, &name, &value).ok_or_else(|| ConfigError::new("the option", refusal(&name)))?;
    }
    settings.finish().map_err(|refused| refused.spelled(|setting| setting.option))
}

fn refusal(name: &str) -> String {
    match Setting::with_option(name).map(|setting| setting.set) {
        Some(Set::Choice(words, _)) => format!("{name} must be one of {}", words.join(", ")),
        Some(_) => format!("{name} has a value of the wrong type"),
        None => format!("{name} is unknown"),
    }
}

/// `None`: there is no such option, or it holds something else.
fn set(settings: &mut Settings, name: &str, value: &JsValue) -> Option<()> {
    match name {
        "endpoints" => settings.endpoints(texts(value)?),
        "token" => {
            let token = Credentials::Token(Secret::new(value.as_string()?));
            settings.configure(|config| config.credentials = token);
        }
        name => match Setting::with_option(name)?.set {
            Set::Flag(set) => set(settings, value.as_bool()?),
            Set::Count(set) => set(settings, whole(value.as_f64()?)),
            Set::Limit(set) => set(settings, limit(value.as_f64()?)),
            Set::Number(set) => set(settings, value.as_f64()?),
            Set::Length(set) => set(settings, millis(value.as_f64()?)),
            Set::MaybeLength(set) => set(settings, Some(value.as_f64()?).filter(|ms| ms.is_finite()).map(millis)),
            Set::Choice(words, set) => {
                let word = value.as_string()?;
                set(settings, words.iter().position(|known| *known == word)?);
            }
            Set::Text(set) => set(settings, value.as_string()?),
            Set::Texts(set) => set(settings, texts(value)?),
        },
    }
    Some(())
}

fn texts(value: &JsValue) -> Option<Vec<String>> {
    value.dyn_ref::<Array>()?.iter().map(|item| item.as_string()).collect()
}

/// A count. What is negative or no number becomes zero, which the check refuses by name.
fn whole(number: f64) -> usize {
    number as usize
}

/// `Infinity` is no limit.
fn limit(number: f64) -> Option<u32> {
    number.is_finite().then_some(number as u32)
}

/// Milliseconds of JavaScript. What is negative becomes zero, which the check refuses by name.
fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(if ms > 0.0 { Duration::MAX } else { Duration::ZERO })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_or_endless_delay_does_not_panic() {
        assert_eq!(millis(-5.0), Duration::ZERO);
        assert_eq!(millis(f64::NAN), Duration::ZERO);
        assert_eq!(millis(f64::INFINITY), Duration::MAX);
        assert_eq!((limit(f64::INFINITY), limit(3.0)), (None, Some(3)));
    }
}
