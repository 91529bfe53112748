//! Which axes state the problem, and the order of rows that follows: one problem's cells stand together, its baseline first.

use polars::prelude::*;

use crate::columns::{RUN, THREADS, axis_columns};

/// The axes of a set of cells, told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AxisRoles {
    /// The same in all cells of every group: they state the problem.
    pub(crate) problem: Vec<String>,
    /// The others: parameters of a variant, or ways to run it.
    pub(crate) parameters: Vec<String>,
}

/// Tells the axes apart by looking at the groups.
pub(crate) fn axis_roles(cells: &LazyFrame) -> PolarsResult<AxisRoles> {
    let axes = axis_columns(&*cells.clone().collect_schema()?);
    if axes.is_empty() {
        return Ok(AxisRoles { problem: axes, parameters: Vec::new() });
    }
    let in_group: Vec<Expr> = axes.iter().map(|axis| col(axis.as_str()).n_unique()).collect();
    let most: Vec<Expr> = axes.iter().map(|axis| col(axis.as_str()).max().cast(DataType::Int64)).collect();
    let most = cells.clone().group_by([col(RUN), col("machine"), col("group")]).agg(in_group).select(most).collect()?;
    let mut roles = AxisRoles { problem: Vec::new(), parameters: Vec::new() };
    for axis in axes {
        let varies = most.column(&axis)?.i64()?.get(0).is_some_and(|values| values > 1);
        if varies { roles.parameters.push(axis) } else { roles.problem.push(axis) }
    }
    Ok(roles)
}

/// Sorts for tables: family, machine, threads, run, problem, baseline first, variant, engine, parameters, and at last the id.
pub(crate) fn sorted(frame: LazyFrame, roles: &AxisRoles) -> LazyFrame {
    let has = |axis: &&str| roles.problem.iter().chain(&roles.parameters).any(|known| known == axis);
    let mut keys = vec![col("family"), col("machine")];
    keys.extend([THREADS].iter().filter(|axis| has(axis)).map(|axis| col(*axis)));
    keys.push(col(RUN));
    keys.extend(roles.problem.iter().map(|axis| col(axis.as_str())));
    keys.extend([col("group"), col("baseline").not(), col("variant"), col("engine")]);
    keys.extend(roles.parameters.iter().map(|axis| col(axis.as_str())));
    keys.push(col("id"));
    frame.sort_by_exprs(keys, SortMultipleOptions::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;

    fn cells() -> DataFrame {
        df!(
            "run" => [0i64, 0, 0, 0], "machine" => ["m"; 4], "group" => ["big", "big", "small", "small"],
            "family" => ["attention"; 4], "variant" => ["a", "b", "b", "a"], "engine" => ["e"; 4],
            "baseline" => [false, true, true, false], "id" => ["1", "2", "3", "4"],
            "axis:n" => [1024i64, 1024, 128, 128], "axis:rank" => [Some(8i64), None, None, Some(8)],
        )
        .unwrap()
    }

    #[test]
    fn what_varies_within_a_group_is_a_parameter() {
        let roles = axis_roles(&cells().lazy()).unwrap();
        assert_eq!(roles, AxisRoles { problem: vec!["axis:n".into()], parameters: vec!["axis:rank".into()] });
    }

    #[test]
    fn problems_stand_together_and_baselines_first_in_any_order() {
        let ids = |frame: DataFrame| {
            let roles = axis_roles(&frame.clone().lazy()).unwrap();
            let sorted = sorted(frame.lazy(), &roles).collect().unwrap();
            sorted.texts("id").unwrap().iter().flatten().collect::<String>()
        };
        assert_eq!(ids(cells()), "3421");
        assert_eq!(ids(cells().reverse()), "3421");
    }
}
