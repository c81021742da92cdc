//! Tests of one tree in each format.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use longshore_config::{Format, Loader};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Any content of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Anything(BTreeMap<String, Value>);

fn load(name: &str, format: Format, text: &str) -> Value {
    let loaded = Loader::<Anything>::new().text(name, format, text).load();
    let loaded = loaded.unwrap_or_else(|e| panic!("{e}\n{text}"));
    serde_json::to_value(loaded.value).unwrap()
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1000_i32..1000).prop_map(|n| Value::from(f64::from(n) + 0.5)),
        "[ -~]{0,12}".prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
        Just(Value::from("null")),
        Just(Value::from("1.10")),
        Just(Value::from("${a}")),
    ]
}

fn tree() -> impl Strategy<Value = Map<String, Value>> {
    let key = "[a-zA-Z0-9 ._/-]{1,8}";
    let value = scalar().prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    });
    prop::collection::btree_map(key, value, 0..5).prop_map(|f| f.into_iter().collect())
}

/// Writes HOCON with its own syntax: dotted paths, `=`, newlines for commas, fields in any order.
fn hocon(fields: &Map<String, Value>, path: &str, reverse: bool, out: &mut String) {
    let mut fields: Vec<_> = fields.iter().collect();
    if reverse {
        fields.reverse();
    }
    for (key, value) in fields {
        let path = format!("{path}{}", Value::from(key.as_str()));
        match value {
            Value::Object(inner) if !inner.is_empty() && reverse => {
                hocon(inner, &format!("{path}."), reverse, out);
            }
            Value::Object(inner) => {
                let _ = writeln!(out, "{path} {{ // a comment");
                hocon(inner, "", reverse, out);
                let _ = writeln!(out, "}}");
            }
            other => {
                let _ = writeln!(out, "  {path} = {other} # another");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_same_tree_is_the_same_in_every_format(fields in tree(), reverse in any::<bool>()) {
        let expected = Value::from(fields.clone());
        let json = serde_json::to_string_pretty(&expected).unwrap();
        prop_assert_eq!(&load("x.json", Format::Json, &json), &expected);
        prop_assert_eq!(&load("x.conf", Format::Hocon, &json), &expected);
        let yaml = serde_saphyr::to_string(&expected).unwrap();
        prop_assert_eq!(&load("x.yaml", Format::Yaml, &yaml), &expected, "{}", yaml);
        let toml = toml::to_string(&expected).unwrap();
        prop_assert_eq!(&load("x.toml", Format::Toml, &toml), &expected, "{}", toml);
        let mut text = String::new();
        hocon(&fields, "", reverse, &mut text);
        prop_assert_eq!(&load("x.conf", Format::Hocon, &text), &expected, "{}", text);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "[ -~\n]{0,80}|[\\[\\]{}\"$?=:.,a-c \n#+]{0,40}") {
        for format in [Format::Toml, Format::Yaml, Format::Json, Format::Hocon] {
            let _ = Loader::<Anything>::new().text("x", format, text.clone()).load();
        }
    }
}

/// A YAML file of some hundred bytes ended the process: each level took 40 KiB of stack.
#[test]
fn a_file_that_is_nested_too_deeply_is_refused_and_overflows_no_stack() {
    let nested = |format, n: usize| match format {
        Format::Toml => format!("a = {}1{}", "{b = ".repeat(n), "}".repeat(n)),
        Format::Yaml => format!("a: {}1{}", "{b: ".repeat(n), "}".repeat(n)),
        _ => format!("{{\"a\": {}1{}}}", "{\"b\": ".repeat(n), "}".repeat(n)),
    };
    let check = move || {
        for format in [Format::Toml, Format::Yaml, Format::Json, Format::Hocon] {
            let load = |n| Loader::<Anything>::new().text("x", format, nested(format, n)).load();
            assert!(load(30).is_ok(), "{format:?}");
            for n in [200, 20_000] {
                let error = load(n).unwrap_err().to_string();
                let words = ["too deeply nested", "recursion limit", "recursion depth"];
                assert!(words.iter().any(|it| error.contains(it)), "{format:?} {n}: {error}");
            }
        }
        // An alias counts as what it repeats.
        let lists = |of: &str| format!("{}{of}{}", "[".repeat(20), "]".repeat(20));
        let text = format!("a: &a {}\nb: {}\n", lists("1"), lists("*a"));
        let error = Loader::<Anything>::new().text("x", Format::Yaml, text).load().unwrap_err();
        assert_eq!(error.to_string(), "x:2: not valid YAML: too deeply nested");
    };
    // As much as a thread has by default.
    let small = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    small.spawn(check).unwrap().join().unwrap();
}
