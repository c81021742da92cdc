//! Tests of full and read-only disks, in a process with its own mounts.
#![expect(clippy::unwrap_used, reason = "parts of tests are not marked as tests")]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use longshore_journal::{Cancelled, Journal, JournalError, Options};

use crate::common::{attempt, exited, finished, job, open, submit};
use crate::parts::{Part, say};

/// Returns whether a process may have its own mounts here, and prints the reason if not.
#[expect(clippy::print_stderr, reason = "a test that is not run reports that")]
fn mounts_work() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut probe = Command::new("unshare");
    probe.args(if rustix::process::geteuid().is_root() { &["-m"] } else { &["-rm"][..] });
    probe.args(["mount", "-t", "tmpfs", "none"]).arg(folder.path());
    let said = match probe.output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("unsupported: a process cannot have its own mounts here: {}", said.trim());
    false
}

fn passes(part: &str) {
    passes_on(part, "1m");
}

/// Plays `part` on a disk of `size`.
fn passes_on(part: &str, size: &str) {
    if !mounts_work() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let setup = format!("mount -t tmpfs -o size={size} none '{}'", folder.path().display());
    let mut part = Part::play_with_mounts(part, folder.path(), &setup);
    assert_eq!(part.line().as_deref(), Some("all is well"));
    assert!(part.ends_well());
}

/// Fills the disk to its last byte.
fn fill(folder: &Path) {
    let mut file = File::create(folder.join("filler")).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn is_full(error: &JournalError, state: &Path) {
    assert!(matches!(error, JournalError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains(state.to_str().unwrap()), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
}

/// Part: the disk becomes full under an open journal.
pub async fn full(folder: &Path) {
    let state = folder.join("state");
    let journal = open(&state).await;
    let before = finished(&journal).await;
    let held = submit(&journal, job()).await;
    fill(folder);
    let mut recorded = Vec::new();
    // The file has some free space within it.
    let error = loop {
        match journal.submit(job()).await {
            Ok(submitted) => recorded.push(submitted),
            Err(error) => break error,
        }
        assert!(recorded.len() < 10_000, "the disk is not full");
    };
    is_full(&error, &state);
    let other = held.intent(attempt(held.job(), 1)).await;
    // An intent is smaller than a job, and may still fit.
    if let Err(error) = &other {
        is_full(error, &state);
    }
    assert!(journal.record(&before).await.unwrap().is_finished(), "the old record still exists");
    assert_eq!(journal.unfinished().await.unwrap().len(), recorded.len() + 1);
    fs::remove_file(folder.join("filler")).unwrap();
    finished(&journal).await;
    held.outcome(&exited(held.job(), 0)).await.expect("there is space again");
    journal.check().await.unwrap();
    say("all is well");
}

/// Part: a full disk, of which the journal has kept some space.
pub async fn full_with_reserve(folder: &Path) {
    let state = folder.join("state");
    let journal = open(&state).await;
    let held = submit(&journal, job()).await;
    fill(folder);
    assert!(File::create(folder.join("other")).unwrap().write_all(b"x").is_err(), "it is full");
    assert_eq!(journal.request_cancel(held.job(), Duration::ZERO).await.unwrap(), Cancelled::Noted);
    held.outcome(&exited(held.job(), 0)).await.unwrap();
    held.removed().await.unwrap();
    // Another process, while the disk is full.
    let other = open(&state).await;
    assert!(other.record(held.job()).await.unwrap().is_finished());
    held.forget().await.unwrap();
    assert!(!state.join("reserve").exists(), "it was used");
    fs::remove_file(folder.join("filler")).unwrap();
    open(&state).await;
    assert!(state.join("reserve").exists(), "there is space again");
    say("all is well");
}

/// Part: the disk is full before the journal exists.
pub async fn full_before(folder: &Path) {
    let state = folder.join("state");
    fill(folder);
    let error = Journal::open(&state, Options::default()).await.unwrap_err();
    is_full(&error, &state);
    fs::remove_file(folder.join("filler")).unwrap();
    finished(&open(&state).await).await;
    say("all is well");
}

/// Part: the disk is read-only.
pub async fn read_only(folder: &Path) {
    let state = folder.join("state");
    let journal = open(&state).await;
    finished(&journal).await;
    drop(journal);
    crate::files::closed(&state).await;
    let mount = |options: &str| {
        let status = Command::new("mount").args(["-o", options]).arg(folder).status().unwrap();
        assert!(status.success());
    };
    mount("remount,ro");
    for state in [state.clone(), folder.join("new")] {
        let error = Journal::open(&state, Options::default()).await.unwrap_err();
        assert!(matches!(error, JournalError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains(state.to_str().unwrap()), "{error}");
        assert!(error.to_string().contains("make it writable"), "{error}");
    }
    mount("remount,rw");
    finished(&open(&state).await).await;
    say("all is well");
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_lost() {
    passes("full");
}

#[test]
fn on_a_full_disk_a_job_is_still_cancelled_ended_and_removed() {
    passes_on("full-with-reserve", "16m");
}

#[test]
fn a_journal_is_not_made_on_a_full_disk() {
    passes("full-before");
}

#[test]
fn a_read_only_disk_is_an_error_before_anything_starts() {
    passes("read-only");
}
