//! Tests of the includer that reads the file system.

use std::fs::{File, write};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use longshore_hocon::{Files, Includer, parse_with};

#[test]
fn what_is_no_readable_text_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("folder")).unwrap();
    write(path("latin"), b"a\n\xe9\n").unwrap();
    write(path("bom"), "\u{feff}a = 1").unwrap();
    File::create(path("huge")).unwrap().set_len((1 << 20) + 1).unwrap();

    let said = |name: &str| {
        let error = Files.read(&path(name)).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    };
    assert_eq!(said("folder"), "folder: this is a folder, not a file");
    assert_eq!(said("latin"), "latin:2: the file is not valid UTF-8");
    assert_eq!(said("huge"), "huge: the file is larger than 1 MiB");
    assert!(said("bom/x").starts_with("bom/x: failed to read the file: "));
    assert_eq!(Files.read(&path("none")), Ok(None));
    assert_eq!(Files.read(&path("bom")), Ok(Some("a = 1".to_owned())));
}

#[test]
fn a_pipe_is_refused_without_waiting_for_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(Files.read(&fifo)));
    let refused = receiver.recv_timeout(Duration::from_secs(30)).unwrap().unwrap_err();
    assert_eq!(refused.message, "this is not a regular file");
}

#[test]
fn a_file_that_includes_itself_through_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real.conf");
    write(&real, "include \"other.conf\"").unwrap();
    std::os::unix::fs::symlink("real.conf", dir.path().join("other.conf")).unwrap();
    let error = parse_with("include \"other.conf\"", &real, &Files).unwrap_err();
    assert!(error.message.ends_with("includes itself, directly or through other files"), "{error}");
    assert_eq!(error.location.path.file_name(), Some("real.conf".as_ref()));
    assert_eq!(error.location.line, Some(1));
}

#[test]
fn an_included_folder_is_refused_at_the_include() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub.conf")).unwrap();
    let root = dir.path().join("x.conf");
    let error = parse_with("\ninclude \"sub.conf\"", &root, &Files).unwrap_err();
    let expected = format!("the included file {}/sub.conf: this is a folder", dir.path().display());
    assert!(error.message.starts_with(&expected), "{error}");
    assert_eq!((&*error.location.path, error.location.line), (Path::new(&root), Some(2)));
}
