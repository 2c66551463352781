//! What the iterator yields.

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyString, PyTuple},
};
use wse_client::{Category, DropReason, Event, LostRange, Message, Notice, Priority};

use crate::value;

/// A message from the server, or a notice of the client. See `_core.pyi`.
#[pyclass(frozen, name = "WSEEvent", module = "wse_client")]
pub(crate) struct WseEvent {
    source: Source,
    /// Made when it is first asked for.
    payload: PyOnceLock<Py<PyAny>>,
}

enum Source {
    Message(Message),
    /// A message of the server with a known meaning.
    Notice(Notice),
    /// Messages that will never come.
    Lost {
        topic: Option<String>,
        count: Option<u64>,
        range: Option<LostRange>,
    },
    /// A message of the program that will not be sent.
    Dropped {
        id: String,
        priority: Priority,
        reason: DropReason,
    },
}

impl WseEvent {
    /// The event as Python sees it; `None` for news that other calls tell (state, outcomes, latency).
    pub(crate) fn from_engine(event: Event) -> Option<Self> {
        let source = match event {
            Event::Message(message) => Source::Message(message),
            Event::Notice(notice) => Source::Notice(notice),
            Event::ServerError(error) => Source::Message(error.source),
            Event::Lost { topic, count, range } => Source::Lost { topic, count, range },
            Event::Dropped { id, priority, reason } => Source::Dropped { id, priority, reason },
            _ => return None,
        };
        Some(Self { source, payload: PyOnceLock::new() })
    }

    fn message(&self) -> Option<&Message> {
        match &self.source {
            Source::Message(message) | Source::Notice(Notice { source: message, .. }) => Some(message),
            Source::Lost { .. } | Source::Dropped { .. } => None,
        }
    }

    fn kind(&self) -> &str {
        match &self.source {
            Source::Message(message) | Source::Notice(Notice { source: message, .. }) => message.kind(),
            Source::Lost { .. } => "lost",
            Source::Dropped { .. } => "dropped",
        }
    }

    fn topic_name(&self) -> Option<&str> {
        match &self.source {
            Source::Message(message) | Source::Notice(Notice { source: message, .. }) => message.topic(),
            Source::Lost { topic, .. } => topic.as_deref(),
            Source::Dropped { .. } => None,
        }
    }
}

impl From<Message> for WseEvent {
    fn from(message: Message) -> Self {
        Self { source: Source::Message(message), payload: PyOnceLock::new() }
    }
}

#[pymethods]
impl WseEvent {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["type", "payload"])
    }

    #[getter]
    fn r#type<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        value::cached_str(py, self.kind())
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let made = self.payload.get_or_try_init(py, || match &self.source {
            Source::Message(message) | Source::Notice(Notice { source: message, .. }) => {
                value::to_python(py, message.payload()).map(Bound::unbind)
            }
            Source::Lost { topic, count, range } => {
                let notice = PyDict::new(py);
                notice.set_item("topic", topic)?;
                notice.set_item("count", count)?;
                if let Some(range) = range {
                    notice.set_item("epoch", &range.epoch)?;
                    notice.set_item("from", range.from)?;
                    notice.set_item("to", range.to)?;
                }
                Ok(notice.into_any().unbind())
            }
            Source::Dropped { id, priority, reason } => {
                let notice = PyDict::new(py);
                notice.set_item("id", id)?;
                notice.set_item("priority", priority.as_number())?;
                notice.set_item("reason", reason.as_str())?;
                Ok(notice.into_any().unbind())
            }
        })?;
        Ok(made.bind(py).clone())
    }

    #[getter]
    fn payload_json(&self, py: Python<'_>) -> PyResult<String> {
        match &self.source {
            Source::Message(message) | Source::Notice(Notice { source: message, .. }) => {
                Ok(message.payload().to_json().into_owned())
            }
            Source::Lost { .. } | Source::Dropped { .. } => {
                let json = py.import("json")?;
                json.call_method1("dumps", (self.payload(py)?,))?.extract()
            }
        }
    }

    #[getter]
    fn notice<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        match &self.source {
            Source::Notice(notice) => Some(value::cached_str(py, notice.kind.as_str())),
            Source::Message(_) | Source::Lost { .. } | Source::Dropped { .. } => None,
        }
    }

    #[getter]
    fn presence<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.source {
            Source::Notice(notice) if notice.kind.is_presence() => self.payload(py).map(Some),
            Source::Notice(_) | Source::Message(_) | Source::Lost { .. } | Source::Dropped { .. } => Ok(None),
        }
    }

    #[getter]
    fn id(&self) -> Option<&str> {
        self.message()?.id()
    }

    #[getter]
    fn sequence(&self) -> Option<u64> {
        self.message()?.sequence()
    }

    #[getter]
    fn timestamp(&self) -> Option<&str> {
        self.message()?.timestamp()
    }

    #[getter]
    fn category<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        let category = self.message().map_or(Some(Category::System), Message::category)?;
        Some(value::cached_str(py, category.as_str()))
    }

    #[getter]
    fn topic<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.topic_name().map(|name| value::cached_str(py, name))
    }

    #[getter]
    fn correlation_id(&self) -> Option<&str> {
        self.message()?.correlation_id()
    }

    #[getter]
    fn traceparent(&self) -> Option<&str> {
        self.message()?.traceparent()
    }

    #[getter]
    fn priority(&self) -> Option<u8> {
        Some(self.message()?.priority()?.as_number())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = format!("WSEEvent(type={:?}", self.kind());
        if let Some(topic) = self.topic_name() {
            text += &format!(", topic={topic:?}");
        }
        Ok(text + &format!(", payload={})", self.payload(py)?.repr()?))
    }
}
