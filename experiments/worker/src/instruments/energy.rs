//! Energy from RAPL, as Linux shows it in the powercap tree: what the processor's packages and their memory took.
//!
//! A package counts for everything that runs on it, so the figure is that of the calls only where nothing else runs. The counters move
//! about every millisecond: a batch of samples is long enough, a single short call is not. Since 2020 kernels let only root read them.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel shows the domains.
const TREE: &str = "sys/class/powercap";

/// The domains that add up to a machine, or why there are none.
pub struct Energy {
    domains: Result<Vec<Domain>, String>,
}

/// One counter, in microjoules.
struct Domain {
    counter: PathBuf,
    /// The counter's largest value: after it comes zero.
    range: u64,
}

impl Energy {
    /// Looks for the tree below `root`.
    pub fn under(root: &Path) -> Self {
        Self { domains: domains(&root.join(TREE)) }
    }

    /// Why there is no figure, where there is none.
    pub fn absent(&self) -> Option<String> {
        self.domains.as_ref().err().cloned()
    }

    /// All counters now.
    pub fn read(&self) -> Option<Vec<u64>> {
        self.domains.as_ref().ok()?.iter().map(|domain| number(&domain.counter).ok()).collect()
    }

    /// Microjoules since an earlier reading. A counter that started anew in between did so once: the range lasts for minutes.
    pub fn since(&self, before: &[u64]) -> Option<u64> {
        let (domains, now) = (self.domains.as_ref().ok()?, self.read()?);
        let spent = domains.iter().zip(before).zip(&now).map(|((domain, before), now)| match now.checked_sub(*before) {
            Some(spent) => spent,
            None => domain.range.saturating_sub(*before).saturating_add(*now),
        });
        Some(spent.fold(0, u64::saturating_add))
    }
}

fn domains(tree: &Path) -> Result<Vec<Domain>, String> {
    let entries = fs::read_dir(tree).map_err(|_| "this machine has no powercap tree".to_owned())?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| adds_up(path)).collect();
    folders.sort();
    if folders.is_empty() {
        return Err("the powercap tree has no domain of RAPL".to_owned());
    }
    folders.iter().map(|folder| domain(folder)).collect()
}

fn domain(folder: &Path) -> Result<Domain, String> {
    let read = |file: &str| number(&folder.join(file)).map_err(|error| format!("{file} of RAPL cannot be read: {error}"));
    // Tried once, so that a counter that only root may read is known from the start.
    read("energy_uj")?;
    Ok(Domain { counter: folder.join("energy_uj"), range: read("max_energy_range_uj")? })
}

/// Packages, and memory, which is in no package. Cores and graphics are part of their package; `psys` holds all of it, and
/// `intel-rapl-mmio` shows the same packages again.
fn adds_up(folder: &Path) -> bool {
    let is_rapl = folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("intel-rapl:"));
    let name = fs::read_to_string(folder.join("name")).unwrap_or_default();
    is_rapl && (name.starts_with("package") || name.trim() == "dram")
}

fn number(path: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.trim().parse().map_err(|_| format!("{:?} is no number", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, domain: &str, name: &str, counter: &str, range: &str) {
        let folder = root.join(TREE).join(domain);
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in [("name", name), ("energy_uj", counter), ("max_energy_range_uj", range)] {
            fs::write(folder.join(file), format!("{text}\n")).unwrap();
        }
    }

    #[test]
    fn packages_and_memory_add_up_and_their_parts_do_not_count_twice() {
        let root = tempfile::tempdir().unwrap();
        let all = |counter: &str| {
            for (domain, name) in [
                ("intel-rapl:0", "package-0"),
                ("intel-rapl:0:0", "core"),
                ("intel-rapl:0:1", "dram"),
                ("intel-rapl:1", "package-1"),
                ("intel-rapl:2", "psys"),
                ("intel-rapl-mmio:0", "package-0"),
            ] {
                put(root.path(), domain, name, counter, "262143328850");
            }
        };
        all("1000");
        let energy = Energy::under(root.path());
        assert_eq!(energy.absent(), None);
        let before = energy.read().unwrap();
        all("1250");
        assert_eq!(energy.since(&before), Some(3 * 250));
    }

    #[test]
    fn a_counter_that_starts_anew_is_followed() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "intel-rapl:0", "package-0", "990", "1000");
        let energy = Energy::under(root.path());
        let before = energy.read().unwrap();
        put(root.path(), "intel-rapl:0", "package-0", "25", "1000");
        assert_eq!(energy.since(&before), Some(35));
    }

    #[test]
    fn what_cannot_be_read_is_absent_and_says_why() {
        let root = tempfile::tempdir().unwrap();
        assert!(Energy::under(root.path()).absent().unwrap().contains("no powercap tree"));
        fs::create_dir_all(root.path().join(TREE)).unwrap();
        assert!(Energy::under(root.path()).absent().unwrap().contains("no domain"));
        put(root.path(), "intel-rapl:0", "package-0", "lots", "1000");
        assert!(Energy::under(root.path()).absent().unwrap().contains("\"lots\" is no number"));
        put(root.path(), "intel-rapl:0", "package-0", "5", "1000");
        let energy = Energy::under(root.path());
        let before = energy.read().unwrap();
        // A counter that is taken away in the middle of a run gives no figure rather than half of one.
        fs::remove_file(root.path().join(TREE).join("intel-rapl:0/energy_uj")).unwrap();
        assert_eq!(energy.since(&before), None);
    }
}
