//! The names of cells and groups: hashes of a canonical text, so that the same cell has the same id in every run and on every
//! machine, and a resumed run knows what it has.

use std::fmt::Write;

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::isa::IsaChoice;
use crossover_variants::descriptor::{CACHE, COMMON_AXES, Descriptor, WARM};

/// Axes that are left out of ids at this value. They came when there were runs already and every cell has them: so ids stay what they were
/// where the axis changes nothing. Other axes that came later are in the id whatever their value, and made new ids of the cells that have
/// them: those are measured again.
pub const SILENT: [(&str, &str); 2] = [("isa", IsaChoice::Auto.name()), (CACHE, WARM)];

/// The id of a cell with resolved axes: the first 16 hex digits of the BLAKE3 hash over `variant\nengine\nname=value\n...`, axes
/// sorted by name, without those of [`SILENT`] at the value given there.
pub fn cell_id(variant: &str, engine: &str, axes: &Axes) -> String {
    hex(cell_hash(&mut String::new(), variant, engine, axes))
}

/// The id of the group of a cell with resolved axes: the same over its task, problem axes and common axes.
pub fn group_id(descriptor: &Descriptor, axes: &Axes) -> String {
    let mut names: Vec<&str> = descriptor.problem.iter().chain(COMMON_AXES).map(|axis| axis.name).collect();
    names.sort_unstable();
    hex(group_hash(&mut String::new(), descriptor.task, &names, axes))
}

/// The first 64 bits of the hash; `text` is a buffer to write in.
pub(super) fn cell_hash(text: &mut String, variant: &str, engine: &str, axes: &Axes) -> u64 {
    text.clear();
    text.extend([variant, "\n", engine, "\n"]);
    axes.iter().for_each(|(name, value)| write_axis(text, name, value));
    hash(text)
}

/// Likewise; `names` are sorted.
pub(super) fn group_hash(text: &mut String, task: &str, names: &[&str], axes: &Axes) -> u64 {
    text.clear();
    text.extend([task, "\n"]);
    names.iter().filter_map(|name| Some((name, axes.get(*name)?))).for_each(|(name, value)| write_axis(text, name, value));
    hash(text)
}

/// As cells and groups spell it.
pub(super) fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}

fn write_axis(text: &mut String, name: &str, value: &AxisValue) {
    if SILENT.iter().any(|(silent, default)| *silent == name && value.as_text() == Some(*default)) {
        return;
    }
    text.push_str(name);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "={value}");
}

fn hash(text: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_variants::registry;

    #[test]
    fn the_id_is_the_hash_of_the_documented_text() {
        let axes = Axes::from([("n".to_owned(), AxisValue::Int(8)), ("eps".to_owned(), AxisValue::Float(1.0))]);
        let text = "norm/layer-norm\nnaive\neps=1.0\nn=8\n";
        assert_eq!(cell_id("norm/layer-norm", "naive", &axes), &blake3::hash(text.as_bytes()).to_hex()[..16]);
    }

    #[test]
    fn only_a_forced_instruction_set_or_a_cold_cache_makes_another_cell() {
        let with = |axis: &str, value: &str| Axes::from([(axis.to_owned(), AxisValue::from(value))]);
        for (axis, silent, other) in [("isa", "auto", "avx2"), ("cache", "warm", "cold")] {
            assert_eq!(cell_id("a", "b", &with(axis, silent)), cell_id("a", "b", &Axes::new()));
            assert_ne!(cell_id("a", "b", &with(axis, other)), cell_id("a", "b", &Axes::new()));
            let group = |value: &str| group_id(registry::find("linear/dense").unwrap().descriptor, &with(axis, value));
            assert_ne!(group(silent), group(other));
        }
    }

    #[test]
    fn one_and_one_point_zero_are_two_cells() {
        let with = |value| Axes::from([("eps".to_owned(), value)]);
        assert_ne!(cell_id("a", "b", &with(AxisValue::Int(1))), cell_id("a", "b", &with(AxisValue::Float(1.0))));
    }
}
