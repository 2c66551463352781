//! One instance alone: publications go straight to its hub.

use std::sync::Arc;

use wse_client_core::{error::Code, time::Moment};

use super::Bus;
use crate::hub::{Hub, Publication};

/// The bus of a server that is alone.
#[derive(Debug)]
pub(crate) struct MemoryBus {
    hub: Arc<Hub>,
}

impl MemoryBus {
    pub(crate) const fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }
}

impl Bus for MemoryBus {
    fn publish(&self, publication: Arc<Publication>, now: Moment) -> Result<usize, Code> {
        self.hub.deliver(publication, now)
    }
}
