//! The machine a run was made on, as far as the system tells.
//!
//! Everything is read from `/proc` and `/sys`; what is not there (another system, a virtual machine) is absent, never guessed.
//! The host's name is left out on purpose: results are made to be shared.

use std::fs;
use std::path::Path;

use crossover_core::memory::kibibytes;
use serde::{Deserialize, Serialize};

const GIB: u64 = 1 << 30;

/// What is known of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Hash of processor model, logical cores and memory rounded to GiB (16 hex digits): the same after a reboot or an update.
    pub fingerprint: String,
    /// Processor model.
    pub cpu_model: Option<String>,
    /// Logical cores that are online. Absent where the machine is not known. Since version 6; a number before.
    pub logical_cores: Option<u64>,
    /// Logical cores that this process may use (affinity, quota). Likewise.
    pub usable_cores: Option<u64>,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Caches of the first core.
    pub caches: Vec<Cache>,
    /// Frequency governor of the first core.
    pub governor: Option<String>,
    /// Whether the processor may exceed its base frequency.
    pub turbo: Option<bool>,
}

/// One cache, as the first core sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// 1 is the nearest.
    pub level: u8,
    /// `data`, `instruction` or `unified`.
    pub kind: String,
    /// Its size.
    pub bytes: u64,
}

impl Machine {
    /// The fingerprint of machines of which nothing is known.
    pub const UNKNOWN: &str = "unknown";

    /// One of which nothing is known: figures brought from elsewhere do not say where they were measured.
    pub fn unknown() -> Self {
        Self {
            fingerprint: Self::UNKNOWN.to_owned(),
            cpu_model: None,
            logical_cores: None,
            usable_cores: None,
            memory_bytes: None,
            kernel: None,
            caches: Vec::new(),
            governor: None,
            turbo: None,
        }
    }

    /// Its cores in words: `2 of 4 cores`.
    pub fn cores(&self) -> String {
        let told = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        format!("{} of {} cores", told(self.usable_cores), told(self.logical_cores))
    }

    /// Looks at this machine.
    pub fn detect() -> Self {
        Self::detect_under(Path::new("/"))
    }

    fn detect_under(root: &Path) -> Self {
        let cpuinfo = read(root, "proc/cpuinfo").unwrap_or_default();
        let usable_cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let listed = cpuinfo.lines().filter(|line| key_of(line) == Some("processor")).count() as u64;
        let logical_cores = if listed > 0 { listed } else { usable_cores };
        let cpu_model = ["model name", "Model", "Hardware", "cpu", "CPU part"].iter().find_map(|key| value_of(&cpuinfo, key));
        let memory_bytes = read(root, "proc/meminfo").and_then(|text| kibibytes(&text, "MemTotal"));
        Self {
            fingerprint: fingerprint(cpu_model.as_deref(), logical_cores, memory_bytes),
            cpu_model,
            logical_cores: Some(logical_cores),
            usable_cores: Some(usable_cores),
            memory_bytes,
            kernel: read(root, "proc/sys/kernel/osrelease"),
            caches: caches(&root.join("sys/devices/system/cpu/cpu0/cache")),
            governor: read(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            turbo: turbo(root),
        }
    }
}

fn read(root: &Path, path: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(path)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn key_of(line: &str) -> Option<&str> {
    line.split_once(':').map(|(key, _)| key.trim())
}

/// The first value of a `key : value` listing.
fn value_of(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| key_of(line) == Some(key))?;
    let value = line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" ");
    (!value.is_empty()).then_some(value)
}

fn caches(folder: &Path) -> Vec<Cache> {
    // Ten levels are more than any processor has; the first missing one ends the list.
    (0..10).map_while(|index| cache(&folder.join(format!("index{index}")))).collect()
}

fn cache(folder: &Path) -> Option<Cache> {
    let size = read(folder, "size")?;
    let (digits, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
    let scale = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        _ => return None,
    };
    Some(Cache {
        level: read(folder, "level")?.parse().ok()?,
        kind: read(folder, "type")?.to_ascii_lowercase(),
        bytes: digits.parse::<u64>().ok()?.checked_mul(scale)?,
    })
}

fn turbo(root: &Path) -> Option<bool> {
    if let Some(off) = read(root, "sys/devices/system/cpu/intel_pstate/no_turbo") {
        return Some(off == "0");
    }
    read(root, "sys/devices/system/cpu/cpufreq/boost").map(|on| on == "1")
}

fn fingerprint(cpu_model: Option<&str>, cores: u64, memory_bytes: Option<u64>) -> String {
    // A kernel update changes the memory it reports by some pages: rounded, it stays.
    let gib = memory_bytes.map(|bytes| bytes.saturating_add(GIB / 2) / GIB);
    let text = format!("{}\n{cores}\n{}", cpu_model.unwrap_or("?"), gib.map_or_else(|| "?".to_owned(), |gib| gib.to_string()));
    format!("{:016x}", fnv1a(text.as_bytes()))
}

/// FNV-1a in 64 bits: enough to tell machines apart, and fixed for all time.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use crossover_core::testing::put;

    use super::*;

    #[test]
    fn the_hash_agrees_with_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn reads_what_the_system_tells() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        put(root, "proc/cpuinfo", "processor\t: 0\nmodel name\t: Some  CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: Some CPU @ 2 GHz\n");
        put(root, "proc/meminfo", "MemTotal:       16303400 kB\nMemFree: 1 kB\n");
        put(root, "proc/sys/kernel/osrelease", "6.1.0\n");
        for (index, level, kind, size) in [(0, "1", "Data", "32K"), (1, "1", "Instruction", "32K"), (2, "3", "Unified", "16M")] {
            let folder = format!("sys/devices/system/cpu/cpu0/cache/index{index}");
            put(root, &format!("{folder}/level"), level);
            put(root, &format!("{folder}/type"), kind);
            put(root, &format!("{folder}/size"), size);
        }
        put(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
        put(root, "sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
        let machine = Machine::detect_under(root);
        assert_eq!(machine.cpu_model.as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!((machine.logical_cores, machine.memory_bytes), (Some(2), Some(16_303_400 * 1024)));
        assert_eq!(machine.kernel.as_deref(), Some("6.1.0"));
        assert_eq!(machine.caches[2], Cache { level: 3, kind: "unified".into(), bytes: 16 << 20 });
        assert_eq!((machine.governor.as_deref(), machine.turbo), (Some("performance"), Some(false)));
        // A little less memory, as after a kernel update, is the same machine; one core less is not.
        put(root, "proc/meminfo", "MemTotal:       16303000 kB\n");
        assert_eq!(Machine::detect_under(root).fingerprint, machine.fingerprint);
        put(root, "proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n");
        assert_ne!(Machine::detect_under(root).fingerprint, machine.fingerprint);
    }

    #[test]
    fn an_unknown_machine_is_like_no_other_and_has_no_figures() {
        let machine = Machine::unknown();
        assert_ne!(machine.fingerprint, Machine::detect().fingerprint);
        assert_eq!((machine.logical_cores, machine.usable_cores, machine.memory_bytes), (None, None, None));
        assert_eq!(machine.cores(), "? of ? cores");
        assert_eq!(Machine { logical_cores: Some(4), usable_cores: Some(2), ..machine }.cores(), "2 of 4 cores");
    }

    #[test]
    fn what_the_system_does_not_tell_is_absent() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::detect_under(root.path());
        assert_eq!((&machine.cpu_model, machine.memory_bytes, machine.turbo), (&None, None, None));
        assert!(machine.logical_cores >= Some(1) && machine.caches.is_empty());
        put(root.path(), "proc/meminfo", "MemTotal: 99999999999999999999 kB\n");
        put(root.path(), "sys/devices/system/cpu/cpu0/cache/index0/size", "48 parsecs");
        assert_eq!(Machine::detect_under(root.path()), machine);
    }
}
