//! One client for Python. Every method returns at once; results go into the [`Inbox`].

use std::{
    mem, process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pyo3::{
    exceptions::PyOSError,
    prelude::*,
    types::{PyBytes, PyDict},
};
use tokio::runtime::Runtime;
use wse_client::{
    Client, Code, ConnectError, ConnectionState, NetworkHint, Outgoing, Priority, Request, RequestError,
    RequestOutcome, Secret, SubscribeError, SubscribeOptions, SubscriptionOutcome,
};
use wse_client_core::{config::Credentials, wire::PayloadEncoding};

use crate::{
    config::{self, Settings},
    error::{self, Parts},
    event::WseEvent,
    inbox::{Done, Inbox},
    runtime, value,
};

/// See `_core.pyi`.
#[pyclass(frozen, module = "wse_client._core")]
pub(crate) struct Core {
    settings: Settings,
    provider: bool,
    inbox: Arc<Inbox>,
    stage: Arc<Mutex<Stage>>,
    /// What `set_token` was given, for the next start: with a provider it counts for one attempt, else from then on.
    token: Mutex<Option<Option<Secret>>>,
    /// The process that made it: a forked child has none of its threads.
    process: u32,
}

enum Stage {
    /// Not started, or the start failed.
    Idle,
    Running(Arc<Client>),
    Closed,
}

#[pymethods]
impl Core {
    #[new]
    fn new(url: &Bound<'_, PyAny>, settings: &Bound<'_, PyDict>, provider: bool) -> PyResult<Self> {
        Ok(Self {
            settings: Settings::new(url, settings, provider)?,
            provider,
            inbox: Arc::default(),
            stage: Arc::new(Mutex::new(Stage::Idle)),
            token: Mutex::default(),
            process: process::id(),
        })
    }

    fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        if self.process == process::id() {
            return Ok(());
        }
        Err(error::usage(py, "this client belongs to the process that this one was forked from: make one here"))
    }

    fn doorbell(&self) -> PyResult<Option<i64>> {
        self.inbox.doorbell.by_socket().map_err(|error| PyOSError::new_err(error.to_string()))
    }

    fn ring_by(&self, soon: Py<PyAny>, callback: Py<PyAny>) {
        self.inbox.doorbell.by_call(soon, callback);
    }

    fn connect(&self, py: Python<'_>, operation: u64) -> PyResult<()> {
        let runtime = runtime::get(py)?;
        let (client, topics) = self.start(py, &runtime)?;
        let (inbox, stage) = (Arc::clone(&self.inbox), Arc::clone(&self.stage));
        let (limit, give_up_after) = (self.settings.connect_timeout, self.give_up_after());
        runtime.spawn(async move {
            let mut result = connected(&client, limit, give_up_after).await;
            if result.is_ok() && !topics.is_empty() {
                result = topics_done(client.subscribe(&topics).await);
            }
            if result.is_err() {
                // As before the call: it may be made again.
                let mut stage = lock(&stage);
                if matches!(&*stage, Stage::Running(running) if Arc::ptr_eq(running, &client)) {
                    *stage = Stage::Idle;
                }
            }
            inbox.complete(operation, result);
        });
        Ok(())
    }

    fn reconnect(&self, py: Python<'_>, operation: u64) -> PyResult<()> {
        let Some(client) = self.running() else { return self.connect(py, operation) };
        let inbox = Arc::clone(&self.inbox);
        let (limit, give_up_after) = (self.settings.connect_timeout, self.give_up_after());
        client.reconnect();
        runtime::get(py)?.spawn(async move {
            let result = connected(&client, limit, give_up_after).await;
            inbox.complete(operation, result);
        });
        Ok(())
    }

    fn close(&self, py: Python<'_>, operation: u64) -> PyResult<()> {
        let inbox = Arc::clone(&self.inbox);
        let Some(client) = self.running() else {
            inbox.complete(operation, Ok(Done::Nothing));
            return Ok(());
        };
        runtime::get(py)?.spawn(async move {
            client.close().await;
            inbox.complete(operation, Ok(Done::Nothing));
        });
        Ok(())
    }

    fn seal(&self) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Idle) {
            // A client that ran is kept: what it received can still be read.
            *stage = Stage::Closed;
        }
    }

    fn abandon(&self) {
        if self.process == process::id() {
            let before = mem::replace(&mut *self.stage(), Stage::Closed);
            drop(before);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the members of a message")]
    fn try_send(
        &self,
        py: Python<'_>,
        r#type: String,
        payload: &Bound<'_, PyAny>,
        topic: Option<String>,
        id: Option<String>,
        correlation_id: Option<String>,
        priority: Option<i64>,
    ) -> PyResult<Option<String>> {
        let message = self.outgoing(r#type, payload, topic, id, correlation_id, priority)?;
        let client = self.running().ok_or_else(|| self.not_connected(py))?;
        // Python waits by `send` then, so a full buffer is no refusal.
        client.send_now(message).map_err(|fault| error::new(py, fault.code(), &fault.to_string()))
    }

    #[expect(clippy::too_many_arguments, reason = "the members of a message")]
    fn send(
        &self,
        py: Python<'_>,
        operation: u64,
        r#type: String,
        payload: &Bound<'_, PyAny>,
        topic: Option<String>,
        id: Option<String>,
        correlation_id: Option<String>,
        priority: Option<i64>,
    ) -> PyResult<()> {
        let message = self.outgoing(r#type, payload, topic, id, correlation_id, priority)?;
        let client = self.running().ok_or_else(|| self.not_connected(py))?;
        let inbox = Arc::clone(&self.inbox);
        runtime::get(py)?.spawn(async move {
            let result = client.send(message).await;
            inbox.complete(
                operation,
                result.map(Done::Sent).map_err(|fault| error::parts(fault.code(), fault.to_string())),
            );
        });
        Ok(())
    }

    fn subscribe(
        &self,
        py: Python<'_>,
        operation: u64,
        topics: Vec<String>,
        presence: Option<&Bound<'_, PyAny>>,
        group: Option<String>,
    ) -> PyResult<()> {
        let presence = presence.map(|told| value::to_payload(told, PayloadEncoding::Json)).transpose()?;
        let options = SubscribeOptions { presence, group };
        let client = self.running().ok_or_else(|| self.not_connected(py))?;
        let inbox = Arc::clone(&self.inbox);
        runtime::get(py)?.spawn(async move {
            inbox.complete(operation, topics_done(client.subscribe_with(&topics, &options).await));
        });
        Ok(())
    }

    fn unsubscribe(&self, py: Python<'_>, operation: u64, topics: Vec<String>) -> PyResult<()> {
        let client = self.running().ok_or_else(|| self.not_connected(py))?;
        let inbox = Arc::clone(&self.inbox);
        runtime::get(py)?.spawn(async move {
            inbox.complete(operation, topics_done(client.unsubscribe(&topics).await));
        });
        Ok(())
    }

    fn request(&self, py: Python<'_>, operation: u64, r#type: String, payload: &Bound<'_, PyAny>) -> PyResult<()> {
        // A question is a control message, which is JSON in every encoding.
        let payload = value::to_payload(payload, PayloadEncoding::Json)?;
        let question = Request::Named { kind: r#type, payload };
        let client = self.running().ok_or_else(|| self.not_connected(py))?;
        let inbox = Arc::clone(&self.inbox);
        runtime::get(py)?.spawn(async move {
            inbox.complete(operation, answered(client.request(&question).await));
        });
        Ok(())
    }

    fn set_token(&self, token: Option<String>) {
        let token = token.map(Secret::new);
        let running = self.running();
        if running.is_none() || !self.provider {
            *lock(&self.token) = Some(token.clone());
        }
        if let Some(client) = running {
            client.set_token(token);
        }
    }

    fn network_hint(&self, py: Python<'_>, hint: &str) -> PyResult<()> {
        let hint = NetworkHint::named(hint).map_err(|fault| config::config_error(py, &fault))?;
        if let Some(client) = self.running() {
            client.network_hint(hint);
        }
        Ok(())
    }

    fn set_channel_token(&self, py: Python<'_>, topic: &str, token: Option<String>) -> PyResult<()> {
        let client = self.running().ok_or_else(|| self.not_connected(py))?;
        client.set_channel_token(topic, token).map_err(|fault| error::new(py, fault.code(), &fault.to_string()))
    }

    fn rotate_keys(&self, py: Python<'_>) -> PyResult<()> {
        let client = self.running().ok_or_else(|| self.not_connected(py))?;
        client.rotate_keys().map_err(|fault| error::new(py, fault.code(), &fault.to_string()))
    }

    fn recording<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.running().and_then(|client| client.recording()).map(|file| PyBytes::new(py, &file))
    }

    fn answer_token(&self, request: u64, token: Option<String>, error: Option<String>) {
        self.inbox.answer_token(request, error.map_or(Ok(token), Err));
    }

    fn completions<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u64, &'static str, Bound<'py, PyAny>)>> {
        self.inbox.take(py)
    }

    fn drain(&self, limit: usize) -> Vec<WseEvent> {
        let Some(client) = self.running() else { return Vec::new() };
        let (mut raw, mut events) = (Vec::new(), Vec::new());
        // News that Python has other ways to see may fill a whole batch.
        while events.is_empty() && client.try_drain(limit, &mut raw) > 0 {
            events.extend(raw.drain(..).filter_map(WseEvent::from_engine));
        }
        events
    }

    fn arm(&self) -> bool {
        self.running().is_some_and(|client| client.arm())
    }

    fn failure(&self) -> Option<Parts> {
        match &*self.stage() {
            Stage::Idle => {
                Some(error::parts(Code::NotConnected, "not connected: use `async with`, or await connect()"))
            }
            Stage::Running(client) if client.is_ended() && client.state() == ConnectionState::Failed => {
                let last = client.last_disconnect()?;
                Some(error::parts(last.code, last.detail))
            }
            Stage::Running(_) | Stage::Closed => None,
        }
    }

    fn finished(&self) -> bool {
        match &*self.stage() {
            Stage::Idle => false,
            Stage::Running(client) => client.is_ended(),
            Stage::Closed => true,
        }
    }

    fn is_open(&self) -> bool {
        self.process == process::id() && self.running().is_some_and(|client| client.state() != ConnectionState::Closed)
    }

    fn state(&self) -> &'static str {
        match &*self.stage() {
            Stage::Idle => ConnectionState::Idle,
            Stage::Running(client) => client.state(),
            Stage::Closed => ConnectionState::Closed,
        }
        .as_str()
    }

    fn server<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(info) = self.running().and_then(|client| client.server()) else { return Ok(None) };
        let server = PyDict::new(py);
        server.set_item("connection_id", info.connection_id)?;
        server.set_item("user_id", info.user_id)?;
        server.set_item("server_version", info.server_version)?;
        server.set_item("encrypted", info.encrypted)?;
        server.set_item("endpoint", info.endpoint)?;
        Ok(Some(server))
    }

    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        value::from_figures(py, &self.running().map(|client| client.metrics()).unwrap_or_default())
    }

    fn diagnostics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        value::from_figures(py, &self.running().map(|client| client.diagnostics()).unwrap_or_default())
    }
}

impl Core {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        lock(&self.stage)
    }

    fn running(&self) -> Option<Arc<Client>> {
        match &*self.stage() {
            Stage::Running(client) => Some(Arc::clone(client)),
            Stage::Idle | Stage::Closed => None,
        }
    }

    /// The client, started if it is not, and the topics that it has to ask for first.
    fn start(&self, py: Python<'_>, runtime: &Runtime) -> PyResult<(Arc<Client>, Vec<String>)> {
        // No Python code runs in here, so the interpreter cannot change hands between the look and the change.
        let is_idle = match &*self.stage() {
            Stage::Running(client) => return Ok((Arc::clone(client), Vec::new())),
            Stage::Closed => false,
            Stage::Idle => true,
        };
        if !is_idle {
            return Err(error::new(py, Code::ConnectionClosed, "this client is closed: make a new one"));
        }
        let mut config = self.settings.config.clone();
        if !self.provider
            && let Some(token) = &*lock(&self.token)
        {
            config.credentials = token.clone().map_or(Credentials::None, Credentials::Token);
        }
        let mut builder = Client::builder("").configure(|empty| *empty = config).event_buffer(self.settings.queue_size);
        if let Some(file) = &self.settings.record {
            builder = builder.record_to(file);
        }
        if self.provider {
            let inbox = Arc::clone(&self.inbox);
            builder = builder.token_provider(move |renew| Arc::clone(&inbox).ask_token(renew));
        }
        let client = builder.start_on(runtime.handle()).map_err(|fault| config::config_error(py, &fault))?;
        let inbox = Arc::clone(&self.inbox);
        client.set_waker(Some(Box::new(move || inbox.doorbell.ring())));
        if self.provider
            && let Some(token) = lock(&self.token).take()
        {
            client.set_token(token);
        }
        let client = Arc::new(client);
        *self.stage() = Stage::Running(Arc::clone(&client));
        Ok((client, self.settings.topics.clone()))
    }

    /// Failed attempts in a row that end a `connect()`, when the reason is one that time will not heal. A token
    /// provider may have a better token the next time.
    fn give_up_after(&self) -> Option<u32> {
        (!self.provider).then(|| u32::try_from(self.settings.config.endpoints.len()).unwrap_or(u32::MAX))
    }

    fn not_connected(&self, py: Python<'_>) -> PyErr {
        let is_closed = matches!(&*self.stage(), Stage::Closed);
        if is_closed {
            error::new(py, Code::ConnectionClosed, "this client is closed")
        } else {
            error::new(py, Code::NotConnected, "not connected (state idle)")
        }
    }

    fn outgoing(
        &self,
        kind: String,
        payload: &Bound<'_, PyAny>,
        topic: Option<String>,
        id: Option<String>,
        correlation_id: Option<String>,
        priority: Option<i64>,
    ) -> PyResult<Outgoing> {
        let payload = value::to_payload(payload, self.settings.payloads)?;
        let priority = priority.map_or_else(Priority::default, Priority::from_number);
        Ok(Outgoing { kind, payload, topic, id, correlation_id, priority, traceparent: None })
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.process != process::id() {
            // Its locks may be held by threads that do not exist here.
            mem::forget(Arc::clone(&self.stage));
            mem::forget(Arc::clone(&self.inbox));
        }
    }
}

async fn connected(client: &Client, limit: Duration, give_up_after: Option<u32>) -> Result<Done, Parts> {
    match tokio::time::timeout(limit, client.wait_connected(give_up_after)).await {
        Ok(Ok(())) => Ok(Done::Nothing),
        Ok(Err(ConnectError::Failed(last))) => Err(error::parts(last.code, last.detail)),
        Ok(Err(fault)) => Err(error::parts(fault.code(), fault.to_string())),
        Err(_) => {
            let fault = ConnectError::Timeout { after: limit, last: client.last_disconnect() };
            Err(error::parts(fault.code(), fault.to_string()))
        }
    }
}

fn topics_done(result: Result<SubscriptionOutcome, SubscribeError>) -> Result<Done, Parts> {
    result.map(Done::Topics).map_err(|fault| error::parts(fault.code(), fault.to_string()))
}

fn answered(result: Result<RequestOutcome, RequestError>) -> Result<Done, Parts> {
    match result {
        Ok(RequestOutcome::Answered(message)) => Ok(Done::Answered(Box::new(message))),
        Ok(RequestOutcome::Refused(error)) => Ok(Done::Refused(Box::new(error))),
        Ok(RequestOutcome::TimedOut) => Err(error::parts(Code::Timeout, "the server did not answer in time")),
        // What a later version may add is no answer either.
        Ok(_) => Err(error::parts(Code::ConnectionClosed, "the connection ended before the answer came")),
        Err(fault) => Err(error::parts(fault.code(), fault.to_string())),
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
