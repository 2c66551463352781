//! Where tokens come from when the application wants to be asked.

use std::{fmt::Display, future::Future, pin::Pin, sync::Arc};

use tokio::task::JoinHandle;
use wse_client_core::security::Secret;

type Answer = Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send>>;

/// The application's token provider. The argument says that the last token was refused.
#[derive(Clone)]
pub(crate) struct TokenProvider(Arc<dyn Fn(bool) -> Answer + Send + Sync>);

impl TokenProvider {
    pub(crate) fn new<F, Fut, E>(provider: F) -> Self
    where
        F: Fn(bool) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<String>, E>> + Send + 'static,
        E: Display,
    {
        Self(Arc::new(move |renew| {
            let answer = provider(renew);
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        }))
    }

    /// Asks on a task of its own: a provider that blocks or panics must not take the driver with it.
    pub(crate) fn ask(&self, renew: bool) -> TokenRequest {
        let provider = Arc::clone(&self.0);
        TokenRequest(tokio::spawn(async move { provider(renew).await }))
    }
}

/// One call of the provider under way; dropping it cancels the call.
pub(crate) struct TokenRequest(JoinHandle<Result<Option<String>, String>>);

impl TokenRequest {
    pub(crate) async fn answer(&mut self) -> Result<Option<Secret>, String> {
        match (&mut self.0).await {
            Ok(answer) => answer.map(|token| token.map(Secret::from)),
            Err(_) => Err("the token provider panicked".into()),
        }
    }
}

impl Drop for TokenRequest {
    fn drop(&mut self) {
        self.0.abort();
    }
}
