//! The last minute, in columns, for whoever joins late.

use std::collections::VecDeque;

use serde::Serialize;

use crate::sample::Sample;

/// The last samples, oldest first.
pub(crate) struct History {
    samples: VecDeque<Sample>,
    capacity: usize,
}

/// Payload of `cpu_snapshot`; every column is as long as `at`.
#[derive(Serialize)]
pub(crate) struct CpuSnapshot {
    at: Vec<u64>,
    total: Vec<f64>,
    cores: Vec<Vec<Option<f64>>>,
}

/// Payload of `memory_snapshot`.
#[derive(Serialize)]
pub(crate) struct MemorySnapshot {
    at: Vec<u64>,
    /// Of the whole machine at present; no column.
    total: u64,
    swap_total: u64,
    used: Vec<u64>,
    swap_used: Vec<u64>,
}

/// Payload of `network_snapshot`.
#[derive(Serialize)]
pub(crate) struct NetworkSnapshot {
    at: Vec<u64>,
    received: Vec<u64>,
    sent: Vec<u64>,
    interfaces: Vec<InterfaceColumns>,
}

/// One interface; `null` where it was not there.
#[derive(Serialize)]
struct InterfaceColumns {
    name: String,
    received: Vec<Option<u64>>,
    sent: Vec<Option<u64>>,
}

/// Payload of `disk_snapshot`.
#[derive(Serialize)]
pub(crate) struct DiskSnapshot {
    at: Vec<u64>,
    read: Vec<u64>,
    written: Vec<u64>,
    devices: Vec<DeviceColumns>,
}

/// One device; `null` where it was not there.
#[derive(Serialize)]
struct DeviceColumns {
    name: String,
    read: Vec<Option<u64>>,
    written: Vec<Option<u64>>,
}

impl History {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { samples: VecDeque::with_capacity(capacity), capacity }
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        if self.samples.len() == self.capacity {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// All samples as one column.
    fn column<T>(&self, value: impl Fn(&Sample) -> T) -> Vec<T> {
        self.samples.iter().map(value).collect()
    }

    pub(crate) fn cpu(&self) -> CpuSnapshot {
        let cores = self.samples.back().map_or(0, |last| last.cpu.cores.len());
        CpuSnapshot {
            at: self.column(|sample| sample.cpu.at),
            total: self.column(|sample| sample.cpu.total),
            cores: (0..cores).map(|core| self.column(|sample| sample.cpu.cores.get(core).copied())).collect(),
        }
    }

    pub(crate) fn memory(&self) -> MemorySnapshot {
        let last = self.samples.back().map(|last| &last.memory);
        MemorySnapshot {
            at: self.column(|sample| sample.memory.at),
            total: last.map_or(0, |last| last.total),
            swap_total: last.map_or(0, |last| last.swap_total),
            used: self.column(|sample| sample.memory.used),
            swap_used: self.column(|sample| sample.memory.swap_used),
        }
    }

    pub(crate) fn network(&self) -> NetworkSnapshot {
        let names = self.samples.back().map_or(&[][..], |last| &last.network.interfaces);
        let columns = |name: &str| InterfaceColumns {
            name: name.to_owned(),
            received: self.column(|sample| sample.network.find(name).map(|found| found.received)),
            sent: self.column(|sample| sample.network.find(name).map(|found| found.sent)),
        };
        NetworkSnapshot {
            at: self.column(|sample| sample.network.at),
            received: self.column(|sample| sample.network.received),
            sent: self.column(|sample| sample.network.sent),
            interfaces: names.iter().map(|interface| columns(&interface.name)).collect(),
        }
    }

    pub(crate) fn disk(&self) -> DiskSnapshot {
        let names = self.samples.back().map_or(&[][..], |last| &last.disk.devices);
        let columns = |name: &str| DeviceColumns {
            name: name.to_owned(),
            read: self.column(|sample| sample.disk.find(name).map(|found| found.read)),
            written: self.column(|sample| sample.disk.find(name).map(|found| found.written)),
        };
        DiskSnapshot {
            at: self.column(|sample| sample.disk.at),
            read: self.column(|sample| sample.disk.read),
            written: self.column(|sample| sample.disk.written),
            devices: names.iter().map(|device| columns(&device.name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sample::{Cpu, Disk, Interface, Memory, Network};

    use super::*;

    fn sample(at: u64, interfaces: &[&str]) -> Sample {
        let interface = |name: &&str| Interface { name: (*name).to_owned(), received: at, sent: 0 };
        Sample {
            cpu: Cpu { at, total: 1.0, cores: vec![1.0] },
            memory: Memory { at, total: 9, used: at, swap_total: 0, swap_used: 0 },
            network: Network { at, received: at, sent: 0, interfaces: interfaces.iter().map(interface).collect() },
            disk: Disk { at, read: 0, written: 0, devices: vec![] },
        }
    }

    #[test]
    fn columns_hold_the_last_samples_and_gaps_are_null() {
        let mut history = History::new(2);
        history.push(sample(1, &["a"]));
        history.push(sample(2, &["a"]));
        history.push(sample(3, &["a", "b"]));
        assert_eq!(
            serde_json::to_string(&history.network()).unwrap(),
            r#"{"at":[2,3],"received":[2,3],"sent":[0,0],"interfaces":[{"name":"a","received":[2,3],"sent":[0,0]},{"name":"b","received":[null,3],"sent":[null,0]}]}"#
        );
        let memory = r#"{"at":[2,3],"total":9,"swap_total":0,"used":[2,3],"swap_used":[0,0]}"#;
        assert_eq!(serde_json::to_string(&history.memory()).unwrap(), memory);
        assert_eq!(
            serde_json::to_string(&history.cpu()).unwrap(),
            r#"{"at":[2,3],"total":[1.0,1.0],"cores":[[1.0,1.0]]}"#
        );
    }

    #[test]
    fn an_empty_history_is_a_valid_snapshot() {
        let history = History::new(2);
        let disk = r#"{"at":[],"read":[],"written":[],"devices":[]}"#;
        assert_eq!(serde_json::to_string(&history.disk()).unwrap(), disk);
    }
}
