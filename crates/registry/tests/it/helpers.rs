//! Tests of credential helpers, correct and faulty.

use std::time::{Duration, Instant};

use longshore_registry::Keyring;
use rustix::process::{Pid, test_kill_process};

use crate::support::{Folder, PASSWORD, auth, by_helper, eventually, find, refused, token};

const HARBOR: &str = "harbor.example.org";
const APP: &str = "harbor.example.org/team/app:1";
/// A short timeout, for a helper that never ends.
const SOON: Duration = Duration::from_millis(300);
/// A timeout far below how long the scripts below would sleep.
const LATE: Duration = Duration::from_secs(20);

fn asking(folder: &Folder, server: &str) -> Keyring {
    folder.keyring(vec![by_helper(server, "x")])
}

#[tokio::test]
async fn a_helper_is_asked_with_the_registry_on_its_standard_input() {
    let folder = Folder::new();
    // The helper answers with its argument and input as the name.
    folder.helper("x", r#"printf '{"Username":"%s %s","Secret":"hunter2"}' "$1" "$(cat)""#);
    // The helper receives the image's whole registry, even if the login is for a part of it.
    for server in [HARBOR, "harbor.example.org/team"] {
        let found = find(&asking(&folder, server), APP).await;
        assert_eq!(found.auth, auth(HARBOR, "get harbor.example.org", PASSWORD));
        assert_eq!(found.origin.as_deref(), Some("job.registries[0]"));
        assert_eq!(found.warnings, [""; 0]);
    }
}

#[tokio::test]
async fn dockers_own_registry_is_asked_for_by_dockers_name() {
    let folder = Folder::new();
    folder.helper(
        "x",
        r#"[ "$(cat)" = https://index.docker.io/v1/ ] && echo '{"Username":"<token>","Secret":"t"}'"#,
    );
    let found = find(&asking(&folder, "docker.io"), "busybox").await;
    assert_eq!(found.auth, token("docker.io", "t"));
}

#[tokio::test]
async fn a_helper_that_does_not_listen_may_answer() {
    let folder = Folder::new();
    folder.helper("x", r#"exec <&-; echo '{"Username":"me","Secret":"hunter2"}'"#);
    assert_eq!(find(&asking(&folder, HARBOR), APP).await.auth, auth(HARBOR, "me", PASSWORD));
}

#[tokio::test]
async fn a_helper_that_is_of_no_use_is_refused_by_key_and_program() {
    let folder = Folder::new();
    for (script, expected) in [
        ("echo boom >&2; echo more >&2; exit 3", "it failed (exit status: 3): boom more"),
        ("echo no key; exit 1", "it failed (exit status: 1): no key"),
        (r#"echo '{"Username":"me","Secret":"hunter2"}'; exit 1"#, "it gave no reason"),
        ("kill -9 $$", "signal: 9"),
        ("", "its answer is not a JSON object"),
        ("echo hunter2", "its answer is not a JSON object"),
        (r#"echo '{"Username":"me","Secret":["hunter2"]}'"#, "its answer is not a JSON object"),
        (r#"echo '{"Username":"me","Secret":""}'"#, "its answer's `Secret`: it is empty"),
        ("printf '\\377\\376'", "its answer is not a JSON object"),
        ("yes hunter2", "its answer is larger than 64 KiB"),
        (
            "echo credentials not found in native keychain; exit 1",
            "a credential helper has no login",
        ),
    ] {
        folder.helper("x", script);
        let said = refused(&asking(&folder, HARBOR), APP).await;
        for part in ["job.registries[0].credentialHelper", "docker-credential-x", expected] {
            assert!(said.contains(part), "{script}: {said}");
        }
    }
}

#[tokio::test]
async fn a_long_complaint_neither_blocks_the_helper_nor_fills_the_error() {
    let folder = Folder::new();
    folder.helper("x", "head -c 1000000 /dev/zero | tr '\\0' x >&2 || exit 7; exit 1");
    let said = refused(&asking(&folder, HARBOR), APP).await;
    assert!(said.contains("exit status: 1") && said.len() < 2000, "{} bytes", said.len());
}

#[tokio::test]
async fn a_helper_is_looked_for_in_the_folders_of_path_alone() {
    let folder = Folder::new();
    let said = refused(&asking(&folder, HARBOR), APP).await;
    assert!(said.contains("it is not in a folder of PATH"), "{said}");

    // A file that is not executable, a folder, and a file in a relative folder are all skipped.
    folder.file("docker-credential-x", "#!/bin/sh\n");
    let below = folder.path().join("below");
    std::fs::create_dir_all(below.join("docker-credential-x")).unwrap();
    let path = format!("{}:{}:.::below", folder.path().display(), below.display());
    let keyring = Keyring::new(vec![by_helper(HARBOR, "x")]).with_path(path.clone());
    let said = refused(&keyring, APP).await;
    assert!(said.contains("it is not in a folder of PATH"), "{said}");

    let last = Folder::new();
    last.helper("x", r#"echo '{"Username":"me","Secret":"hunter2"}'"#);
    let relative =
        format!("{}{}", "../".repeat(20), last.path().strip_prefix("/").unwrap().display());
    assert!(std::path::Path::new(&relative).join("docker-credential-x").exists());
    let keyring = Keyring::new(vec![by_helper(HARBOR, "x")]).with_path(&relative);
    let said = refused(&keyring, APP).await;
    assert!(said.contains("it is not in a folder of PATH"), "{said}");

    let path = format!("{path}:{}", last.path().display());
    let keyring = Keyring::new(vec![by_helper(HARBOR, "x")]).with_path(path);
    assert_eq!(find(&keyring, APP).await.auth, auth(HARBOR, "me", PASSWORD));
}

#[tokio::test]
async fn a_program_that_does_not_start_is_refused() {
    let folder = Folder::new();
    let program = folder.program("docker-credential-x", "");
    std::fs::write(program, "#!/no/such/interpreter\n").unwrap();
    let said = refused(&asking(&folder, HARBOR), APP).await;
    assert!(said.contains("No such file") && said.contains("docker-credential-x"), "{said}");
}

#[tokio::test]
async fn a_helper_that_hangs_is_ended_with_all_that_it_started() {
    let folder = Folder::new();
    let pids = folder.path().join("pids");
    let script = format!("sleep 60 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display());
    folder.helper("x", &script);
    let start = Instant::now();
    let keyring = asking(&folder, HARBOR).with_helper_timeout(Duration::from_secs(2));
    let said = refused(&keyring, APP).await;
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
    assert!(said.contains("it did not answer within 2s"), "{said}");
    assert_ended(&pids).await;
}

#[tokio::test]
async fn a_search_that_is_dropped_leaves_no_helper() {
    let folder = Folder::new();
    let pids = folder.path().join("pids");
    let script = format!("sleep 60 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display());
    folder.helper("x", &script);
    let keyring = asking(&folder, HARBOR).with_helper_timeout(LATE);
    let search = tokio::spawn(async move { refused(&keyring, APP).await });
    eventually("the helper starts", || pids.exists()).await;
    search.abort();
    assert!(search.await.unwrap_err().is_cancelled());
    assert_ended(&pids).await;
}

async fn assert_ended(pids: &std::path::Path) {
    let pids = std::fs::read_to_string(pids).unwrap();
    let pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    for pid in pids {
        let pid = Pid::from_raw(pid).unwrap();
        eventually("a process of the helper still runs", || !runs(pid)).await;
    }
}

/// Returns whether `pid` is a process that has not ended. A zombie has ended.
fn runs(pid: Pid) -> bool {
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let ended = std::fs::read_to_string(stat).is_ok_and(|stat| stat.contains(") Z "));
    test_kill_process(pid).is_ok() && !ended
}

#[tokio::test]
async fn a_process_that_a_helper_leaves_behind_does_not_hold_up_its_answer() {
    let folder = Folder::new();
    // The agent keeps all three pipes open.
    let pid = folder.path().join("pid");
    folder.helper(
        "x",
        &format!(
            r#"sleep 60 & echo $! > {}; echo '{{"Username":"me","Secret":"hunter2"}}'"#,
            pid.display()
        ),
    );
    let start = Instant::now();
    let found = find(&asking(&folder, HARBOR).with_helper_timeout(LATE), APP).await;
    assert_eq!(found.auth, auth(HARBOR, "me", PASSWORD));
    assert!(start.elapsed() < LATE / 2, "{:?}", start.elapsed());
    let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let _ =
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL);
}

#[tokio::test]
async fn a_helper_that_closes_its_output_and_hangs_is_given_up() {
    let folder = Folder::new();
    folder.helper(
        "x",
        r#"echo '{"Username":"me","Secret":"hunter2"}'; exec >&- 2>&-; exec sleep 60"#,
    );
    let start = Instant::now();
    let said = refused(&asking(&folder, HARBOR).with_helper_timeout(SOON), APP).await;
    assert!(said.contains("it did not answer within 300ms"), "{said}");
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
}
