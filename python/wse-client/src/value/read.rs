//! Payload bytes to Python objects.

use std::fmt;

use pyo3::{
    IntoPyObjectExt,
    exceptions::PyValueError,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyDict, PyList, PyString},
};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use wse_client_core::wire::{Payload, PayloadEncoding};

use super::cached_str;

/// The payload as Python objects: `dict`, `list`, `str`, `int`, `float`, `bool`, `None`, and `bytes` from msgpack.
///
/// # Errors
/// `ValueError` for what Python cannot hold, for example a msgpack map with a map as key.
pub(crate) fn to_python<'py>(py: Python<'py>, payload: &Payload) -> PyResult<Bound<'py, PyAny>> {
    let bytes = payload.bytes();
    match payload.encoding() {
        PayloadEncoding::Json => json(py, bytes),
        PayloadEncoding::Msgpack => {
            let mut source = rmp_serde::Deserializer::from_read_ref(bytes);
            Builder::value(py).deserialize(&mut source).map_err(|error| PyValueError::new_err(error.to_string()))
        }
    }
}

fn json<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    if !may_overflow(text) {
        let mut source = serde_json::Deserializer::from_slice(text);
        if let Ok(value) = Builder::value(py).deserialize(&mut source) {
            return Ok(value);
        }
    }
    // What 64 bits or UTF-8 cannot hold, Python can: big integers, 1e400, lone surrogates.
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.import(py, "json", "loads")?.call1((PyBytes::new(py, text),))
}

/// Whether the text has a run of 19 digits or more, the length from which integers may not fit 64 bits.
fn may_overflow(text: &[u8]) -> bool {
    let mut run = 0;
    text.iter().any(|byte| {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        run >= 19
    })
}

/// Builds one value; as a key, strings come from the cache.
#[derive(Clone, Copy)]
struct Builder<'py> {
    py: Python<'py>,
    key: bool,
}

impl<'py> Builder<'py> {
    const fn value(py: Python<'py>) -> Self {
        Self { py, key: false }
    }

    const fn key(py: Python<'py>) -> Self {
        Self { py, key: true }
    }

    fn object<T: IntoPyObject<'py>, E: Error>(self, value: T) -> Result<Bound<'py, PyAny>, E> {
        value.into_bound_py_any(self.py).map_err(E::custom)
    }
}

impl<'de, 'py> DeserializeSeed<'de> for Builder<'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de, 'py> Visitor<'de> for Builder<'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON or msgpack value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.py.None().into_bound(self.py))
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.object(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.object(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.object(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        self.object(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let text = if self.key { cached_str(self.py, text) } else { PyString::new(self.py, text) };
        Ok(text.into_any())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(PyBytes::new(self.py, bytes).into_any())
    }

    /// A msgpack extension: a list of its number and its bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut built = Vec::new();
        while let Some(item) = items.next_element_seed(Self::value(self.py))? {
            built.push(item);
        }
        Ok(PyList::new(self.py, built).map_err(A::Error::custom)?.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let built = PyDict::new(self.py);
        while let Some(key) = entries.next_key_seed(Self::key(self.py))? {
            let value = entries.next_value_seed(Self::value(self.py))?;
            built.set_item(key, value).map_err(A::Error::custom)?;
        }
        Ok(built.into_any())
    }
}
