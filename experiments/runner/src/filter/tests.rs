//! What filters keep, and what they refuse.

use super::*;
use crossover_core::axes::{Axes, AxisValue};
use proptest::prelude::*;

fn axes() -> Axes {
    Axes::from([
        ("n".to_owned(), AxisValue::Int(128)),
        ("n_kv".to_owned(), AxisValue::Int(256)),
        ("eps".to_owned(), AxisValue::Float(0.5)),
        ("precision".to_owned(), AxisValue::from("bf16")),
    ])
}

fn keeps(expression: &str) -> bool {
    let axes = axes();
    let row = Row { variant: "attention/flash", family: "attention", engine: "naive", experiment: "quick", baseline: true, axes: &axes };
    Filter::parse(expression).unwrap_or_else(|error| panic!("{error}")).keeps(&row)
}

fn complaint(expression: &str) -> String {
    match Filter::parse(expression) {
        Ok(filter) => panic!("this was taken: {filter:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn comparisons_hold_where_they_should() {
    for expression in [
        "n == 128",
        "n == 128.0",
        "n != 129",
        "n < 129 and n <= 128 and n > 127.5 and n >= 128",
        "128 <= n",
        "n < n_kv",
        "eps == 0.5 and eps < 1 and eps > -1e3",
        "variant == \"attention/flash\" and family != \"ffn\"",
        "engine == \"naive\" and experiment == \"quick\"",
        "precision in [\"f32\", \"bf16\"]",
        "precision == \"bf16/bf16/f32\"",
        "n in [1, 128,]",
        "baseline",
        "baseline == true",
        "baseline != false and true",
        "not false",
    ] {
        assert!(keeps(expression), "{expression}");
        assert!(!keeps(&format!("not ({expression})")), "{expression}");
    }
}

#[test]
fn and_binds_closer_than_or_and_not_closest() {
    assert!(keeps("true or false and false"));
    assert!(!keeps("(true or false) and false"));
    assert!(keeps("not false and true"));
    assert!(!keeps("not (false or true)"));
    assert!(keeps("not not true"));
    assert!(!keeps("n in []"));
}

#[test]
fn a_missing_axis_equals_nothing() {
    assert!(!keeps("heads == 8") && !keeps("heads < 8") && !keeps("heads >= 8") && !keeps("heads in [8]"));
    assert!(keeps("heads != 8") && keeps("not (heads == 8)") && keeps("heads != n"));
}

#[test]
fn mistakes_are_shown_with_their_column() {
    insta::assert_snapshot!(complaint("n >= 2 and varient == \"x\""), @r#"
    --filter, column 12: unknown column "varient"
      n >= 2 and varient == "x"
                 ^^^^^^^
      did you mean variant? `crossover list variants` shows all columns; text stands in double quotes
    "#);
    insta::assert_snapshot!(complaint("precision < \"f32\""), @r#"
    --filter, column 11: text has no order
      precision < "f32"
                ^
      compare it by == or !=, or by `in [..]`
    "#);
    insta::assert_snapshot!(complaint("n == \"128\""), @r#"
    --filter, column 6: a number is compared with text
      n == "128"
           ^^^^^
      numbers stand without quotes
    "#);
    insta::assert_snapshot!(complaint("n = 128"), @"
    --filter, column 3: unexpected '='
      n = 128
        ^
      write == to compare
    ");
    insta::assert_snapshot!(complaint("variant == \"attention/flesh\""), @r#"
    --filter, column 12: this column never holds "attention/flesh"
      variant == "attention/flesh"
                 ^^^^^^^^^^^^^^^^^
      did you mean "attention/flash"? `crossover list variants` shows all values
    "#);
}

#[test]
fn every_mistake_has_a_message() {
    for (expression, wanted) in [
        ("", "expected a column or a value, found \"the end\""),
        ("n", "expected a comparison"),
        ("n ==", "expected a column or a value"),
        ("n == 1 n", "expected `and`, `or` or the end, found \"n\""),
        ("(n == 1", "expected `)`"),
        ("n == 1)", "found \")\""),
        ("1 == 2", "compares two constants"),
        ("1 in [1]", "`in` asks about a column"),
        ("n in 1", "expected a list"),
        ("n in [1", "expected `,` or `]`"),
        ("n in [n_kv]", "a list holds constants only"),
        ("n in [1, \"a\"]", "a number is compared with text"),
        ("n == 1x", "this is no number"),
        ("n == 1e999", "this is no number"),
        ("n == \"a", "no closing quote"),
        ("n == 'a'", "text stands in double quotes"),
        ("n == 1 && n == 2", "write: and"),
        ("n == 1 || n == 2", "write: or"),
        ("!baseline", "write: not"),
        ("baseline < true", "true or false has no order"),
        ("baseline == 1", "true or false is compared with a number"),
        ("variant == n", "text is compared with a number"),
        ("precision == \"fp8\"", "unknown precision"),
        ("position == \"before\"", "the values are"),
        ("n == \u{1f980}", "unexpected"),
    ] {
        let complaint = complaint(expression);
        assert!(complaint.contains(wanted), "{expression}: {complaint}");
    }
}

#[test]
fn depth_is_bounded_and_length_is_not() {
    let deep = |count: usize| format!("{}true{}", "(".repeat(count), ")".repeat(count));
    assert!(keeps(&deep(64)));
    assert!(complaint(&deep(65)).contains("inside each other"));
    assert!(complaint(&deep(10_000)).contains("inside each other"));
    assert!(complaint(&"(".repeat(10_000)).contains("inside each other"));
    assert!(complaint(&"not ".repeat(10_000)).contains("inside each other"));
    assert!(keeps(&vec!["n == 128"; 10_000].join(" and ")));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,80}") {
        let _ = Filter::parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_row_of_tokens_makes_the_parser_panic(words in prop::collection::vec(prop::sample::select(vec![
        "n", "n_kv", "variant", "precision", "baseline", "true", "and", "or", "not", "in", "(", ")", "[", "]", ",", "==", "!=", "<",
        ">=", "1", "-2.5", "1e6", "\"f32\"", "\"", "=", "\u{e4}",
    ]), 0..20)) {
        let text = words.join(" ");
        if let Ok(filter) = Filter::parse(&text) {
            let axes = axes();
            let row = Row { variant: "norm/none", family: "norm", engine: "e", experiment: "x", baseline: false, axes: &axes };
            let _ = filter.keeps(&row);
        }
    }

    #[test]
    fn numbers_compare_as_numbers(value in any::<i32>(), other in any::<i32>()) {
        let axes = Axes::from([("n".to_owned(), AxisValue::Int(value.into()))]);
        let row = Row { variant: "norm/none", family: "norm", engine: "e", experiment: "x", baseline: false, axes: &axes };
        let holds = |operator: &str| Filter::parse(&format!("n {operator} {other}")).unwrap().keeps(&row);
        prop_assert_eq!(holds("<"), value < other);
        prop_assert_eq!(holds(">="), value >= other);
        prop_assert_eq!(holds("=="), value == other);
    }
}
