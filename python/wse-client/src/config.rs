//! Keyword arguments of Python as settings of the engine. Defaults are the engine's own, except for `offline`.

use std::time::Duration;

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBool, PyDict, PyString},
};
use wse_client::{ClientConfig, Code, Compression, ConfigError, Encoding, Secret};
use wse_client_core::{config::Credentials, wire::PayloadEncoding};

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
}

impl Settings {
    /// Reads `connect(url, **settings)`. `provider`: tokens come from a function of the program.
    ///
    /// # Errors
    /// `TypeError` for a value of the wrong type, `WSEConfigError` for one that cannot be used. Both name the keyword.
    pub(crate) fn new(url: &Bound<'_, PyAny>, settings: &Bound<'_, PyDict>, provider: bool) -> PyResult<Self> {
        let mut config = ClientConfig::new(text("url", url)?);
        config.client_version = format!("python/{}", env!("CARGO_PKG_VERSION"));
        // A program that wants messages kept says so.
        config.offline.enabled = false;
        if provider {
            config.credentials = Credentials::Provider;
        }
        let mut made = Self {
            config,
            topics: Vec::new(),
            queue_size: QUEUE_SIZE,
            connect_timeout: CONNECT_TIMEOUT,
            payloads: PayloadEncoding::Json,
        };
        for (name, value) in settings.iter() {
            made.set(&name.extract::<String>()?, &value)?;
        }
        made.config.check().map_err(|fault| config_error(url.py(), &fault))?;
        made.topics = std::mem::take(&mut made.config.topics);
        Ok(made)
    }

    fn set(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let config = &mut self.config;
        match name {
            "token" if value.is_none() => {}
            "token" => config.credentials = Credentials::Token(Secret::new(text(name, value)?)),
            "topics" => config.topics = texts(name, value)?,
            "endpoints" => config.endpoints.extend(texts(name, value)?),
            "encryption" => config.security.encryption = flag(name, value)?,
            "compression" => config.performance.compression = flag(name, value)?.then(Compression::default),
            "encoding" => (config.performance.encoding, self.payloads) = encoding(value)?,
            "max_retries" if value.is_none() => config.reconnect.max_retries = None,
            "max_retries" => config.reconnect.max_retries = Some(count(name, value, 0..=u32::MAX as usize)? as u32),
            "initial_delay" => config.reconnect.initial_delay = seconds(name, value)?,
            "max_delay" => config.reconnect.max_delay = seconds(name, value)?,
            "backoff_multiplier" => config.reconnect.multiplier = number(name, value)?,
            "connect_timeout" => self.connect_timeout = seconds(name, value)?,
            "dial_timeout" => config.timeouts.connect = seconds(name, value)?,
            "ready_timeout" => config.timeouts.ready = seconds(name, value)?,
            "request_timeout" => config.timeouts.request = seconds(name, value)?,
            "subscribe_timeout" => config.timeouts.subscribe = seconds(name, value)?,
            "heartbeat_interval" => config.heartbeat.interval = seconds(name, value)?,
            "heartbeat_timeout" => config.heartbeat.timeout = seconds(name, value)?,
            "offline" => config.offline.enabled = flag(name, value)?,
            "offline_size" => config.offline.max_size = count(name, value, 1..=LARGEST_QUEUE)?,
            "offline_max_age" => config.offline.max_age = seconds(name, value)?,
            "queue_size" => self.queue_size = count(name, value, 1..=LARGEST_QUEUE)?,
            // Python has checked the names.
            _ => return Err(PyTypeError::new_err(format!("{name} is no option"))),
        }
        Ok(())
    }
}

/// The exception for a setting that the engine refuses, with the keyword's name as Python spells it.
pub(crate) fn config_error(py: Python<'_>, fault: &ConfigError) -> PyErr {
    let name = match fault.setting {
        "reconnect.multiplier" => "backoff_multiplier".to_owned(),
        "timeouts.connect" => "dial_timeout".to_owned(),
        "endpoints" => "url".to_owned(),
        other => match other.split_once('.') {
            Some(("timeouts", rest)) => format!("{rest}_timeout"),
            Some(("heartbeat", rest)) => format!("heartbeat_{rest}"),
            Some(("offline", "max_size")) => "offline_size".to_owned(),
            Some(("offline", rest)) => format!("offline_{rest}"),
            Some((_, rest)) => rest.to_owned(),
            None => other.to_owned(),
        },
    };
    let problem = fault.problem.replace("reconnect.", "");
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

fn encoding(value: &Bound<'_, PyAny>) -> PyResult<(Encoding, PayloadEncoding)> {
    match text("encoding", value)?.as_str() {
        "json" => Ok((Encoding::Binary, PayloadEncoding::Json)),
        "msgpack" => Ok((Encoding::Msgpack, PayloadEncoding::Msgpack)),
        _ => Err(refuse(value, "encoding", "\"json\" or \"msgpack\"")),
    }
}
