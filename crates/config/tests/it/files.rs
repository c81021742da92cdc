//! Tests of files that are missing, too large, not regular or not UTF-8.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Config, load};
use longshore_config::{Format, Loader, read_document};
use longshore_core::JobSpec;
use tempfile::TempDir;

/// Returns the message for `name` in `dir`, read as a configuration and as a document, without the
/// folder.
fn said(dir: &TempDir, name: &str) -> String {
    let path = dir.path().join(name);
    let short = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
    let config = Loader::<Config>::new().file(&path).load().unwrap_err().to_string();
    let document = read_document::<JobSpec>(&path).unwrap_err().to_string();
    assert_eq!(config.replace(".yml, .json or .conf", ".yml or .json"), document);
    short(document)
}

#[test]
fn a_file_that_cannot_be_a_configuration_is_refused_without_reading_it() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    std::fs::create_dir(dir.path().join("folder.toml")).unwrap();
    write("latin.toml", b"[job]\nname = \"\xe9\"\n");
    write("x.ini", b"");
    write("x", b"");
    File::create(dir.path().join("huge.yaml")).unwrap().set_len(100 << 20).unwrap();
    let fifo = dir.path().join("fifo.json");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());

    let start = Instant::now();
    assert_eq!(said(&dir, "none.toml"), "none.toml: there is no such file");
    assert_eq!(said(&dir, "folder.toml"), "folder.toml: this is a folder, not a file");
    assert_eq!(said(&dir, "huge.yaml"), "huge.yaml: the file is larger than 1 MiB");
    assert_eq!(said(&dir, "latin.toml"), "latin.toml:2: the file is not valid UTF-8");
    assert_eq!(said(&dir, "fifo.json"), "fifo.json: this is not a regular file");
    for name in ["x.ini", "x"] {
        let expected = "unknown or missing file extension: use .toml, .yaml, .yml or .json";
        assert_eq!(said(&dir, name), format!("{name}: {expected}"));
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_byte_order_mark_and_windows_lines_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("x.toml", "\u{feff}[job]\r\nmaxJobs = 7\r\n"),
        ("x.yaml", "\u{feff}job:\r\n  maxJobs: 7\r\n"),
        ("x.json", "\u{feff}{\"job\":\r\n {\"maxJobs\": 7}}\r\n"),
        ("x.conf", "\u{feff}job {\r\n maxJobs = 7\r\n}\r\n"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let loaded = Loader::<Config>::new().file(&path).load().unwrap();
        assert_eq!(loaded.value.job.max_jobs, 7, "{name}");
    }
}

#[test]
fn an_empty_file_sets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["x.toml", "x.yaml", "x.conf"] {
        let path = dir.path().join(name);
        std::fs::write(&path, "# nothing\n").unwrap();
        assert_eq!(Loader::<Config>::new().file(&path).load().unwrap().value, Config::default());
    }
}

#[test]
fn hocon_is_no_format_of_documents() {
    let error = read_document::<JobSpec>(Path::new("job.conf")).unwrap_err().to_string();
    assert!(error.contains("use .toml, .yaml, .yml or .json"), "{error}");
}

#[test]
fn a_large_file_of_many_keys_is_read_in_no_time() {
    let toml: String = (0..40_000).map(|i| format!("job.unknown{i} = {i}\n")).collect();
    let hocon: String =
        (0..40_000).map(|i| format!("job.kubernetes.labels.l{i} = {i}\n")).collect();
    let start = Instant::now();
    assert!(load(Format::Toml, &toml).is_err());
    let loaded = load(Format::Hocon, &hocon).unwrap();
    assert_eq!(loaded.value.job.kubernetes.labels.len(), 40_000);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}
