//! Tests with generated text.

use longshore_hocon::parse;
use proptest::prelude::*;
use serde_json::{Map, Value};

fn tree() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000_i32..1000).prop_map(|n| Value::from(f64::from(n) + 0.5)),
        any::<String>().prop_map(Value::from),
        Just(Value::from("${a}")),
    ];
    let inner = scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            fields(inner).prop_map(Value::from),
        ]
    });
    fields(inner).prop_map(Value::from)
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(any::<String>(), value, 0..4)
        .prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn json_is_read_as_json(tree in tree(), pretty in any::<bool>()) {
        let text = if pretty { format!("{tree:#}") } else { tree.to_string() };
        let root = parse(&text, "x.conf").and_then(|document| document.resolve(&|_| None));
        prop_assert_eq!(root.map(|root| root.into_json()), Ok(tree), "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(
        text in "[ -~\n]{0,80}|[\\[\\]{}\"$?=:.,a-c \n#+]{0,40}|\\PC{0,40}",
    ) {
        if let Ok(document) = parse(&text, "x.conf") {
            let _ = document.resolve(&|name| (name.len() % 2 == 0).then(|| name.to_owned()));
        }
    }
}

/// A file of 1 MiB asked for 50 GiB of memory.
#[test]
fn a_long_text_that_many_substitutions_repeat_is_refused() {
    let repeated = |times: usize| {
        let text = format!("a = {}\nb = [{}]\n", "x".repeat(100_000), "${a},".repeat(times));
        parse(&text, "x.conf").and_then(|document| document.resolve(&|_| None))
    };
    assert!(repeated(100).is_ok());
    let error = repeated(1000).unwrap_err();
    assert_eq!(error.to_string(), "x.conf:2: the values have more than 64 MiB of text");
}
