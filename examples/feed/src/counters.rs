//! The kernel's counters, as they stand at one moment. Source: proc(5).

use std::{fs, io, path::Path, time::Instant};

use anyhow::Context as _;

/// Bytes in one sector of `/proc/diskstats`, whatever the device's own sector size.
const SECTOR: u64 = 512;

/// Everything that is read in one go.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    pub(crate) at: Instant,
    /// All cores together.
    pub(crate) cpu: CpuTime,
    pub(crate) cores: Vec<CpuTime>,
    pub(crate) memory: Memory,
    pub(crate) interfaces: Vec<Flow>,
    pub(crate) devices: Vec<Flow>,
}

/// Clock ticks since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) busy: u64,
    pub(crate) total: u64,
}

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) available: u64,
    pub(crate) swap_total: u64,
    pub(crate) swap_free: u64,
}

/// Bytes since boot through an interface (received, sent) or a device (read, written).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) name: String,
    pub(crate) inward: u64,
    pub(crate) outward: u64,
}

impl Counters {
    /// Reads `/proc`. Takes well under a millisecond.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let at = Instant::now();
        let (cpu, cores) = parse_stat(&read("/proc/stat")?).context("/proc/stat has no cpu line")?;
        Ok(Self {
            at,
            cpu,
            cores,
            memory: parse_meminfo(&read("/proc/meminfo")?),
            interfaces: parse_net_dev(&read("/proc/net/dev")?),
            devices: parse_diskstats(&read_optional("/proc/diskstats")?, is_whole_device),
        })
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}: this feed needs Linux"))
}

/// Some containers have no block devices at all.
fn read_optional(path: &str) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("cannot read {path}")),
    }
}

/// Not a partition, and not a layer over other devices that would count their bytes again.
fn is_whole_device(name: &str) -> bool {
    let layered = ["loop", "ram", "zram", "dm-", "md"].iter().any(|prefix| name.starts_with(prefix));
    !layered && Path::new("/sys/block").join(name).exists()
}

fn parse_stat(text: &str) -> Option<(CpuTime, Vec<CpuTime>)> {
    let mut lines = text.lines().filter(|line| line.starts_with("cpu")).map(parse_cpu);
    let all = lines.next()?;
    Some((all, lines.collect()))
}

/// `cpu0 user nice system idle iowait irq softirq steal guest guest_nice`; guest time is in user already.
fn parse_cpu(line: &str) -> CpuTime {
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).map(|field| field.parse().unwrap_or(0)).collect();
    let total = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    CpuTime { busy: total - idle, total }
}

fn parse_meminfo(text: &str) -> Memory {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0) * 1024
    };
    Memory {
        total: bytes("MemTotal"),
        available: bytes("MemAvailable"),
        swap_total: bytes("SwapTotal"),
        swap_free: bytes("SwapFree"),
    }
}

/// `name: received-bytes (7 more) sent-bytes …`
fn parse_net_dev(text: &str) -> Vec<Flow> {
    text.lines()
        .filter_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            let numbers: Vec<&str> = numbers.split_whitespace().collect();
            let (inward, outward) = (numbers.first()?.parse().ok()?, numbers.get(8)?.parse().ok()?);
            Some(Flow { name: name.trim().to_owned(), inward, outward })
        })
        .collect()
}

/// `major minor name reads merged sectors-read ms writes merged sectors-written …`
fn parse_diskstats(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Flow> {
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = *fields.get(2)?;
            let (read, written): (u64, u64) = (fields.get(5)?.parse().ok()?, fields.get(9)?.parse().ok()?);
            wanted(name).then(|| Flow { name: name.to_owned(), inward: read * SECTOR, outward: written * SECTOR })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_lines_are_told_apart_and_idle_is_not_busy() {
        let text = "cpu  10 0 20 60 10 0 0 0 5 0\ncpu0 10 0 20 60 10 0 0 0 5 0\nintr 1 2\n";
        let (all, cores) = parse_stat(text).unwrap();
        assert_eq!(all, CpuTime { busy: 30, total: 100 });
        assert_eq!(cores, [all]);
        assert!(parse_stat("intr 1").is_none());
    }

    #[test]
    fn memory_is_in_bytes() {
        let memory = parse_meminfo("MemTotal:  100 kB\nMemAvailable:   40 kB\nSwapTotal: 8 kB\n");
        assert_eq!(memory, Memory { total: 102_400, available: 40_960, swap_total: 8192, swap_free: 0 });
    }

    #[test]
    fn interfaces_and_devices_give_bytes_in_and_out() {
        let interfaces = parse_net_dev("Inter-| x\n face |bytes\n  eth0: 7 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n");
        assert_eq!(interfaces, [Flow { name: "eth0".into(), inward: 7, outward: 9 }]);
        let text = " 8 0 sda 1 0 10 0 1 0 20 0 0 0 0\n 8 1 sda1 1 0 10 0 1 0 20 0 0 0 0\nbroken\n";
        let devices = parse_diskstats(text, |name| name == "sda");
        assert_eq!(devices, [Flow { name: "sda".into(), inward: 5120, outward: 10_240 }]);
    }

    #[test]
    fn this_machine_can_be_read() {
        let counters = Counters::read().unwrap();
        assert!(counters.memory.total > 0 && !counters.cores.is_empty());
    }
}
