//! Keyword arguments of Python as settings of the engine. Which there are, and what they hold, is in [`SETTINGS`].
//!
//! [`SETTINGS`]: wse_client_core::settings::SETTINGS

use std::{path::PathBuf, time::Duration};

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBool, PyDict, PyString},
};
use wse_client::{ClientConfig, Code, ConfigError, Encoding, Secret};
use wse_client_core::{
    config::Credentials,
    settings::{Set, Setting, Settings as EngineSettings},
    wire::PayloadEncoding,
};

use crate::error;

/// Bound of one `connect()`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Events held for a program that is slow to read.
const QUEUE_SIZE: usize = 4096;
const LARGEST_QUEUE: usize = 1_000_000;

/// What a client is made from.
pub(crate) struct Settings {
    pub(crate) config: ClientConfig,
    pub(crate) queue_size: usize,
    /// Asked for as part of `connect()`, so that it can tell which of them were refused.
    pub(crate) topics: Vec<String>,
    /// Bound of one `connect()`, all its attempts together.
    pub(crate) connect_timeout: Duration,
    /// How payloads are written.
    pub(crate) payloads: PayloadEncoding,
    /// Where a recording goes.
    pub(crate) record: Option<PathBuf>,
}

impl Settings {
    /// Reads `connect(url, **settings)`. `provider`: tokens come from a function of the program.
    ///
    /// # Errors
    /// `TypeError` for a value of the wrong type, `WSEConfigError` for one that cannot be used. Both name the keyword.
    pub(crate) fn new(url: &Bound<'_, PyAny>, keywords: &Bound<'_, PyDict>, provider: bool) -> PyResult<Self> {
        let mut settings = EngineSettings::default();
        settings.endpoints(if url.is_instance_of::<PyString>() { vec![text("url", url)?] } else { texts("url", url)? });
        settings.configure(|config| {
            config.client_version = format!("python/{}", env!("CARGO_PKG_VERSION"));
            if provider {
                config.credentials = Credentials::Provider;
            }
        });
        let mut made = Self {
            config: ClientConfig::new(""),
            topics: Vec::new(),
            queue_size: QUEUE_SIZE,
            connect_timeout: CONNECT_TIMEOUT,
            payloads: PayloadEncoding::Json,
            record: None,
        };
        for (name, value) in keywords.iter() {
            let name = name.extract::<String>()?;
            if !made.set_own(&mut settings, &name, &value)? {
                set(&mut settings, &name, &value)?;
            }
        }
        made.config = settings.finish().map_err(|fault| config_error(url.py(), &fault))?;
        made.topics = std::mem::take(&mut made.config.topics);
        if made.config.performance.encoding == Encoding::Msgpack {
            made.payloads = PayloadEncoding::Msgpack;
        }
        Ok(made)
    }

    /// Sets what the engine has no setting for; false: it is none of these.
    fn set_own(&mut self, to: &mut EngineSettings, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        match name {
            "token" if value.is_none() => {}
            "token" => {
                let token = Credentials::Token(Secret::new(text(name, value)?));
                to.configure(|config| config.credentials = token);
            }
            "endpoints" => to.endpoints(texts(name, value)?),
            "connect_timeout" => self.connect_timeout = seconds(name, value)?,
            "queue_size" => self.queue_size = count(name, value, 1..=LARGEST_QUEUE)?,
            "record" if value.is_none() => {}
            "record" => self.record = Some(value.extract().map_err(|_| wrong_type(value, name, "a path"))?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn set(to: &mut EngineSettings, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // Python has checked the names.
    let setting = Setting::with_keyword(name).ok_or_else(|| PyTypeError::new_err(format!("{name} is no option")))?;
    match setting.set {
        Set::Flag(set) => set(to, flag(name, value)?),
        Set::Count(set) => set(to, count(name, value, 1..=LARGEST_QUEUE)?),
        Set::Limit(set) if value.is_none() => set(to, None),
        Set::Limit(set) => set(to, Some(count(name, value, 0..=u32::MAX as usize)? as u32)),
        Set::Number(set) => set(to, number(name, value)?),
        Set::Length(set) => set(to, seconds(name, value)?),
        Set::MaybeLength(set) if value.is_none() => set(to, None),
        Set::MaybeLength(set) => set(to, Some(seconds(name, value)?)),
        Set::Choice(words, set) => {
            let word = text(name, value)?;
            let wanted = || format!("one of \"{}\"", words.join("\", \""));
            let index = words.iter().position(|known| *known == word);
            set(to, index.ok_or_else(|| refuse(value, name, &wanted()))?);
        }
        Set::Text(set) => set(to, text(name, value)?),
        Set::Texts(set) => set(to, texts(name, value)?),
    }
    Ok(())
}

/// The exception for a setting that the engine refuses, with the keyword's name as Python spells it.
pub(crate) fn config_error(py: Python<'_>, fault: &ConfigError) -> PyErr {
    let ConfigError { setting, problem } = fault.spelled(|setting| setting.keyword);
    let name = if setting == "endpoints" { "url" } else { setting };
    error::new(py, Code::InvalidConfig, &format!("{name}: {problem}"))
}

fn refuse(value: &Bound<'_, PyAny>, name: &str, wanted: &str) -> PyErr {
    error::new(value.py(), Code::InvalidConfig, &format!("{name}: must be {wanted}, not {}", shown(value)))
}

fn wrong_type(value: &Bound<'_, PyAny>, name: &str, wanted: &str) -> PyErr {
    let found = value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
    PyTypeError::new_err(format!("{name}: must be {wanted}, not {found}"))
}

fn shown(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(|_| "?".into(), |text| text.to_string())
}

fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    value.extract().map_err(|_| wrong_type(value, name, "a str"))
}

fn texts(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if value.is_instance_of::<PyString>() {
        return Err(wrong_type(value, name, "several str, for example a list"));
    }
    let items = value.try_iter().map_err(|_| wrong_type(value, name, "several str, for example a list"))?;
    items.map(|item| text(name, &item?)).collect()
}

fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.cast::<PyBool>().map(|flag| flag.is_true()).map_err(|_| wrong_type(value, name, "True or False"))
}

fn number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if value.is_instance_of::<PyBool>() {
        return Err(wrong_type(value, name, "a number"));
    }
    value.extract().map_err(|_| wrong_type(value, name, "a number"))
}

fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    Duration::try_from_secs_f64(number(name, value)?)
        .map_err(|_| refuse(value, name, "a number of seconds, 0.001 or more"))
}

fn count(name: &str, value: &Bound<'_, PyAny>, range: std::ops::RangeInclusive<usize>) -> PyResult<usize> {
    if value.is_instance_of::<PyBool>() {
        return Err(wrong_type(value, name, "a whole number"));
    }
    let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
    let number: i64 = value.extract().map_err(|_| wrong_type(value, name, &wanted()))?;
    usize::try_from(number).ok().filter(|number| range.contains(number)).ok_or_else(|| refuse(value, name, &wanted()))
}
