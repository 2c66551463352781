//! One instance alone: publications go straight to its hub.

use std::sync::Arc;

use wse_client_core::{error::Code, time::Moment};

use super::Bus;
use crate::{
    hub::{Hub, Publication},
    metrics::Metrics,
};

/// The bus of a server that is alone.
#[derive(Debug)]
pub(crate) struct MemoryBus {
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
}

impl MemoryBus {
    /// What its only subscription is called in metrics: everything.
    pub(crate) const PATTERN: &str = "*";

    pub(crate) const fn new(hub: Arc<Hub>, metrics: Arc<Metrics>) -> Self {
        Self { hub, metrics }
    }
}

impl Bus for MemoryBus {
    fn publish(&self, publication: Arc<Publication>, now: Moment) -> Result<usize, Code> {
        self.metrics.bus_received();
        self.hub.deliver(publication, now).inspect_err(|code| self.metrics.bus_refused(Self::PATTERN, *code))
    }
}
