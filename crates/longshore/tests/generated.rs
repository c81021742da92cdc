//! Checks that the generated files match the code. A stale file is rewritten and the test fails, so
//! that a second run passes; `cargo xtask codegen` relies on that.
#![cfg(all(feature = "kubernetes", feature = "docker", feature = "process"))]

use std::path::{Path, PathBuf};

use longshore::config::{Loader, loader_schema_source, render_reference, schema_json};
use longshore::doctor::DoctorReport;
use longshore::{Config, JobResult, JobSpec};
use serde_json::Value;

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf").join(name)
}

fn assert_fresh(name: &str, expected: &str) {
    let path = conf(name);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found != expected {
        std::fs::write(&path, expected).expect("the stale file can be rewritten");
        panic!("conf/{name} was stale and has been rewritten: look at it and commit it");
    }
}

#[test]
fn the_reference_configuration_is_what_the_code_says() {
    assert_fresh("longshore.toml", &render_reference::<Config>());
}

#[test]
fn the_schema_of_the_configuration_is_what_the_code_says() {
    assert_fresh("longshore.schema.json", &schema_json::<Config>());
}

/// The command looks them up at each start.
#[test]
fn the_keys_that_the_command_knows_are_what_the_code_says() {
    let entries = loader_schema_source::<Config>();
    let text = format!(
        "//! The keys of the configuration, as `cargo xtask codegen` writes them.\n\n\
         use longshore::config::{{Schema, SchemaEntry as E, ValueKinds}};\n\n\
         const fn k(bits: u8) -> ValueKinds {{\n    ValueKinds::from_bits(bits)\n}}\n\n\
         #[rustfmt::skip]\n\
         pub static SETTINGS: Schema = Schema(&[\n{entries}]);\n",
    );
    assert_fresh("../crates/cli/src/settings_schema.rs", &text);
}

#[test]
fn the_schema_of_a_job_file_is_what_the_code_says() {
    assert_fresh("job.schema.json", &schema_json::<JobSpec>());
}

#[test]
fn the_schema_of_a_result_is_what_the_code_says() {
    assert_fresh("result.schema.json", &schema_json::<JobResult>());
}

#[test]
fn the_schema_of_doctors_report_is_what_the_code_says() {
    assert_fresh("doctor.schema.json", &schema_json::<DoctorReport>());
}

/// Returns `schema` with the names of its definitions, and of what refers to them, after `prefix`.
fn prefixed(schema: &str, prefix: &str) -> Value {
    let text = schema.replace("\"#/$defs/", &format!("\"#/$defs/{prefix}"));
    let mut schema: Value = serde_json::from_str(&text).expect("the schema is JSON");
    let own = schema["$defs"].as_object().cloned().unwrap_or_default();
    schema["$defs"] = own.into_iter().map(|(name, it)| (format!("{prefix}{name}"), it)).collect();
    schema
}

/// A wrong configuration was installed, and failed only when the job ran.
#[test]
fn the_charts_values_have_the_schema_of_the_configuration() {
    const PREFIX: &str = "config.";
    let name = "helm/longshore/values.schema.json";
    let text = std::fs::read_to_string(conf(name)).unwrap();
    let mut chart: Value = serde_json::from_str(&text).unwrap();
    let mut config = prefixed(&schema_json::<Config>(), PREFIX);
    let definitions = chart["$defs"].as_object_mut().unwrap();
    definitions.retain(|name, _| !name.starts_with(PREFIX));
    definitions.extend(config["$defs"].take().as_object().cloned().unwrap());
    // Types that flatten others refuse an unknown key only when the configuration is read.
    for name in ["JobConfig", "RunnerConfig", "RunnerConfig2"] {
        definitions[&format!("{PREFIX}{name}")]["additionalProperties"] = Value::Bool(false);
    }
    let config = config.as_object_mut().unwrap();
    for key in ["$defs", "$schema", "title"] {
        config.remove(key);
    }
    chart["properties"]["config"] = Value::Object(std::mem::take(config));
    assert_fresh(name, &(serde_json::to_string_pretty(&chart).unwrap() + "\n"));
}

#[test]
fn the_reference_configuration_equals_the_built_in_defaults() {
    let loaded = Loader::<Config>::new().file(conf("longshore.toml")).load().unwrap();
    assert_eq!(loaded.value, Config::default());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}
