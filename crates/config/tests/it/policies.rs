//! Tests of pull policies as users spell them, from every source.

use longshore_config::{ConfigError, Format, Loaded, Loader};

use crate::common::{Config, env};

/// Spellings of policies, and the policy that each means.
const SPELLINGS: [(&str, &str); 10] = [
    ("Always", "Always"),
    ("always", "Always"),
    ("ALWAYS", "Always"),
    ("IfNotPresent", "IfNotPresent"),
    ("ifnotpresent", "IfNotPresent"),
    ("if-not-present", "IfNotPresent"),
    ("If-Not-Present", "IfNotPresent"),
    ("missing", "IfNotPresent"),
    ("never", "Never"),
    ("Never", "Never"),
];

/// Loads `items` from every source, and returns each source's name in an error with the result.
fn sources(items: &[&str]) -> Vec<(&'static str, Result<Loaded<Config>, ConfigError>)> {
    let texts: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    let array = format!("[{}]", texts.join(", "));
    let value = if items.len() == 1 { texts[0].clone() } else { array };
    let bare = if items.len() == 1 { items[0].to_owned() } else { value.clone() };
    let commas = items.join(",");
    let files = [
        ("x.toml:1", Format::Toml, format!("job.kubernetes.imagePullPolicy = {value}")),
        ("x.yaml:1", Format::Yaml, format!("job: {{kubernetes: {{imagePullPolicy: {value}}}}}")),
        (
            "x.json:1",
            Format::Json,
            format!("{{\"job\": {{\"kubernetes\": {{\"imagePullPolicy\": {value}}}}}}}"),
        ),
        ("x.conf:1", Format::Hocon, format!("job.kubernetes.imagePullPolicy = {bare}")),
    ];
    let mut all: Vec<_> = files
        .into_iter()
        .map(|(place, format, text)| {
            let name = place.trim_end_matches(":1");
            (place, Loader::new().text(name, format, text).load())
        })
        .collect();
    let variable = "JOB_KUBERNETES_IMAGEPULLPOLICY";
    all.push((variable, Loader::new().environment(env(&[(variable, &commas)])).load()));
    let key = "job.kubernetes.imagePullPolicy";
    all.push(("--set", Loader::new().set(key, commas).load()));
    all
}

fn policy(loaded: Result<Loaded<Config>, ConfigError>) -> String {
    let loaded = loaded.unwrap();
    loaded.value.job.kubernetes.image_pull_policy.unwrap().to_string()
}

#[test]
fn every_source_takes_every_spelling() {
    for (spelt, meant) in SPELLINGS {
        for (place, loaded) in sources(&[spelt]) {
            assert_eq!(policy(loaded), meant, "{spelt} in {place}");
        }
    }
}

#[test]
fn every_source_takes_a_list() {
    for (place, loaded) in sources(&["always", "if-not-present"]) {
        assert_eq!(policy(loaded), "Always,IfNotPresent", "{place}");
    }
}

#[test]
fn every_source_refuses_another_value_with_its_place_the_key_and_the_values_allowed() {
    for value in ["IfAbsent", "if_not_present", "true"] {
        for (place, loaded) in sources(&[value]) {
            let error = loaded.unwrap_err().to_string();
            // An unquoted `true` in HOCON is text if text is expected.
            let expected = format!(
                "{place}: job.kubernetes.imagePullPolicy: `{value}` is not a pull policy: use \
                 Always, IfNotPresent or Never"
            );
            assert_eq!(error, expected);
        }
    }
}

#[test]
fn every_source_refuses_a_list_that_makes_no_sense() {
    for (items, reason) in [
        (["never", "always"], "the pull policy Always follows Never"),
        (["Always", "always"], "the pull policy Always is listed twice"),
        (["Always", "Sometimes"], "`Sometimes` is not a pull policy: use Always, IfNotPresent or"),
    ] {
        for (place, loaded) in sources(&items) {
            let error = loaded.unwrap_err().to_string();
            let start = format!("{place}: job.kubernetes.imagePullPolicy");
            assert!(error.starts_with(&start) && error.contains(reason), "{error}");
        }
    }
}

#[test]
fn an_empty_list_is_refused_by_every_source_that_can_write_one() {
    let key = "job.kubernetes.imagePullPolicy";
    let variable = "JOB_KUBERNETES_IMAGEPULLPOLICY";
    let texts = [
        ("x.toml", Format::Toml, "job.kubernetes.imagePullPolicy = []"),
        ("x.conf", Format::Hocon, "job.kubernetes.imagePullPolicy = []"),
    ];
    let files = texts.map(|(name, format, text)| Loader::<Config>::new().text(name, format, text));
    let flag = Loader::new().set(key, "[]");
    let environment = Loader::new().environment(env(&[(variable, "[]")]));
    for loader in files.into_iter().chain([flag, environment]) {
        let error = loader.load().unwrap_err().to_string();
        assert!(error.contains("the list of pull policies is empty"), "{error}");
        assert!(error.contains(key), "{error}");
    }
    let empty = Loader::<Config>::new().set(key, "").load().unwrap_err();
    assert!(empty.to_string().contains("use Always, IfNotPresent or Never"), "{empty}");
}
