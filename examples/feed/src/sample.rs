//! What is published ten times a second: rates, made from two readings of the counters.

use serde::Serialize;

use crate::counters::{Counters, CpuTime, Flow};

/// Most interfaces or devices in a message: those that carried most since boot.
const MOST_FLOWS: usize = 8;

/// One moment of everything.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) network: Network,
    pub(crate) disk: Disk,
}

/// Payload of `cpu`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cpu {
    pub(crate) at: u64,
    /// Percent of all cores together.
    pub(crate) total: f64,
    /// Percent of each core.
    pub(crate) cores: Vec<f64>,
}

/// Payload of `memory`, in bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Memory {
    pub(crate) at: u64,
    pub(crate) total: u64,
    pub(crate) used: u64,
    pub(crate) swap_total: u64,
    pub(crate) swap_used: u64,
}

/// Payload of `network`, in bytes per second.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Network {
    pub(crate) at: u64,
    /// All interfaces but the loopback.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) interfaces: Vec<Interface>,
}

/// One network interface.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Payload of `disk`, in bytes per second.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Disk {
    pub(crate) at: u64,
    /// All devices together.
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) devices: Vec<Device>,
}

/// One block device.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// Bytes per second through one interface or device.
struct Rate {
    name: String,
    inward: u64,
    outward: u64,
}

impl Sample {
    /// What happened between two readings; `at` is Unix milliseconds.
    pub(crate) fn between(before: &Counters, after: &Counters, at: u64) -> Self {
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let interfaces = rates(&before.interfaces, &after.interfaces, seconds);
        let devices = rates(&before.devices, &after.devices, seconds);
        let outer = || interfaces.iter().filter(|rate| rate.name != "lo");
        let memory = after.memory;
        Self {
            cpu: Cpu {
                at,
                total: percent(before.cpu, after.cpu),
                cores: before.cores.iter().zip(&after.cores).map(|(before, after)| percent(*before, *after)).collect(),
            },
            memory: Memory {
                at,
                total: memory.total,
                used: memory.total.saturating_sub(memory.available),
                swap_total: memory.swap_total,
                swap_used: memory.swap_total.saturating_sub(memory.swap_free),
            },
            network: Network {
                at,
                received: outer().map(|rate| rate.inward).sum(),
                sent: outer().map(|rate| rate.outward).sum(),
                interfaces: interfaces
                    .iter()
                    .map(|rate| Interface { name: rate.name.clone(), received: rate.inward, sent: rate.outward })
                    .collect(),
            },
            disk: Disk {
                at,
                read: devices.iter().map(|rate| rate.inward).sum(),
                written: devices.iter().map(|rate| rate.outward).sum(),
                devices: devices
                    .into_iter()
                    .map(|rate| Device { name: rate.name, read: rate.inward, written: rate.outward })
                    .collect(),
            },
        }
    }
}

impl Network {
    pub(crate) fn find(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }
}

impl Disk {
    pub(crate) fn find(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }
}

/// Busy share in percent, with one decimal.
fn percent(before: CpuTime, after: CpuTime) -> f64 {
    let total = after.total.saturating_sub(before.total);
    if total == 0 {
        return 0.0;
    }
    let busy = after.busy.saturating_sub(before.busy).min(total);
    (busy as f64 / total as f64 * 1000.0).round() / 10.0
}

/// Rates of the flows that ever carried anything, in the order of the kernel's list.
fn rates(before: &[Flow], after: &[Flow], seconds: f64) -> Vec<Rate> {
    let mut busiest: Vec<&Flow> = after.iter().filter(|flow| flow.inward + flow.outward > 0).collect();
    busiest.sort_by_key(|flow| std::cmp::Reverse(flow.inward.saturating_add(flow.outward)));
    busiest.truncate(MOST_FLOWS);
    let chosen = after.iter().filter(|flow| busiest.iter().any(|busy| busy.name == flow.name));
    chosen
        .map(|flow| {
            let earlier = before.iter().find(|earlier| earlier.name == flow.name).unwrap_or(flow);
            // A counter that fell back belongs to a device that was plugged in again.
            let per_second = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds).round() as u64;
            Rate {
                name: flow.name.clone(),
                inward: per_second(flow.inward, earlier.inward),
                outward: per_second(flow.outward, earlier.outward),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(name: &str, inward: u64, outward: u64) -> Flow {
        Flow { name: name.into(), inward, outward }
    }

    #[test]
    fn rates_are_per_second_and_a_restarted_counter_is_no_flood() {
        let before = [flow("eth0", 100, 1000), flow("idle", 0, 0)];
        let after = [flow("eth0", 200, 10), flow("idle", 0, 0), flow("new", 50, 50)];
        let rates = rates(&before, &after, 0.5);
        let text: Vec<_> = rates.iter().map(|rate| (rate.name.as_str(), rate.inward, rate.outward)).collect();
        assert_eq!(text, [("eth0", 200, 0), ("new", 0, 0)]);
    }

    #[test]
    fn percentages_lie_between_0_and_100() {
        let at = |busy, total| CpuTime { busy, total };
        assert_eq!(percent(at(0, 0), at(1, 3)), 33.3);
        assert_eq!(percent(at(5, 5), at(5, 5)), 0.0);
        assert_eq!(percent(at(5, 9), at(4, 10)), 0.0);
    }
}
