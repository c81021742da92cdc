//! Tests of what a caller provides and gets: environment, included files, wanted keys, locations.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use longshore_hocon::{
    Document, Error, Includer, Location, Node, Value, parse, parse_number, parse_with,
};
use serde_json::json;

/// Files in memory.
struct Memory(BTreeMap<&'static str, String>);

impl Memory {
    fn of<const N: usize>(files: [(&'static str, &str); N]) -> Self {
        Self(files.map(|(name, text)| (name, text.to_owned())).into())
    }
}

impl Includer for Memory {
    fn read(&self, path: &Path) -> Result<Option<String>, Error> {
        if path.starts_with("secret") {
            return Err(Error::new(Location::file(path), "reading it is not allowed"));
        }
        Ok(path.to_str().and_then(|name| self.0.get(name).cloned()))
    }
}

fn nothing(_: &str) -> Option<String> {
    None
}

fn resolved(document: &Document) -> Node {
    document.resolve(&nothing).unwrap()
}

/// Returns the message for `text` with includes from `files`.
fn refusal(text: &str, files: &Memory) -> String {
    let document = parse_with(text, "conf/x.conf", files);
    document.and_then(|document| document.resolve(&nothing)).unwrap_err().to_string()
}

#[test]
fn the_environment_of_the_process_is_never_read() {
    assert!(std::env::var_os("PATH").is_some());
    let error = parse("a = ${PATH}", "x.conf").unwrap().resolve(&nothing).unwrap_err();
    let expected = "x.conf:1: ${PATH} is set neither in the file nor in the environment";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_environment_is_asked_only_for_what_the_file_does_not_set() {
    let asked = RefCell::new(Vec::new());
    let environment = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        Some("e".to_owned())
    };
    let text = "set = 1\na = ${set} ${x.y}\nother = ${?not.wanted}";
    let document = parse(text, "x.conf").unwrap();
    let root = document.resolve_only(&|key| key == "a", &environment).unwrap();
    assert_eq!(root.into_json(), json!({"a": "1 e"}));
    assert_eq!(asked.into_inner(), ["x.y"]);
}

#[test]
fn a_document_resolves_again_with_another_environment() {
    let document = parse("a = 1, a = ${?A}", "x.conf").unwrap();
    assert_eq!(resolved(&document).into_json(), json!({"a": 1}));
    let root = document.resolve(&|_| Some("2".to_owned())).unwrap();
    assert_eq!(root.into_json(), json!({"a": "2"}));
}

#[test]
fn a_key_that_is_not_wanted_causes_no_error_unless_a_wanted_one_refers_to_it() {
    let text = "play.tmp = ${java.io.tmpdir}\nshared = 1\njob.a = ${shared}\nbad = ${play.tmp}";
    let document = parse(text, "x.conf").unwrap();
    let only = |wanted: &str| document.resolve_only(&|key| key == wanted, &nothing);
    assert_eq!(only("job").unwrap().into_json(), json!({"job": {"a": 1}}));
    let error = only("bad").unwrap_err();
    assert_eq!((error.location.line, &*error.location.path), (Some(1), Path::new("x.conf")));
    assert!(error.message.starts_with("${java.io.tmpdir} is a Java system property"), "{error}");
    assert_eq!(document.resolve(&nothing), Err(error));
}

#[test]
fn every_value_has_the_place_of_its_key_or_element_also_in_an_included_file() {
    let text = "a {\n b = 1\n}\nlist = [\n x\n y\n]\nc = ${a.b}\na.b = 2\ninclude \"more\"\n";
    let files = Memory::of([("conf/more.conf", "\n\nmore.key = 1\na.z = 3")]);
    let document = parse_with(text, "conf/x.conf", &files).unwrap();
    let root = resolved(&document);
    let place = |path: &[&str]| root.get(path).unwrap().location.to_string();
    assert_eq!(root.location.to_string(), "conf/x.conf");
    assert_eq!(place(&["a", "b"]), "conf/x.conf:9");
    assert_eq!(place(&["c"]), "conf/x.conf:8");
    assert_eq!(place(&["more", "key"]), "conf/more.conf:3");
    assert_eq!(place(&["a", "z"]), "conf/more.conf:4");
    let Value::Array(elements) = &root.get(&["list"]).unwrap().value else { panic!("{root:?}") };
    let lines: Vec<_> = elements.iter().map(|element| element.location.line).collect();
    assert_eq!(lines, [Some(5), Some(6)]);
    assert_eq!(root.get(&["list", "0"]), None);
    assert_eq!(root.get(&["a", "none"]), None);
}

#[test]
fn a_number_keeps_its_spelling_and_text_is_not_converted() {
    let root = resolved(&parse("a = 1.10, b = \"7\", c = 0755", "x.conf").unwrap());
    let value = |key: &str| root.get(&[key]).unwrap().value.clone();
    let Value::Number(number, spelling) = value("a") else { panic!("{root:?}") };
    assert_eq!((number.as_f64(), spelling.as_str()), (Some(1.1), "1.10"));
    assert_eq!(value("b"), Value::String("7".to_owned()));
    assert_eq!(value("c"), Value::String("0755".to_owned()));
    assert_eq!(parse_number("7"), Some(7.into()));
    for text in ["0755", "1.", "+1", "", " 1", "true", "NaN"] {
        assert_eq!(parse_number(text), None, "{text:?}");
    }
}

#[test]
fn the_files_of_includes_come_from_the_caller() {
    let files = Memory::of([
        ("conf/job.json", "{\"job\": {\"a\": 1, \"b\": 1}}"),
        ("conf/job.conf", "job.b = 2"),
        ("elsewhere.conf", "c = 3"),
    ]);
    let text = "include \"job\"\ninclude required(file(\"elsewhere.conf\"))\ninclude \"none\"";
    let document = parse_with(text, "conf/x.conf", &files).unwrap();
    assert_eq!(resolved(&document).into_json(), json!({"job": {"a": 1, "b": 2}, "c": 3}));
    let warnings: Vec<_> = document.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["conf/x.conf:3: the included file \"none\" does not exist"]);
}

#[test]
fn a_file_that_the_caller_refuses_is_an_error_even_in_an_optional_include() {
    assert_eq!(
        refusal("a = 1\ninclude file(\"secret/key.conf\")", &Memory::of([])),
        "conf/x.conf:2: the included file secret/key.conf: reading it is not allowed"
    );
}

#[test]
fn an_include_without_an_includer_is_refused_only_where_it_is_resolved() {
    let document = parse("a { include \"b.conf\" }\nc = 1", "x.conf").unwrap();
    let root = document.resolve_only(&|key| key == "c", &nothing).unwrap();
    assert_eq!(root.into_json(), json!({"c": 1}));
    let error = document.resolve(&nothing).unwrap_err().to_string();
    assert_eq!(error, "x.conf:1: include of \"b.conf\": includes are not allowed here");
}

#[test]
fn includes_are_bounded_in_number_depth_and_size_and_must_not_be_circular() {
    let large = "#".repeat((1 << 20) + 1);
    let files = Memory::of([
        ("conf/large.conf", large.as_str()),
        ("conf/small.conf", ""),
        ("conf/self.conf", "include \"self.conf\""),
    ]);
    assert_eq!(
        refusal("include \"large.conf\"", &files),
        "conf/x.conf:1: the included file conf/large.conf: the file is larger than 1 MiB"
    );
    assert_eq!(
        refusal("include \"self.conf\"", &files),
        "conf/self.conf:1: \"conf/self.conf\" includes itself, directly or through other files"
    );
    let many = "include \"small.conf\"\n".repeat(257);
    let expected = "conf/x.conf:257: too many includes, or includes nested too deeply";
    assert_eq!(refusal(&many, &files), expected);

    struct Endless;
    impl Includer for Endless {
        fn read(&self, path: &Path) -> Result<Option<String>, Error> {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            Ok(Some(format!("include \"x{name}\"")))
        }
    }
    let deep = parse_with("include \"x.conf\"", "y.conf", &Endless).unwrap_err();
    assert_eq!(deep.message, "too many includes, or includes nested too deeply");
    assert_eq!(&*deep.location.path, Path::new(&format!("{}.conf", "x".repeat(16))));
}

#[test]
fn a_path_in_a_message_is_written_as_in_a_file() {
    let error = |text: &str| {
        let document = parse(text, "x.conf");
        document.and_then(|document| document.resolve(&nothing)).unwrap_err().message
    };
    assert!(error("a = ${rules.0.\"b.c\".\"\"}").starts_with("${rules.0.\"b.c\".\"\"} is set"));
    assert_eq!(error("rules.0.x ="), "not valid HOCON: the key `rules.0.x` has no value");
}
