//! What the engine's threads have for the event loop, until the loop comes for it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use pyo3::{IntoPyObjectExt, prelude::*, types::PyDict};
use tokio::sync::oneshot;
use wse_client::{Message, ServerError, SubscriptionOutcome};

use crate::{doorbell::Doorbell, error::Parts, event::WseEvent};

/// Results of operations and calls of the token provider. Bounded by the callers: each waits for its own.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) doorbell: Doorbell,
    items: Mutex<Vec<(u64, Item)>>,
    tokens: Mutex<BTreeMap<u64, oneshot::Sender<Token>>>,
    last_token: AtomicU64,
}

/// A token, none, or why there is none, in the program's words.
pub(crate) type Token = Result<Option<String>, String>;

/// What an operation came to.
pub(crate) enum Done {
    Nothing,
    Sent(String),
    Topics(SubscriptionOutcome),
    Answered(Box<Message>),
    /// The server's refusal of a request.
    Refused(Box<ServerError>),
}

enum Item {
    Done(Result<Done, Parts>),
    /// The program is asked for a token.
    Token {
        renew: bool,
    },
}

impl Inbox {
    pub(crate) fn complete(&self, operation: u64, result: Result<Done, Parts>) {
        self.put(operation, Item::Done(result));
    }

    /// Asks the program for a token and waits for the answer.
    pub(crate) async fn ask_token(self: Arc<Self>, renew: bool) -> Token {
        let answer = self.request_token(renew);
        answer.await.unwrap_or_else(|_| Err("the token provider was cancelled".into()))
    }

    fn request_token(&self, renew: bool) -> oneshot::Receiver<Token> {
        let (sender, answer) = oneshot::channel();
        let request = self.last_token.fetch_add(1, Ordering::Relaxed);
        let mut tokens = lock(&self.tokens);
        // The engine stops waiting after its timeout.
        tokens.retain(|_, waiting| !waiting.is_closed());
        tokens.insert(request, sender);
        drop(tokens);
        self.put(request, Item::Token { renew });
        answer
    }

    pub(crate) fn answer_token(&self, request: u64, token: Token) {
        let waiting = lock(&self.tokens).remove(&request);
        if let Some(waiting) = waiting {
            // It may have stopped waiting.
            let _ = waiting.send(token);
        }
    }

    fn put(&self, id: u64, item: Item) {
        lock(&self.items).push((id, item));
        self.doorbell.ring();
    }

    /// Everything since the last call, as `(id, kind, value)`.
    pub(crate) fn take<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u64, &'static str, Bound<'py, PyAny>)>> {
        self.doorbell.answered();
        let items = std::mem::take(&mut *lock(&self.items));
        items.into_iter().map(|(id, item)| item.into_python(py).map(|(kind, value)| (id, kind, value))).collect()
    }
}

impl Item {
    fn into_python(self, py: Python<'_>) -> PyResult<(&'static str, Bound<'_, PyAny>)> {
        Ok(match self {
            Self::Token { renew } => ("token", renew.into_bound_py_any(py)?),
            Self::Done(Err(parts)) => ("error", parts.into_bound_py_any(py)?),
            Self::Done(Ok(Done::Nothing)) => ("ok", py.None().into_bound(py)),
            Self::Done(Ok(Done::Sent(id))) => ("ok", id.into_bound_py_any(py)?),
            Self::Done(Ok(Done::Topics(outcome))) => {
                let refused = PyDict::new(py);
                for (topic, why) in outcome.refused {
                    refused.set_item(topic, why)?;
                }
                let present = PyDict::new(py);
                for (topic, users) in outcome.present {
                    present.set_item(topic, users)?;
                }
                ("ok", (outcome.accepted, refused, outcome.confirmed, present).into_bound_py_any(py)?)
            }
            Self::Done(Ok(Done::Answered(message))) => ("ok", WseEvent::from(*message).into_bound_py_any(py)?),
            Self::Done(Ok(Done::Refused(error))) => {
                ("refused", (error.code, error.message, error.recoverable).into_bound_py_any(py)?)
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
