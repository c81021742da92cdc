//! Tests of the reader by the specification: each test has the specification's rule and, if it has
//! one, its example.

use std::path::PathBuf;

use longshore_hocon::{Document, Files, Includer, parse, parse_with};
use serde_json::{Value, json};

fn environment(name: &str) -> Option<String> {
    let variables = [("HOME", "/home/x"), ("EMPTY", ""), ("NUMBER", "7")];
    let found = variables.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.to_owned())
}

fn resolve(document: &Document) -> Result<Value, String> {
    match document.resolve(&environment) {
        Ok(root) => Ok(root.into_json()),
        Err(error) => Err(error.to_string()),
    }
}

fn read(text: &str) -> Result<Value, String> {
    resolve(&parse(text, "x.conf").map_err(|error| error.to_string())?)
}

fn same(cases: &[(&str, Value)]) {
    for (text, expected) in cases {
        assert_eq!(read(text).as_ref(), Ok(expected), "{text}");
    }
}

fn refused(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = read(text).expect_err(text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn braces_separators_commas_and_comments_may_be_left_out_or_doubled_as_specified() {
    let ab = json!({"a": 1, "b": {"c": [1, 2, 3]}});
    for text in [
        r#"{"a": 1, "b": {"c": [1, 2, 3]}}"#,
        "a = 1\nb { c = [1, 2, 3,] }",
        "a : 1, b.c : [1\n2\n3]",
        "# one\n// two\na=1 // three\nb\n{\nc # four\n=\n[1\n,2\n\n3\n]}\n",
        "a: 1,\nb: {c: [1\n,\n2, # x\n3],},",
        "\u{feff} \u{a0}a = 1\u{2003}\nb.c = [1,2,3]",
    ] {
        assert_eq!(read(text).as_ref(), Ok(&ab), "{text}");
    }
    same(&[("", json!({})), ("{}", json!({})), ("# nothing", json!({}))]);
    refused(&[
        ("a = [1,,2]", "two commas"),
        ("a = [,1]", "`,` is not allowed here"),
        ("a = 1,,b = 2", "two commas"),
        (",a = 1", "`,` is not allowed here"),
        ("a = 1 }", "an extra `}`"),
        ("{a = 1", "x.conf:1: not valid HOCON: a `{` is not closed"),
        ("a = [1", "a `[` is not closed"),
        ("[1]", "a list"),
        ("a {} b {}", "cannot be joined into one value"),
        ("a", "a `=` is missing after the key `a`"),
        ("a = ", "the key `a` has no value"),
    ]);
}

#[test]
fn strings_are_quoted_unquoted_or_triple_quoted() {
    same(&[
        (r#"a = "x\n\t\"\\\/\u00e9\ud83d\ude00""#, json!({"a": "x\n\t\"\\/é😀"})),
        ("a = \"\"\"x\\n\n \"y\"\"\"\"\"", json!({"a": "x\\n\n \"y\"\""})),
        (
            "a =  the quick  brown fox  \nb = /tmp/x-1.2_y",
            json!({"a": "the quick  brown fox", "b": "/tmp/x-1.2_y"}),
        ),
        (
            "a = truefoo, b = footrue, c = 10.0bar, d = 1.2.3, e = -x, f = 0755",
            json!({"a": "truefoo", "b": "footrue", "c": "10.0bar", "d": "1.2.3", "e": "-x", "f": "0755"}),
        ),
        (
            "a = true, b = false, c = null, d = 1e5, e = -1.5, f = 1e+2",
            json!({"a": true, "b": false, "c": null, "d": 1e5, "e": -1.5, "f": 100.0}),
        ),
        (
            "a = true foo, b = 1e5 x, c = null y",
            json!({"a": "true foo", "b": "1e5 x", "c": "null y"}),
        ),
        ("a = \"true\", b = \"7\", c = \" x \"", json!({"a": "true", "b": "7", "c": " x "})),
        ("a = x//y", json!({"a": "x"})),
        ("a = 30 minutes", json!({"a": "30 minutes"})),
        ("a = foo(bar);~|<>%'", json!({"a": "foo(bar);~|<>%'"})),
    ]);
    refused(&[
        ("a = http://x", "`:` is not allowed here outside quotes"),
        ("a = x+y", "`+` is not allowed here"),
        ("a = 1+1", "`+` is not allowed here"),
        ("a = `x`", "is not allowed here"),
        ("a = x\\y", "is not allowed here"),
        ("a = \"x", "is not closed"),
        (
            "a = 1\nb = \"x\ny\"",
            "x.conf:2: not valid HOCON: a quoted string is not closed on its line",
        ),
        ("a = \"\"\"x\n\n", "x.conf:1: not valid HOCON: a triple-quoted string is not closed"),
        ("a = \"\\x\"", "unknown escape"),
        ("a = \"\\ud83d\"", "not a character"),
        ("a = \"\\u12\"", "four hexadecimal"),
    ]);
}

#[test]
fn keys_are_paths() {
    same(&[
        ("foo.bar.baz : 42", json!({"foo": {"bar": {"baz": 42}}})),
        ("a.x : 42, a.y : 43", json!({"a": {"x": 42, "y": 43}})),
        ("a b c : 42", json!({"a b c": 42})),
        ("true : 42, 3.14 : 43", json!({"true": 42, "3": {"14": 43}})),
        ("foo.\"bar.baz\".\"\" = 1", json!({"foo": {"bar.baz": {"": 1}}})),
        ("foo\"10.0\" = 1, 10.0foo = 2", json!({"foo10.0": 1, "10": {"0foo": 2}})),
        (
            "foo include : 42, \"include\" : 43, included = 44, include.x = 45",
            json!({"foo include": 42, "include": {"x": 45}, "included": 44}),
        ),
        ("a = include, b = [include]", json!({"a": "include", "b": ["include"]})),
    ]);
    refused(&[
        ("a..b = 1", "starts or ends with a dot"),
        (".a = 1", "starts or ends with a dot"),
        ("a. = 1", "starts or ends with a dot"),
        ("a${b} = 1", "a `=` is missing"),
        ("include = 1", "`include` needs a quoted name"),
        ("[a] = 1", "a list"),
        ("b = 1\n$a = 1", "x.conf:2: not valid HOCON: `$` is not allowed here"),
    ]);
}

#[test]
fn objects_merge_unless_something_else_stands_between() {
    same(&[
        (r#"foo : { a : 42 }, foo : { b : 43 }"#, json!({"foo": {"a": 42, "b": 43}})),
        (r#"foo : { a : 42 }, foo : null, foo : { b : 43 }"#, json!({"foo": {"b": 43}})),
        (
            "foo { a { x = 1, y = 1 } }\nfoo { a { y = 2 } }",
            json!({"foo": {"a": {"x": 1, "y": 2}}}),
        ),
        ("a = 1, a = [2], a = {b = 3}", json!({"a": {"b": 3}})),
        ("a : { b : 1 } { c : 2 }", json!({"a": {"b": 1, "c": 2}})),
        ("a : [ 1, 2 ] [ 3, 4 ]", json!({"a": [1, 2, 3, 4]})),
        (
            "a = [ 1 2 3 4 ], b = [ [ 1, 2 ] [ 3, 4 ] ], c = [ [ 1, 2 ]\n [ 3, 4 ] ]",
            json!({"a": ["1 2 3 4"], "b": [[1, 2, 3, 4]], "c": [[1, 2], [3, 4]]}),
        ),
        ("a = [1] {\"0\": x, \"2\": y, z: 1}", json!({"a": [1, "x", "y"]})),
    ]);
    refused(&[
        ("a = 1\nb = x [1]", "x.conf:2: text and a list or table cannot be joined"),
        ("a = [1] {x = 1}", "a table and a list cannot be joined"),
        ("a = {} x", "cannot be joined"),
        ("a = [1] \" \" [2]", "cannot be joined"),
    ]);
}

#[test]
fn substitutions_see_the_final_value_wherever_it_stands() {
    same(&[
        ("a = ${b}, b = 1, b = 2", json!({"a": 2, "b": 2})),
        ("a = ${x.y} is it, x { y = 5 }", json!({"a": "5 is it", "x": {"y": 5}})),
        ("a = ${b}, b = [1, {c = 2}]", json!({"a": [1, {"c": 2}], "b": [1, {"c": 2}]})),
        ("a = \"${b}\", b = 1", json!({"a": "${b}", "b": 1})),
        ("a = ${b}${c}, b = x, c = 1.10", json!({"a": "x1.10", "b": "x", "c": 1.1})),
        (
            "generic = { size = 6 }\neast = ${generic} { name = e }\ngeneric.size = 7",
            json!({"generic": {"size": 7}, "east": {"size": 7, "name": "e"}}),
        ),
        (
            "bar : { foo : 42, baz : ${bar.foo} }\nbar : { foo : 43 }",
            json!({"bar": {"foo": 43, "baz": 43}}),
        ),
        (
            "bar : { a : ${foo.d}, b : 1 }\nbar.b = 3\nfoo : { c : ${bar.b}, d : 2 }\nfoo.d = 4",
            json!({"bar": {"a": 4, "b": 3}, "foo": {"c": 3, "d": 4}}),
        ),
        (
            "a.\"b.c\" = 1, d = ${a.\"b.c\"}, e = ${ a.\"b.c\" }",
            json!({"a": {"b.c": 1}, "d": 1, "e": 1}),
        ),
        ("a = [${b}, ${?no}, ${?b}], b = 1", json!({"a": [1, 1], "b": 1})),
        ("a = ${b} ${b}, b = [1]", json!({"a": [1, 1], "b": [1]})),
    ]);
}

#[test]
fn a_substitution_falls_back_to_the_environment_which_is_never_merged_in() {
    same(&[
        ("a = ${HOME}/y", json!({"a": "/home/x/y"})),
        ("a = ${NUMBER}", json!({"a": "7"})),
        ("a = x, a = ${?EMPTY}", json!({"a": ""})),
        ("HOME = null, a = ${HOME}, b = ${?HOME}", json!({"HOME": null, "a": null, "b": null})),
        ("b = 1", json!({"b": 1})),
    ]);
}

#[test]
fn an_optional_substitution_that_finds_nothing_leaves_what_was_there() {
    same(&[
        ("a = 1, a = ${?no}", json!({"a": 1})),
        ("a = ${?no}", json!({})),
        ("a = ${?no}${?nor}", json!({})),
        ("a = ${?no} ${?nor}", json!({})),
        ("a = ${?no}foo", json!({"a": "foo"})),
        ("a = [${?no}]", json!({"a": []})),
        ("a = ${?no} [1], b = {x = 1} ${?no}", json!({"a": [1], "b": {"x": 1}})),
        ("a {b = 1}, a = ${?no}, a {c = 2}", json!({"a": {"b": 1, "c": 2}})),
        ("a = x, a = ${?java.io.tmpdir}", json!({"a": "x"})),
    ]);
}

#[test]
fn what_a_substitution_does_not_find_is_refused_by_name() {
    refused(&[
        (
            "a = 1\nb = ${no.such}",
            "x.conf:2: ${no.such} is set neither in the file nor in the environment",
        ),
        ("a = ${java.io.tmpdir}", "${java.io.tmpdir} is a Java system property"),
        ("a = ${user.dir}/x", "${user.dir} is a Java system property"),
        ("a = ${}", "has no path"),
        ("a = ${b", "has no `}`"),
        ("a = ${b\n}", "has no `}`"),
        ("a = ${b${c}}", "is not allowed here"),
        ("a = ${ ?b}", "is not allowed here"),
        ("a = ${NUMBER[]}", "`[` is not allowed here"),
    ]);
}

#[test]
fn a_self_reference_means_the_value_before() {
    same(&[
        ("path = \"a:b:c\"\npath = ${path}\":d\"", json!({"path": "a:b:c:d"})),
        (
            "path = [ /bin ]\npath = ${path} [ /usr/bin ]\npath = ${path} [ /x ]",
            json!({"path": ["/bin", "/usr/bin", "/x"]}),
        ),
        ("foo : { a : 1 }\nfoo : ${foo}", json!({"foo": {"a": 1}})),
        (
            "foo : { a : { c : 1 } }\nfoo : ${foo.a}\nfoo : { a : 2 }",
            json!({"foo": {"a": 2, "c": 1}}),
        ),
        ("a = ${?a}foo", json!({"a": "foo"})),
        ("foo : ${?foo}", json!({})),
        ("foo : ${does-not-exist}\nfoo : 42", json!({"foo": 42})),
        ("foo : ${foo}\nfoo : 42", json!({"foo": 42})),
        ("a = ${?b}, b = d, b = ${?a}", json!({"a": "d", "b": "d"})),
    ]);
    refused(&[
        ("foo : ${foo}", "${foo} refers to itself"),
        ("foo : ${foo}\nfoo : { a : 1 }", "${foo} refers to itself"),
        ("bar : ${foo}\nfoo : ${bar}", "refers to itself"),
        ("a : ${b}\nb : ${c}\nc : ${a}", "refers to itself"),
        ("a : {\n b : ${a} }", "x.conf:2: this value contains itself"),
        ("a : [${a}]", "x.conf:1: this value contains itself"),
        ("a.b = ${c}\nc = {d = ${a}}", "this value contains itself"),
        ("a : 1\nb : 2\na : ${b}\nb : ${a}", "depends on the order"),
    ]);
}

#[test]
fn plus_equals_appends() {
    same(&[
        ("a += 1\na += 2\na += [3]", json!({"a": [1, 2, [3]]})),
        ("a = [1], a += ${b}, b = 2", json!({"a": [1, 2], "b": 2})),
        ("x.a = [1]\nx { a += 2 }", json!({"x": {"a": [1, 2]}})),
    ]);
    refused(&[("a = 1\na += 2", "x.conf:2: text and a list or table cannot be joined")]);
}

#[test]
fn a_small_file_cannot_ask_for_endless_work() {
    let nested = format!("a = {}", "[".repeat(100_000));
    let path = format!("{} = 1", vec!["a"; 100_000].join("."));
    let chain: String = (0..5_000).map(|i| format!("a{i} = ${{a{}}}\n", i + 1)).collect();
    let doubling: String =
        (0..60).map(|i| format!("a{i} = ${{a{}}}${{a{}}}\n", i + 1, i + 1)).collect();
    let objects: String =
        (0..60).map(|i| format!("a{i} = {{x = ${{a{}}}, y = ${{a{}}}}}\n", i + 1, i + 1)).collect();
    refused(&[
        (&nested, "too deeply nested"),
        (&path, "too deeply nested"),
        (&format!("{chain}a5000 = 1"), "too deep"),
        (&format!("{doubling}a60 = x"), "too many"),
        (&format!("{objects}a60 = x"), "too many"),
    ]);
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name)
}

fn parse_fixture(name: &str) -> Result<Document, String> {
    let path = fixture(name);
    let text = Files.read(&path).unwrap().unwrap();
    parse_with(&text, &path, &Files).map_err(|error| error.to_string())
}

fn read_file(name: &str) -> Result<Value, String> {
    resolve(&parse_fixture(name)?)
}

#[test]
fn a_value_set_later_is_seen_by_the_substitutions_before_it() {
    let loaded = read_file("late-binding.conf").unwrap();
    assert_eq!(loaded["job"]["docker"]["bind"], json!("/srv/jobs:/job"));
}

#[test]
fn includes_are_merged_where_they_stand_and_their_paths_mean_both_roots() {
    assert_eq!(
        read_file("includes.conf").unwrap(),
        json!({
            "before": 2, "after": 3, "shared": "root", "bare": "json then conf", "x": 10, "y": 10,
            "outside": "root",
            "a": {"x": 42, "y": 42, "outside": "root", "before": 2, "after": 1},
        })
    );
}

#[test]
fn an_include_that_cannot_be_followed_is_refused_by_name() {
    for (name, expected) in [
        ("required.conf", "required.conf:2: the included file \"not-there.conf\" does not exist"),
        ("required-file.conf", "the included file \"/not/there.conf\" does not exist"),
        ("circle.conf", "circle-b.conf:1: \""),
        ("classpath.conf", "classpath.conf:1: include of \"reference.conf\" from the classpath"),
        ("url.conf", "url.conf:2: include of the URL \"https://example.org/x.conf\""),
        ("properties.conf", "Java properties files are not supported"),
    ] {
        let error = read_file(name).unwrap_err();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn an_optional_include_that_is_not_there_gets_a_warning() {
    let document = parse_fixture("optional.conf").unwrap();
    let [warning] = document.warnings() else { panic!("{:?}", document.warnings()) };
    let expected = "optional.conf:2: the included file \"not-there\" does not exist";
    assert!(warning.to_string().ends_with(expected), "{warning}");
    assert_eq!(resolve(&document), Ok(json!({"a": 1})));
}
