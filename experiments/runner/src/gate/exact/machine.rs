//! Which instruction sets of the baseline's rows this machine has, by the processor's own word: a build that no longer finds them would say of itself that
//! it is of another machine, and be held against that one's rows.
//!
//! Names are those that engines give: a family of vectors, and what its kernels use beside (`avx512+bf16+vnni`). What is not known here (tiles, whose use the
//! kernel must permit; an engine's own choice) is not had, so that nothing is held against a build for it.

const FAMILIES: [&str; 3] = ["scalar", "avx2", "avx512"];

fn parts(isa: &str) -> Option<(usize, Vec<&str>)> {
    let mut parts = isa.split('+');
    let family = parts.next()?;
    Some((FAMILIES.iter().position(|known| *known == family)?, parts.collect()))
}

/// Has this machine all that an instruction set of this name needs?
pub fn has(isa: &str) -> bool {
    let Some((family, extras)) = parts(isa) else { return false };
    detects(FAMILIES[family]) && extras.iter().all(|extra| detects(&format!("{}+{extra}", FAMILIES[family])))
}

#[cfg(target_arch = "x86_64")]
fn detects(what: &str) -> bool {
    match what {
        "scalar" => true,
        "avx2" => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"),
        "avx2+vnni" => is_x86_feature_detected!("avxvnni"),
        "avx512" => {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        }
        "avx512+bf16" => is_x86_feature_detected!("avx512bf16"),
        "avx512+vnni" => is_x86_feature_detected!("avx512vnni"),
        _ => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detects(what: &str) -> bool {
    what == "scalar"
}

/// Is the first a better path than the second: wider vectors, or the same and all that the second uses beside and more?
pub fn is_above(higher: &str, lower: &str) -> bool {
    let (Some((high, more)), Some((low, less))) = (parts(higher), parts(lower)) else { return false };
    high > low || (high == low && more.len() > less.len() && less.iter().all(|extra| more.contains(extra)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_vectors_are_above_and_more_instructions_beside_the_same() {
        for (higher, lower, is) in [
            ("avx512+bf16+vnni", "avx2", true),
            ("avx512+bf16+vnni", "avx512+vnni", true),
            ("avx512", "avx512+vnni", false),
            ("avx512+bf16", "avx512+vnni", false),
            ("avx2+vnni", "avx2", true),
            ("avx2", "scalar", true),
            ("avx2", "avx2", false),
            ("neon", "scalar", false),
            ("faer's choice in products", "avx2", false),
        ] {
            assert_eq!(is_above(higher, lower), is, "{higher} {lower}");
        }
    }

    #[test]
    fn a_machine_has_what_it_detects_and_nothing_unknown() {
        assert!(has("scalar"));
        assert!(!has("avx512+amx") && !has("neon") && !has("faer's choice in products") && !has("avx2+bf16"));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(has("avx2"), is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"));
        assert!(!has("avx512") || has("avx2"));
    }
}
