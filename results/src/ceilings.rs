//! Ceilings that were measured more than once: the highest figure counts, as other work on the machine can only lower one.

use serde_json::{Map, Value};

/// One set for each number of threads, of each figure the highest. `None` where there are no sets.
pub fn joined<'a>(sets: impl IntoIterator<Item = &'a Value>) -> Option<Value> {
    let mut joined: Vec<Value> = Vec::new();
    for set in sets {
        match joined.iter_mut().find(|known| known.get("threads") == set.get("threads")) {
            Some(known) => *known = higher(known, set),
            None => joined.push(set.clone()),
        }
    }
    (!joined.is_empty()).then_some(Value::Array(joined))
}

/// The higher of any two numbers in the same place; everything else as the first has it.
fn higher(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Number(first), Value::Number(second)) if second.as_f64() > first.as_f64() => other.clone(),
        (Value::Object(first), Value::Object(second)) => {
            let entry =
                |(name, value): (&String, &Value)| (name.clone(), second.get(name).map_or_else(|| value.clone(), |two| higher(value, two)));
            Value::Object(first.iter().map(entry).collect::<Map<_, _>>())
        }
        (Value::Array(first), Value::Array(second)) if first.len() == second.len() => {
            Value::Array(first.iter().zip(second).map(|(one, two)| higher(one, two)).collect())
        }
        _ => one.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_each_figure_the_highest_counts() {
        let set = |threads: u32, flops: u64, read: u64, copy: u64| json!({ "threads": threads, "isa": "avx2", "f32": flops, "bandwidth": [{ "level": "L1", "read": read, "copy": copy }] });
        let sets = [set(1, 50, 7, 9), set(2, 90, 1, 1), set(1, 60, 8, 5)];
        assert_eq!(joined(&sets), Some(json!([set(1, 60, 8, 9), set(2, 90, 1, 1)])));
        assert_eq!(joined(&[]), None);
    }
}
