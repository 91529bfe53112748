//! What a benchmark is called, in the three parts of criterion's ids, and back.
//!
//! | part | is | example |
//! |---|---|---|
//! | group | the operation | `attention-causal` |
//! | function | engine, precision and threads | `engine=simd,precision=bf16,threads=2` |
//! | value | the sizes | `heads=12,head_dim=64,queries=1,keys=4096` |
//!
//! Criterion makes a folder of each part, cut at 64 bytes, with some characters replaced: no id of ours is touched by that.

use crossover_core::dtype::Precision;

use crate::list::{Case, OPERATIONS};

/// Which benchmark it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Id {
    /// What is called.
    pub case: Case,
    /// The engine's name.
    pub engine: String,
    /// In what it computes.
    pub precision: Precision,
    /// On how many threads.
    pub threads: usize,
}

impl Id {
    /// Engine, precision and threads.
    pub fn function(&self) -> String {
        format!("engine={},precision={},threads={}", self.engine, self.precision, self.threads)
    }

    /// The sizes.
    pub fn value(&self) -> String {
        let sizes = self.case.operation.axes.iter().zip(self.case.shape).map(|(axis, size)| format!("{axis}={size}"));
        sizes.collect::<Vec<_>>().join(",")
    }

    /// From its parts; nothing where they are no id of the list: the benchmark is somebody else's, or of another list.
    pub fn parse(group: &str, function: &str, value: &str) -> Option<Self> {
        let operation = OPERATIONS.iter().find(|operation| operation.name == group)?;
        let mut parts = function.split(',');
        let mut next = |key: &str| parts.next()?.strip_prefix(key)?.strip_prefix('=');
        let (engine, precision, threads) = (next("engine")?.to_owned(), next("precision")?.parse().ok()?, next("threads")?.parse().ok()?);
        let ids = operation.cases().map(|case| Self { case, engine: engine.clone(), precision, threads });
        // Written back: so nothing that merely looks like one is taken for one.
        ids.into_iter().find(|id| id.threads > 0 && !id.engine.is_empty() && id.value() == value && id.function() == function)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::list::Operation;
    use crossover_core::dtype::PRECISION_PRESETS;

    #[test]
    fn every_id_is_read_back_and_has_a_folder_of_its_own() {
        let mut folders = BTreeSet::new();
        for case in OPERATIONS.iter().flat_map(Operation::cases) {
            for (_, precision) in PRECISION_PRESETS {
                for (engine, threads) in [("naive", 1), ("candle-cuda", 128)] {
                    let id = Id { case, engine: engine.into(), precision, threads };
                    let (group, function, value) = (case.operation.name, id.function(), id.value());
                    assert_eq!(Id::parse(group, &function, &value), Some(id));
                    assert!([group, &function, &value].iter().all(|part| part.len() <= 64), "{function} {value}");
                    let is_kept = |part: &str| !part.contains(|c: char| r#"?"/\*<>:|^"#.contains(c));
                    assert!([group, &function, &value].into_iter().all(is_kept), "{function} {value}");
                    assert!(folders.insert((group, function, value)));
                }
            }
        }
    }

    #[test]
    fn what_is_not_of_the_list_is_nobodys_id() {
        let (function, value) = ("engine=simd,precision=f32,threads=1", "m=128,n=128,k=128");
        assert!(Id::parse("matmul", function, value).is_some());
        for (group, function, value) in [
            ("matmull", function, value),
            ("matmul", function, "m=128,n=128,k=129"),
            ("matmul", function, "m=128,k=128,n=128"),
            ("matmul", function, "m=128,n=128"),
            ("matmul", "engine=simd,precision=f33,threads=1", value),
            ("matmul", "engine=simd,precision=f32,threads=0", value),
            ("matmul", "engine=simd,precision=f32,threads=01", value),
            ("matmul", "engine=simd,precision=f32,threads=1,isa=avx2", value),
            ("matmul", "engine=,precision=f32,threads=1", value),
            ("matmul", "precision=f32,engine=simd,threads=1", value),
            ("matmul", "", ""),
            ("fib 20", "recursive", "20"),
        ] {
            assert_eq!(Id::parse(group, function, value), None, "{group}/{function}/{value}");
        }
    }
}
