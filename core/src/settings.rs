//! Settings by name, for languages that have no structs of Rust.
//!
//! One table says which settings there are, what they are called and what they hold. A binding looks a name up, turns
//! a value of its language into what [`Set`] asks for, and hands it over; what is left out keeps the default.
//! TypeScript nests its options (`reconnection: { maxRetries }`), Python has keywords (`max_retries`): the words are the same.
//!
//! ```
//! use wse_client_core::settings::{Set, Setting, Settings};
//!
//! let mut settings = Settings::default();
//! settings.endpoints(["wss://a.example.org/wse"]);
//! let setting = Setting::with_keyword("max_retries").expect("a setting");
//! assert_eq!(setting.option, "reconnection.maxRetries");
//! if let Set::Limit(set) = setting.set {
//!     set(&mut settings, Some(5));
//! }
//! assert_eq!(settings.finish().expect("usable").reconnect.max_retries, Some(5));
//! ```

use std::time::Duration;

use crate::{
    config::{ClientConfig, ConfigError},
    delivery::BatchConfig,
    resilience::{BackoffStrategy, BalanceStrategy},
    security::{Secret, SigningConfig, SigningForm, Verification},
    wire::{Compression, Encoding},
};

/// One setting and its names.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in a [`ConfigError`], for example `reconnect.max_retries`.
    pub field: &'static str,
    /// Its path among nested options, for example `reconnection.maxRetries`.
    pub option: &'static str,
    /// Its name as a keyword argument, for example `max_retries`.
    pub keyword: &'static str,
    /// What it holds, and how it is set.
    pub set: Set,
}

/// What a setting holds, and the function that sets it.
#[derive(Debug, Clone, Copy)]
pub enum Set {
    /// Yes or no.
    Flag(fn(&mut Settings, bool)),
    /// A whole number from 0.
    Count(fn(&mut Settings, usize)),
    /// A whole number from 0, or `None` for no limit.
    Limit(fn(&mut Settings, Option<u32>)),
    /// Any number.
    Number(fn(&mut Settings, f64)),
    /// A length of time.
    Length(fn(&mut Settings, Duration)),
    /// A length of time, or `None` for never.
    MaybeLength(fn(&mut Settings, Option<Duration>)),
    /// One of these words, by its index.
    Choice(&'static [&'static str], fn(&mut Settings, usize)),
    /// Text.
    Text(fn(&mut Settings, String)),
    /// Several texts.
    Texts(fn(&mut Settings, Vec<String>)),
}

impl Setting {
    /// The setting with this path among nested options.
    pub fn with_option(option: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.option == option)
    }

    /// The setting with this keyword.
    pub fn with_keyword(keyword: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.keyword == keyword)
    }
}

/// Settings on the way to a [`ClientConfig`].
#[derive(Debug, Clone)]
pub struct Settings {
    config: ClientConfig,
    signing: Signing,
    preferred: Option<String>,
}

#[derive(Debug, Clone)]
struct Signing {
    wanted: Option<bool>,
    key: Option<Secret>,
    rest: SigningConfig,
}

impl Default for Settings {
    /// The defaults, without an endpoint.
    fn default() -> Self {
        let config = ClientConfig { endpoints: Vec::new(), ..ClientConfig::new("") };
        let rest = SigningConfig::new(Secret::new(""));
        Self { config, signing: Signing { wanted: None, key: None, rest }, preferred: None }
    }
}

impl Settings {
    /// Adds addresses of equal servers.
    pub fn endpoints<T: Into<String>>(&mut self, urls: impl IntoIterator<Item = T>) {
        self.config.endpoints.extend(urls.into_iter().map(Into::into));
    }

    /// Changes the settings of the engine directly, for what a driver decides itself.
    pub fn configure(&mut self, change: impl FnOnce(&mut ClientConfig)) {
        change(&mut self.config);
    }

    /// All settings together, checked.
    ///
    /// # Errors
    /// The first setting that cannot be used, by its `field`; see [`ConfigError::spelled`].
    pub fn finish(mut self) -> Result<ClientConfig, ConfigError> {
        let Signing { wanted, key, rest } = self.signing;
        // Who gives a key wants it used.
        if wanted.unwrap_or(key.is_some()) {
            let key = key.ok_or_else(|| ConfigError::new("security.signing.key", "is needed for security.signing"))?;
            self.config.security.signing = Some(SigningConfig { key, ..rest });
        }
        if let Some(url) = self.preferred {
            let index = self.config.endpoints.iter().position(|endpoint| *endpoint == url);
            let refused = || ConfigError::new("pool.preferred", "must be one of the endpoints");
            self.config.pool.preferred = Some(index.ok_or_else(refused)?);
        }
        self.config.check()?;
        Ok(self.config)
    }

    fn batch(&mut self) -> &mut BatchConfig {
        self.config.performance.batch.get_or_insert_default()
    }
}

impl ConfigError {
    /// The error in the words of a language: fields are called as `spell` says.
    pub fn spelled(&self, spell: fn(&'static Setting) -> &'static str) -> Self {
        let known = SETTINGS.iter().find(|setting| setting.field == self.setting);
        let problem = SETTINGS
            .iter()
            .filter(|setting| setting.field.contains('.'))
            .fold(self.problem.clone(), |text, setting| text.replace(setting.field, spell(setting)));
        Self { setting: known.map_or(self.setting, spell), problem }
    }
}

const fn setting(field: &'static str, option: &'static str, keyword: &'static str, set: Set) -> Setting {
    Setting { field, option, keyword, set }
}

/// Every setting, in the order of the documentation. A field whose name begins another one stands behind it.
pub static SETTINGS: &[Setting] = &[
    setting("topics", "topics", "topics", Set::Texts(|to, topics| to.config.topics = topics)),
    setting(
        "performance.encoding",
        "encoding",
        "encoding",
        Set::Choice(&["json", "text", "msgpack"], |to, index| {
            to.config.performance.encoding = [Encoding::Binary, Encoding::Text, Encoding::Msgpack][index];
        }),
    ),
    setting(
        "reconnect.max_retries",
        "reconnection.maxRetries",
        "max_retries",
        Set::Limit(|to, most| {
            to.config.reconnect.max_retries = most;
        }),
    ),
    setting(
        "reconnect.initial_delay",
        "reconnection.initialDelay",
        "initial_delay",
        Set::Length(|to, length| {
            to.config.reconnect.initial_delay = length;
        }),
    ),
    setting(
        "reconnect.max_delay",
        "reconnection.maxDelay",
        "max_delay",
        Set::Length(|to, length| {
            to.config.reconnect.max_delay = length;
        }),
    ),
    setting(
        "reconnect.multiplier",
        "reconnection.backoffMultiplier",
        "backoff_multiplier",
        Set::Number(|to, factor| {
            to.config.reconnect.multiplier = factor;
        }),
    ),
    setting(
        "reconnect.strategy",
        "reconnection.backoffStrategy",
        "backoff_strategy",
        Set::Choice(&["exponential", "linear", "fibonacci", "adaptive"], |to, index| {
            use BackoffStrategy::{Adaptive, Exponential, Fibonacci, Linear};
            to.config.reconnect.strategy = [Exponential, Linear, Fibonacci, Adaptive][index];
        }),
    ),
    setting(
        "pool.strategy",
        "pool.strategy",
        "pool_strategy",
        Set::Choice(&["weighted_random", "least_connections", "round_robin"], |to, index| {
            use BalanceStrategy::{LeastConnections, RoundRobin, WeightedRandom};
            to.config.pool.strategy = [WeightedRandom, LeastConnections, RoundRobin][index];
        }),
    ),
    setting("pool.preferred", "pool.preferred", "pool_preferred", Set::Text(|to, url| to.preferred = Some(url))),
    setting(
        "security.encryption",
        "security.encryption",
        "encryption",
        Set::Flag(|to, wanted| {
            to.config.security.encryption = wanted;
        }),
    ),
    setting(
        "security.rotate_after",
        "security.rotateAfter",
        "rotate_after",
        Set::MaybeLength(|to, age| {
            to.config.security.rotate_after = age;
        }),
    ),
    setting(
        "security.signing.key",
        "security.signingKey",
        "signing_key",
        Set::Text(|to, key| {
            to.signing.key = Some(Secret::new(key));
        }),
    ),
    setting(
        "security.signing.kinds",
        "security.signingTypes",
        "signing_types",
        Set::Texts(|to, types| {
            // One by one: a set that is made at once sorts first, with much code.
            to.signing.rest.kinds.clear();
            to.signing.rest.kinds.extend(types);
        }),
    ),
    setting(
        "security.signing.publications",
        "security.signingPublications",
        "signing_publications",
        Set::Flag(|to, wanted| to.signing.rest.publications = wanted),
    ),
    setting(
        "security.signing.form",
        "security.signingForm",
        "signing_form",
        Set::Choice(&["hmac", "jwt"], |to, index| {
            to.signing.rest.form = [SigningForm::Hmac, SigningForm::Jwt][index];
        }),
    ),
    setting(
        "security.signing.verification",
        "security.signingVerification",
        "signing_verification",
        Set::Choice(&["off", "if_present", "required"], |to, index| {
            use Verification::{IfPresent, Off, Required};
            to.signing.rest.verification = [Off, IfPresent, Required][index];
        }),
    ),
    setting(
        "security.signing",
        "security.signing",
        "signing",
        Set::Flag(|to, wanted| {
            to.signing.wanted = Some(wanted);
        }),
    ),
    setting(
        "performance.compression",
        "performance.compression",
        "compression",
        Set::Flag(|to, wanted| {
            to.config.performance.compression = wanted.then(Compression::default);
        }),
    ),
    // Naming either of the two asks for batches.
    setting(
        "performance.batch.size",
        "performance.batchSize",
        "batch_size",
        Set::Count(|to, size| {
            to.batch().size = size;
        }),
    ),
    setting(
        "performance.batch.timeout",
        "performance.batchTimeout",
        "batch_timeout",
        Set::Length(|to, length| {
            to.batch().timeout = length;
        }),
    ),
    setting(
        "adaptive_quality",
        "performance.adaptiveQuality",
        "adaptive_quality",
        Set::Flag(|to, wanted| {
            to.config.adaptive_quality = wanted;
        }),
    ),
    setting(
        "offline.enabled",
        "offline.enabled",
        "offline",
        Set::Flag(|to, wanted| {
            to.config.offline.enabled = wanted;
        }),
    ),
    setting(
        "offline.max_size",
        "offline.maxSize",
        "offline_max_size",
        Set::Count(|to, size| {
            to.config.offline.max_size = size;
        }),
    ),
    setting(
        "offline.max_age",
        "offline.maxAge",
        "offline_max_age",
        Set::Length(|to, length| {
            to.config.offline.max_age = length;
        }),
    ),
    setting(
        "heartbeat.interval",
        "heartbeat.interval",
        "heartbeat_interval",
        Set::Length(|to, length| {
            to.config.heartbeat.interval = length;
        }),
    ),
    setting(
        "heartbeat.timeout",
        "heartbeat.timeout",
        "heartbeat_timeout",
        Set::Length(|to, length| {
            to.config.heartbeat.timeout = length;
        }),
    ),
    setting(
        "timeouts.connect",
        "timeouts.dial",
        "dial_timeout",
        Set::Length(|to, length| {
            to.config.timeouts.connect = length;
        }),
    ),
    setting(
        "timeouts.ready",
        "timeouts.ready",
        "ready_timeout",
        Set::Length(|to, length| {
            to.config.timeouts.ready = length;
        }),
    ),
    setting(
        "timeouts.subscribe",
        "timeouts.subscribe",
        "subscribe_timeout",
        Set::Length(|to, length| {
            to.config.timeouts.subscribe = length;
        }),
    ),
    setting(
        "timeouts.request",
        "timeouts.request",
        "request_timeout",
        Set::Length(|to, length| {
            to.config.timeouts.request = length;
        }),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[(&str, &str)]) -> Result<ClientConfig, ConfigError> {
        let mut settings = Settings::default();
        settings.endpoints(["ws://a", "ws://b"]);
        for (option, value) in options {
            match Setting::with_option(option).expect("a setting").set {
                Set::Flag(set) => set(&mut settings, *value == "true"),
                Set::Count(set) => set(&mut settings, value.parse().expect("a count")),
                Set::Limit(set) => set(&mut settings, value.parse().ok()),
                Set::Number(set) => set(&mut settings, value.parse().expect("a number")),
                Set::Length(set) => set(&mut settings, Duration::from_millis(value.parse().expect("ms"))),
                Set::MaybeLength(set) => set(&mut settings, value.parse().ok().map(Duration::from_millis)),
                Set::Choice(words, set) => {
                    set(&mut settings, words.iter().position(|word| word == value).expect("one of the words"));
                }
                Set::Text(set) => set(&mut settings, (*value).to_owned()),
                Set::Texts(set) => set(&mut settings, value.split(',').map(str::to_owned).collect()),
            }
        }
        settings.finish()
    }

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn without_settings_everything_is_as_the_engine_has_it() {
        let ours = with(&[]).expect("usable");
        let core = ClientConfig { endpoints: ours.endpoints.clone(), ..ClientConfig::new("ws://a") };
        assert_eq!(format!("{ours:?}"), format!("{core:?}"));
        assert!(ours.offline.enabled && ours.offline.max_size == 1000);
    }

    #[test]
    fn every_setting_changes_something_of_its_own() {
        for setting in SETTINGS {
            let values: &[&str] = match setting.set {
                Set::Flag(_) => &["true", "false"],
                Set::Choice(words, _) => words,
                Set::Text(_) => &[KEY, "ws://a"],
                Set::Texts(_) => &["a,b"],
                Set::Count(_) | Set::Limit(_) | Set::Number(_) | Set::Length(_) | Set::MaybeLength(_) => &["4321", "5"],
            };
            // What is about signatures shows only with a key.
            let shows = |option: &str| option.starts_with("security.signing") && option != "security.signingKey";
            let basis = if shows(setting.option) { vec![("security.signingKey", KEY)] } else { Vec::new() };
            let before = format!("{:?}", with(&basis).expect("usable"));
            let changed = values.iter().any(|value| {
                let options = [basis.as_slice(), &[(setting.option, *value)]].concat();
                with(&options).is_ok_and(|config| format!("{config:?}") != before)
            });
            assert!(changed, "{} changes nothing", setting.option);
        }
    }

    #[test]
    fn words_are_in_the_order_of_their_variants() {
        let config = with(&[
            ("encoding", "msgpack"),
            ("reconnection.backoffStrategy", "fibonacci"),
            ("pool.strategy", "round_robin"),
            ("security.signingKey", KEY),
            ("security.signingForm", "jwt"),
            ("security.signingVerification", "required"),
        ])
        .expect("usable");
        assert_eq!(config.performance.encoding, Encoding::Msgpack);
        assert_eq!(config.reconnect.strategy, BackoffStrategy::Fibonacci);
        assert_eq!(config.pool.strategy, BalanceStrategy::RoundRobin);
        let signing = config.security.signing.expect("asked for by its key");
        assert_eq!((signing.form, signing.verification), (SigningForm::Jwt, Verification::Required));
    }

    #[test]
    fn signing_needs_a_key_and_can_be_turned_off() {
        assert_eq!(with(&[("security.signing", "true")]).expect_err("no key").setting, "security.signing.key");
        let short = with(&[("security.signing", "true"), ("security.signingKey", "short")]).expect_err("short");
        assert_eq!(short.setting, "security.signing.key");
        let off = with(&[("security.signingKey", KEY), ("security.signing", "false")]).expect("usable");
        assert!(off.security.signing.is_none());
        let types = with(&[("security.signingTypes", "order,pay"), ("security.signingKey", KEY)]).expect("usable");
        assert!(types.security.signing.expect("on").kinds.iter().eq(["order", "pay"]));
    }

    #[test]
    fn the_preferred_endpoint_is_named_by_its_address() {
        assert_eq!(with(&[("pool.preferred", "ws://b")]).expect("usable").pool.preferred, Some(1));
        assert_eq!(with(&[("pool.preferred", "ws://c")]).expect_err("unknown").setting, "pool.preferred");
    }

    #[test]
    fn errors_are_told_in_the_words_of_the_language() {
        let fault = with(&[("reconnection.initialDelay", "500"), ("reconnection.maxDelay", "5")]).expect_err("short");
        let told = |spell: fn(&'static Setting) -> &'static str| fault.spelled(spell).to_string();
        assert_eq!(
            told(|setting| setting.option),
            "reconnection.maxDelay must not be shorter than reconnection.initialDelay"
        );
        assert_eq!(told(|setting| setting.keyword), "max_delay must not be shorter than initial_delay");
        let fault = with(&[("security.signing", "true")]).expect_err("no key").spelled(|setting| setting.keyword);
        assert_eq!(fault.to_string(), "signing_key is needed for signing");
    }

    #[test]
    fn names_are_used_once_and_are_the_same_but_for_casing() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            for other in &SETTINGS[index + 1..] {
                assert_ne!(setting.option, other.option);
                assert_ne!(setting.keyword, other.keyword);
                assert!(!other.field.starts_with(&format!("{}.", setting.field)), "{} must come later", setting.field);
            }
            let words = |name: &str| {
                let mut snake = String::new();
                for character in name.chars() {
                    if character.is_uppercase() {
                        snake.push('_');
                    }
                    snake.extend(character.to_lowercase());
                }
                snake.split(['_', '.']).map(str::to_owned).collect::<Vec<_>>()
            };
            let (option, keyword) = (words(setting.option), words(setting.keyword));
            assert!(keyword.iter().all(|word| option.contains(word) || word == "timeout"), "{}", setting.keyword);
        }
    }
}
