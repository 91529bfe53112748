//! In which order groups are run.
//!
//! Usually in the file's. Where time is limited, spread over the plan: what there was time for is then an even part of it and not its
//! beginning. The walk over a plan is repeated with another offset each time, offsets in bit-reversed order (0, 32, 16, 48, ..), so that
//! the groups run so far lie about equally far apart at any moment.

use crate::plan::{Group, Plan};

/// Walks over the plan: the more, the finer the spread, and a walk costs a microsecond or so a cell.
const PASSES: usize = 64;

/// All groups of the plan, each once.
pub(super) fn groups(plan: &Plan, spread: bool) -> Box<dyn Iterator<Item = Group> + '_> {
    if !spread {
        return Box::new(plan.groups());
    }
    Box::new(offsets().flat_map(|offset| plan.groups().skip(offset).step_by(PASSES)))
}

fn offsets() -> impl Iterator<Item = usize> {
    (0..PASSES).map(|number| number.reverse_bits() >> (usize::BITS - PASSES.ilog2()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::definition;
    use crate::plan::Selection;

    fn lengths(groups: impl Iterator<Item = Group>) -> Vec<i64> {
        groups.map(|group| group.cells[0].axes["n"].as_int().unwrap()).collect()
    }

    #[test]
    fn a_spread_run_is_even_wherever_it_ends() {
        let text = "name = 'x'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['naive']\naxes = { n = 'steps(1..100, 1)' }";
        let plan = Plan::new(&definition::parse(Path::new("x.toml"), text).unwrap(), &["naive".to_owned()], Selection::default()).unwrap();
        let (straight, spread) = (lengths(groups(&plan, false)), lengths(groups(&plan, true)));
        let mut sorted = spread.clone();
        sorted.sort_unstable();
        assert_eq!((sorted, straight.len()), (straight, 100));
        assert_eq!(spread[..6], [1, 65, 33, 97, 17, 81]);
        for part in [10, 25, 50] {
            let mut first = [&spread[..part], &[0, 101]].concat();
            first.sort_unstable();
            let widest = first.array_windows().map(|[one, next]| next - one).max().unwrap();
            assert!(widest <= 3 * 100 / part as i64, "{part}: a gap of {widest}");
        }
    }
}
