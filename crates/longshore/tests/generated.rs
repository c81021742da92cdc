//! Checks that the generated files match the code. A stale file is rewritten and the test fails, so
//! that a second run passes; `cargo xtask codegen` relies on that.
#![cfg(all(feature = "kubernetes", feature = "docker", feature = "process"))]

use std::path::{Path, PathBuf};

use longshore::config::{Loader, render_reference, schema_json};
use longshore::{Config, DoctorReport, JobResult, JobSpec};

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

#[test]
fn the_reference_configuration_equals_the_built_in_defaults() {
    let loaded = Loader::<Config>::new().file(conf("longshore.toml")).load().unwrap();
    assert_eq!(loaded.value, Config::default());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}
