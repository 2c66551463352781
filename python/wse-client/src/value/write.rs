//! Python objects to payload bytes.
//!
//! | Python | JSON | msgpack |
//! | --- | --- | --- |
//! | `None`, `bool`, `str`, `float`, `int` within 64 bits | the same | the same |
//! | `int` beyond 64 bits, `Decimal`, `UUID` | text | text |
//! | `datetime`, `date`, `time` | `isoformat()` | the same text |
//! | `Enum` | its value | its value |
//! | `bytes`, `bytearray`, `memoryview` | lower-case hex | binary |
//! | `dict` (keys `str`, `int`, `UUID`, `Enum`), `list`, `tuple` | object, array | map, array |

use std::cell::RefCell;

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    sync::PyOnceLock,
    types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple, PyType},
};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};
use wse_client_core::wire::{Limits, Payload, PayloadEncoding};

/// Writes `value` as a payload.
///
/// # Errors
/// `TypeError` for a type that has no form in JSON, `ValueError` for a value that has none (NaN, infinity, a lone
/// surrogate, nesting over the limit); the text says where in the payload.
pub(crate) fn to_payload(value: &Bound<'_, PyAny>, encoding: PayloadEncoding) -> PyResult<Payload> {
    let trail = Trail { steps: RefCell::default(), fault: RefCell::default() };
    let node = Node { value, trail: &trail, depth: 0 };
    let written = match encoding {
        PayloadEncoding::Json => Payload::new(&node).map_err(|error| describe(&error)),
        PayloadEncoding::Msgpack => rmp_serde::to_vec(&node)
            .map_err(|error| describe(&error))
            .and_then(|bytes| Payload::from_msgpack(bytes).map_err(|error| describe(&error))),
    };
    written.map_err(|text| trail.into_error(text))
}

fn describe(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Where in the payload the writer is, and what went wrong there.
struct Trail<'py> {
    steps: RefCell<Vec<Step<'py>>>,
    fault: RefCell<Option<Fault>>,
}

enum Step<'py> {
    Key(Bound<'py, PyAny>),
    Index(usize),
}

enum Fault {
    Type(String),
    Value(String),
    Python(PyErr),
}

impl Trail<'_> {
    fn into_error(self, text: String) -> PyErr {
        let path = self.steps.into_inner().iter().fold("payload".to_owned(), |path, step| match step {
            Step::Key(key) => format!("{path}[{}]", key.repr().map_or_else(|_| "?".into(), |key| key.to_string())),
            Step::Index(index) => format!("{path}[{index}]"),
        });
        match self.fault.into_inner() {
            Some(Fault::Type(why)) => PyTypeError::new_err(format!("{path} {why}")),
            Some(Fault::Value(why)) => PyValueError::new_err(format!("{path} {why}")),
            Some(Fault::Python(error)) => error,
            None => PyValueError::new_err(text),
        }
    }

    fn stop<E: Error>(&self, fault: Fault) -> E {
        self.fault.replace(Some(fault));
        E::custom("payload")
    }
}

struct Node<'a, 'py> {
    value: &'a Bound<'py, PyAny>,
    trail: &'a Trail<'py>,
    depth: usize,
}

impl<'py> Node<'_, 'py> {
    fn same<'b>(&'b self, value: &'b Bound<'py, PyAny>) -> Node<'b, 'py> {
        Node { value, trail: self.trail, depth: self.depth }
    }

    fn child<'b>(&'b self, value: &'b Bound<'py, PyAny>) -> Node<'b, 'py> {
        Node { value, trail: self.trail, depth: self.depth + 1 }
    }

    fn check<T, E: Error>(&self, result: PyResult<T>) -> Result<T, E> {
        result.map_err(|error| self.trail.stop(Fault::Python(error)))
    }

    fn text<S: Serializer>(&self, text: PyResult<Bound<'py, PyString>>, s: S) -> Result<S::Ok, S::Error> {
        let text = self.check(text)?;
        match text.to_str() {
            Ok(text) => s.serialize_str(text),
            Err(_) => Err(self.trail.stop(Fault::Value("has a lone surrogate, which is no Unicode text".into()))),
        }
    }

    fn integer<S: Serializer>(&self, number: &Bound<'py, PyInt>, s: S) -> Result<S::Ok, S::Error> {
        if let Ok(number) = number.extract::<i64>() {
            return s.serialize_i64(number);
        }
        if let Ok(number) = number.extract::<u64>() {
            return s.serialize_u64(number);
        }
        let plain = number.py().get_type::<PyInt>().call1((number,));
        self.text(plain.and_then(|plain| plain.str()), s)
    }

    fn bytes<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let plain = self.check(self.value.py().get_type::<PyBytes>().call1((self.value,)))?;
        let bytes = self.check(plain.cast::<PyBytes>().map_err(PyErr::from))?.as_bytes();
        if s.is_human_readable() { s.serialize_str(&hex(bytes)) } else { s.serialize_bytes(bytes) }
    }

    fn map<S: Serializer>(&self, map: &Bound<'py, PyDict>, s: S) -> Result<S::Ok, S::Error> {
        self.check_depth()?;
        // A snapshot: `isoformat` or `__str__` of a value may run Python code that changes the dict.
        let entries = map.items();
        let mut out = s.serialize_map(Some(entries.len()))?;
        for entry in entries.iter() {
            let (key, value) = self.check(entry.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>())?;
            self.trail.steps.borrow_mut().push(Step::Key(key.clone()));
            let key = self.key(key)?;
            out.serialize_entry(&self.child(&key), &self.child(&value))?;
            self.trail.steps.borrow_mut().pop();
        }
        out.end()
    }

    fn key<E: Error>(&self, key: Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>, E> {
        if key.is_instance_of::<PyString>() {
            return Ok(key);
        }
        let known = self.check(Known::get(key.py()))?;
        if self.check(known.is_enum(&key))? {
            let value = self.check(key.getattr("value"))?;
            return self.key(value);
        }
        let plain_int = key.is_instance_of::<PyInt>() && !key.is_instance_of::<PyBool>();
        if plain_int || self.check(key.is_instance(known.uuid.bind(key.py())))? {
            return Ok(self.check(key.str())?.into_any());
        }
        let why = format!("has a key of type {}: use str or int", type_name(&key));
        Err(self.trail.stop(Fault::Type(why)))
    }

    fn list<S: Serializer>(&self, items: &Bound<'py, PyTuple>, s: S) -> Result<S::Ok, S::Error> {
        self.check_depth()?;
        let mut out = s.serialize_seq(Some(items.len()))?;
        for (index, item) in items.iter().enumerate() {
            self.trail.steps.borrow_mut().push(Step::Index(index));
            out.serialize_element(&self.child(&item))?;
            self.trail.steps.borrow_mut().pop();
        }
        out.end()
    }

    fn check_depth<E: Error>(&self) -> Result<(), E> {
        let limit = Limits::default().max_depth;
        if self.depth < limit {
            return Ok(());
        }
        self.trail.steps.borrow_mut().clear();
        Err(self.trail.stop(Fault::Value(format!("nests deeper than {limit}, or contains itself"))))
    }

    fn other<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let (py, value) = (self.value.py(), self.value);
        let known = self.check(Known::get(py))?;
        if self.check(known.is_enum(value))? {
            return self.same(&self.check(value.getattr("value"))?).serialize(s);
        }
        if self.check(value.is_instance(known.date.bind(py)))? || self.check(value.is_instance(known.time.bind(py)))? {
            return self.text(value.call_method0("isoformat").and_then(|text| text.str()), s);
        }
        if self.check(value.is_instance(known.decimal.bind(py)))?
            || self.check(value.is_instance(known.uuid.bind(py)))?
        {
            return self.text(value.str(), s);
        }
        let why = format!("is of type {}, which has no form in JSON", type_name(value));
        Err(self.trail.stop(Fault::Type(why)))
    }
}

impl Serialize for Node<'_, '_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let value = self.value;
        if value.is_none() {
            s.serialize_unit()
        } else if let Ok(text) = value.cast::<PyString>() {
            self.text(Ok(text.clone()), s)
        } else if let Ok(flag) = value.cast::<PyBool>() {
            s.serialize_bool(flag.is_true())
        } else if let Ok(number) = value.cast::<PyInt>() {
            self.integer(number, s)
        } else if let Ok(number) = value.cast::<PyFloat>() {
            match number.value() {
                number if number.is_finite() => s.serialize_f64(number),
                number => Err(self.trail.stop(Fault::Value(format!("is {number}, which JSON cannot hold")))),
            }
        } else if let Ok(map) = value.cast::<PyDict>() {
            self.map(map, s)
        } else if let Ok(list) = value.cast::<PyList>() {
            self.list(&list.to_tuple(), s)
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            self.list(tuple, s)
        } else if value.is_instance_of::<PyBytes>()
            || value.is_instance_of::<PyByteArray>()
            || value.is_instance_of::<PyMemoryView>()
        {
            self.bytes(s)
        } else {
            self.other(s)
        }
    }
}

/// Types of the standard library that have a documented form.
struct Known {
    base_enum: Py<PyType>,
    date: Py<PyType>,
    time: Py<PyType>,
    decimal: Py<PyType>,
    uuid: Py<PyType>,
}

impl Known {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        static KNOWN: PyOnceLock<Known> = PyOnceLock::new();
        let class = |module: &str, name: &str| -> PyResult<Py<PyType>> {
            Ok(py.import(module)?.getattr(name)?.cast_into::<PyType>()?.unbind())
        };
        KNOWN.get_or_try_init(py, || {
            Ok(Self {
                base_enum: class("enum", "Enum")?,
                date: class("datetime", "date")?,
                time: class("datetime", "time")?,
                decimal: class("decimal", "Decimal")?,
                uuid: class("uuid", "UUID")?,
            })
        })
    }

    fn is_enum(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        value.is_instance(self.base_enum.bind(value.py()))
    }
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().fully_qualified_name().map_or_else(|_| "unknown".into(), |name| name.to_string())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
