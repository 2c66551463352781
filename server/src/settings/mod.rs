//! Settings by name, for flags, environment variables and files.
//!
//! One table, [`SETTINGS`], says which settings there are; every other name follows from the one in it:
//!
//! ```text
//! max_connections     key in a file
//! WSE_MAX_CONNECTIONS environment variable
//! --max-connections   flag
//! ```
//!
//! A flag counts before an environment variable, that before a file, and that before the default.
//!
//! ```
//! use wse_server::settings::{Setting, Settings};
//!
//! let mut settings = Settings::default();
//! let setting = Setting::named("max_connections").expect("a setting");
//! setting.set(&mut settings, "500").expect("a number");
//! assert_eq!(settings.server.max_connections, 500);
//! assert_eq!((setting.flag(), setting.variable()), ("max-connections".into(), "WSE_MAX_CONNECTIONS".into()));
//! ```

#[cfg(feature = "cli")]
mod file;
mod table;
mod value;

use std::{collections::BTreeMap, fmt, time::Duration};

#[cfg(feature = "cli")]
pub use file::parse_file;
pub use table::SETTINGS;

pub(crate) use self::value::size;
use self::value::{Form as _, Plain};
use crate::config::Config;

/// Prefix of environment variables.
pub const PREFIX: &str = "WSE_";

/// Everything that the program `wse-server` can be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings of the library.
    pub server: Config,
    /// What to log: a level, or a filter of `tracing_subscriber`. Default `info`.
    pub log: String,
    /// How log lines are written. Default text.
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object in each line, for programs.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self { server: Config::default(), log: "info".into(), log_format: LogFormat::default() }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in a file.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What stands for its value in a usage line.
    pub placeholder: &'static str,
    /// What it does, in a sentence or two.
    pub help: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    show: fn(&Settings) -> Option<String>,
}

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no; as a flag it needs no value.
    Flag,
    /// One value.
    Value,
    /// Several values, separated by commas.
    List,
    /// A value that is never shown.
    Secret,
}

/// Where the value of a setting comes from, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The file.
    File,
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// There is no such setting.
    #[error("unknown {} {name:?}{}", family(.name), hint(.nearest))]
    Unknown {
        /// The name that was given.
        name: String,
        /// The valid name that is nearest, if one is near.
        nearest: Option<String>,
    },
    /// The value cannot be read.
    #[error("{name} {problem}")]
    Value {
        /// The setting, as it was written: a key, a variable or a flag.
        name: String,
        /// What is wrong; never the value itself.
        problem: String,
    },
    /// The file is not TOML.
    #[error("{0}")]
    Syntax(String),
}

fn family(name: &str) -> &'static str {
    if name.starts_with(PREFIX) { "variable" } else { "key" }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

impl Setting {
    /// The setting of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// What it belongs to, as a heading.
    pub fn group(&self) -> &'static str {
        let names = SETTINGS.iter().map(|setting| setting.name);
        let upto: Vec<&str> = names.take_while(|name| *name != self.name).chain([self.name]).collect();
        let group = table::GROUPS.iter().rev().find(|(first, _)| upto.contains(first));
        group.map_or("", |(_, heading)| heading)
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Its flag, without the dashes in front.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Sets it.
    ///
    /// # Errors
    /// What is wrong with the text, without the text.
    pub fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        (self.set)(settings, text)
    }

    /// Its value as TOML, hidden for a secret; `None` when it is not set.
    pub fn show(&self, settings: &Settings) -> Option<String> {
        (self.show)(settings)
    }

    /// The name by which a source knows it.
    fn spelled(&self, source: Source) -> String {
        match source {
            Source::Flag => format!("--{}", self.flag()),
            Source::Environment => self.variable(),
            Source::File | Source::Default => self.name.to_owned(),
        }
    }
}

/// Settings, and where each comes from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The settings.
    pub settings: Settings,
    sources: BTreeMap<&'static str, Source>,
}

impl Effective {
    /// Puts the sources together: what `given` says of a setting (flag or environment) counts before the file.
    ///
    /// # Errors
    /// The first value that cannot be read.
    pub fn new(
        file: &BTreeMap<&'static str, String>,
        given: impl Fn(&Setting) -> Option<(Source, String)>,
    ) -> Result<Self, SettingError> {
        let mut effective = Self { settings: Settings::default(), sources: BTreeMap::new() };
        for setting in SETTINGS {
            let from_file = || file.get(setting.name).map(|text| (Source::File, text.clone()));
            let Some((source, text)) = given(setting).or_else(from_file) else { continue };
            setting.set(&mut effective.settings, &text).map_err(|problem| {
                let name = setting.spelled(source);
                SettingError::Value { name, problem }
            })?;
            effective.sources.insert(setting.name, source);
        }
        if effective.source("max_queue_bytes") == Source::Default {
            let config = &mut effective.settings.server;
            config.max_queue_bytes = config.max_queue_bytes.max(config.max_message_size.saturating_mul(4));
        }
        Ok(effective)
    }

    /// Where a setting comes from.
    pub fn source(&self, name: &str) -> Source {
        self.sources.get(name).copied().unwrap_or(Source::Default)
    }
}

/// A file that sets the same, secrets aside; behind each value, where it comes from.
impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in SETTINGS {
            let source = match self.source(setting.name) {
                Source::Default => "default".into(),
                Source::File => "file".into(),
                source => setting.spelled(source),
            };
            let line = match setting.show(&self.settings) {
                Some(value) if setting.kind == Kind::Secret => format!("# {} = {value}", setting.name),
                Some(value) => format!("{} = {value}", setting.name),
                None => format!("# {} =", setting.name),
            };
            writeln!(f, "{line:<56} # {source}")?;
        }
        Ok(())
    }
}

/// Reads a length of time as settings write it: `250ms`, `10s`, `5m`, `12h`, `1d`, or a number of seconds.
///
/// # Errors
/// What is wrong with the text.
pub fn length_of_time(text: &str) -> Result<Duration, String> {
    Plain::parse(text)
}

/// The setting that somebody who wrote `name` may have meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let wanted = name.replace('-', "_").to_ascii_lowercase();
    let distance = |setting: &Setting| strsim::osa_distance(setting.name, &wanted);
    let near = SETTINGS.iter().min_by_key(|setting| distance(setting))?;
    (distance(near) <= (wanted.len() / 3).max(1)).then_some(near.name)
}

/// Looks for variables that are almost one of ours. Others with our prefix belong to somebody else.
///
/// # Errors
/// The first one that looks like a mistake.
pub fn check_variables(names: impl IntoIterator<Item = String>) -> Result<(), SettingError> {
    for variable in names {
        let Some(name) = variable.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else { continue };
        if name == "config" || Setting::named(&name).is_some() {
            continue;
        }
        let near = nearest(&name).filter(|near| strsim::osa_distance(near, &name) <= 2);
        if let Some(near) = near.and_then(Setting::named) {
            return Err(SettingError::Unknown { name: variable, nearest: Some(near.variable()) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_used_once_and_in_one_form() {
        for (first, _) in table::GROUPS {
            assert!(Setting::named(first).is_some(), "{first}");
        }
        assert_eq!(Setting::named("port").map(Setting::group), Some("Port and TLS"));
        assert_eq!(Setting::named("log_format").map(Setting::group), Some("Log"));
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(setting.name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{}", setting.name);
            assert!(SETTINGS[..index].iter().all(|other| other.name != setting.name), "{} twice", setting.name);
            assert!(setting.help.ends_with('.') && !setting.help.contains("  "), "{}", setting.name);
        }
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let defaults = Settings::default();
        for setting in SETTINGS {
            let Some(shown) = setting.show(&defaults) else { continue };
            let mut again = Settings::default();
            let text = shown.trim_matches(['"', '[', ']']);
            setting.set(&mut again, text).unwrap_or_else(|problem| panic!("{}: {problem}", setting.name));
            assert_eq!(setting.show(&again), Some(shown), "{}", setting.name);
        }
    }

    #[test]
    fn every_setting_changes_something() {
        for setting in SETTINGS {
            let mut changed = Settings::default();
            let before = format!("{changed:?}");
            let worked = ["7", "true", "false", "json", "off", "x"]
                .iter()
                .any(|text| setting.set(&mut changed, text).is_ok() && format!("{changed:?}") != before);
            assert!(worked || setting.kind == Kind::Secret, "{}", setting.name);
        }
    }

    #[test]
    fn the_stronger_source_counts() {
        let file = BTreeMap::from([("port", "1".to_owned()), ("max_connections", "2".to_owned())]);
        let given = |setting: &Setting| match setting.name {
            "port" => Some((Source::Environment, "3".to_owned())),
            "host" => Some((Source::Flag, "::1".to_owned())),
            _ => None,
        };
        let effective = Effective::new(&file, given).expect("usable");
        let config = &effective.settings.server;
        assert_eq!((config.port, config.max_connections, &*config.host), (3, 2, "::1"));
        let shown = effective.to_string();
        let source =
            |name: &str| shown.lines().find(|line| line.starts_with(name)).and_then(|line| line.rsplit("# ").next());
        assert_eq!(source("port ="), Some("WSE_PORT"));
        assert_eq!(source("max_connections ="), Some("file"));
        assert_eq!(source("host ="), Some("--host"));
        assert_eq!(source("max_topics ="), Some("default"));
    }

    #[test]
    fn mistakes_are_named_as_they_were_written() {
        let given = |setting: &Setting| (setting.name == "port").then(|| (Source::Environment, "x".to_owned()));
        let error = Effective::new(&BTreeMap::new(), given).expect_err("no number");
        assert_eq!(error.to_string(), "WSE_PORT must be a whole number from 0 to 65535");
        for (given, meant) in [("prot", "port"), ("max-conections", "max_connections"), ("jwt_secrt", "jwt_secret")] {
            assert_eq!(nearest(given), Some(meant));
        }
        assert_eq!(nearest("something_else"), None);
    }

    #[test]
    fn variables_that_are_almost_ours_are_refused() {
        let check = |name: &str| check_variables([name.to_owned()]);
        for fine in [
            "WSE_PORT",
            "WSE_CONFIG",
            "WSE_URL",
            "WSE_TOKEN",
            "WSE_SERVER_BIN",
            "WSE_CHROMIUM",
            "PROT",
            "WSE_SERVICE_HOST",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        let error = check("WSE_JWT_SECERT").expect_err("a mistake");
        assert_eq!(error.to_string(), "unknown variable \"WSE_JWT_SECERT\"; did you mean \"WSE_JWT_SECRET\"?");
    }

    #[test]
    fn secrets_are_not_shown() {
        let given = |setting: &Setting| (setting.kind == Kind::Secret).then(|| (Source::Flag, "hush-hush".to_owned()));
        let effective = Effective::new(&BTreeMap::new(), given).expect("usable");
        let shown = effective.to_string();
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("# jwt_secret = \"********\""), "{shown}");
        assert!(!format!("{effective:?}").contains("hush"));
    }
}
