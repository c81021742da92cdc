//! Everything that a job starts.

use std::time::Duration;

use futures::StreamExt;
use longshore_core::{Event, Outcome, Runner};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Bench, brief, follower_without_descriptors, is_alive, line_in, runner, shell, stat, until,
};

/// A script that starts descendants of every kind, each of which ignores TERM, writes their pids to
/// a file, and then does `rest`.
fn family(pids: &std::path::Path, rest: &str) -> String {
    let stubborn = "trap \"\" TERM HUP; while :; do sleep 1; done";
    let pids = pids.display();
    format!(
        "sh -c '{stubborn}' & a=$!
         setsid sh -c '{stubborn}' & b=$!
         env -i /bin/sh -c '{stubborn}' & c=$!
         (setsid sh -c 'sh -c \"echo \\$\\$ > {pids}.d; exec sleep 1000\" &' &)
         while ! test -s {pids}.d; do sleep 0.01; done
         echo $$ $a $b $c $(cat {pids}.d) > {pids}.tmp; mv {pids}.tmp {pids}
         {rest}"
    )
}

fn numbers(line: &str) -> Vec<i32> {
    line.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

pub async fn a_cancelled_job_leaves_no_grandchild() {
    let bench = Bench::new();
    let pids = bench.folder.path().join("pids");
    let handle = bench.start(shell(&family(&pids, "wait"))).await;
    let family = numbers(&line_in(&pids).await);
    assert_eq!(family.len(), 5);
    assert!(family.iter().all(|pid| is_alive(*pid)));
    bench.runner.cancel(&handle, Duration::from_millis(200)).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome, Outcome::Cancelled { code: Some(143) });
    assert!(family.iter().all(|pid| stat(*pid).is_none()), "neither alive nor a zombie");
}

pub async fn a_job_that_ended_leaves_no_daemon_that_keeps_its_output_open() {
    let bench = Bench::new();
    let pids = bench.folder.path().join("pids");
    let handle = bench.start(brief(&family(&pids, "echo done; exit 7"))).await;
    let outcome = bench.end(&handle).await.outcome;
    assert_eq!(outcome, Outcome::Exited { code: 7, signal: None });
    let family = numbers(&line_in(&pids).await);
    assert!(family.iter().all(|pid| stat(*pid).is_none()), "neither alive nor a zombie");
    assert_eq!(bench.output(&handle).await.0, b"done\n");
}

pub async fn what_is_forked_while_the_job_is_told_to_end_is_told_too() {
    let bench = Bench::new();
    // The main process has ended when most of them fork.
    let mut spec = shell("for i in $(seq 40); do (setsid sh -c 'sleep 1000; :' &); done; exit 7");
    // Longer than this test waits for the end.
    spec.grace_period = Some("10m".parse().unwrap());
    let handle = bench.start(spec).await;
    let outcome = bench.end(&handle).await.outcome;
    assert_eq!(outcome, Outcome::Exited { code: 7, signal: None });
}

pub async fn an_orphan_is_reaped_while_the_job_runs() {
    let bench = Bench::new();
    let pids = bench.folder.path().join("pids");
    let script = format!("(sh -c 'echo $$ > {}' &); sleep 1000", pids.display());
    let handle = bench.start(shell(&script)).await;
    let orphan: i32 = line_in(&pids).await.parse().unwrap();
    until("the orphan is reaped", || stat(orphan).is_none()).await;
    bench.runner.remove(&handle).await.unwrap();
}

pub async fn a_killed_supervisor_makes_the_job_lost_and_its_tree_is_killed() {
    let bench = Bench::new();
    let pids = bench.folder.path().join("pids");
    let handle = bench.start(shell(&family(&pids, "wait"))).await;
    let family = numbers(&line_in(&pids).await);
    let supervisor = stat(family[0]).unwrap().1;
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
    // Seen from another runner, as by a later command.
    let report = crate::support::end(&bench.again(), &handle).await;
    assert_eq!(report.outcome.kind(), "Lost");
    assert!(report.started_at.is_some());
    assert!(family.iter().all(|pid| !is_alive(*pid)), "{family:?}");
    assert_eq!(bench.end(&handle).await, report, "every observer sees the same end");
}

pub async fn a_follower_that_lacks_descriptors_never_kills_the_job() {
    let bench = Bench::new();
    let attempt = bench.attempt(shell("sleep 1000"));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    let mut follower = follower_without_descriptors(bench.folder.path(), &attempt);
    let seen = tokio::task::spawn_blocking(move || follower.output().unwrap()).await.unwrap();
    let seen = String::from_utf8(seen.stdout).unwrap();
    assert!(seen.contains("Too many open files"), "it lacked none: {seen}");
    assert!(seen.contains("Started"), "it had enough in the end: {seen}");
    assert!(!seen.contains("Ended"), "{seen}");

    bench.runner.cancel(&handle, Duration::ZERO).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome.kind(), "Cancelled");
}

pub async fn a_job_whose_directory_somebody_deletes_is_lost_and_killed() {
    let bench = Bench::new();
    let pids = bench.folder.path().join("pids");
    let attempt = bench.attempt(shell(&family(&pids, "wait")));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    let family = numbers(&line_in(&pids).await);
    let mut events = bench.runner.events(&handle);
    assert!(matches!(events.next().await, Some(Ok(Event::Started(_)))));
    assert!(matches!(events.next().await, Some(Ok(Event::Running))));
    let ended = tokio::spawn(async move { events.next().await });
    // The stream begins to watch after its first events. It also detects an earlier deletion.
    std::fs::rename(bench.directory(&attempt), bench.folder.path().join("elsewhere")).unwrap();
    let Some(Ok(Event::Ended(report))) = ended.await.unwrap() else { panic!("no end") };
    assert_eq!(report.outcome.kind(), "Lost");
    for pid in family {
        until("its processes are gone", || !is_alive(pid)).await;
    }
}

/// The ways in which another program, or a power failure, damages the record of an attempt.
fn damage(record: &std::path::Path, round: usize) {
    match round {
        0 => std::fs::write(record, "").unwrap(),
        1 => std::fs::write(record, "rubbish\n").unwrap(),
        _ => std::fs::remove_file(record).unwrap(),
    }
}

pub async fn a_job_whose_record_is_damaged_runs_on_and_can_be_cancelled() {
    let bench = Bench::new();
    for round in 0..2 {
        let attempt = bench.attempt(shell("sleep 1000"));
        let handle = bench.launch(&attempt).await.unwrap().handle;
        damage(&bench.directory(&attempt).join("record.jsonl"), round);
        // Seen from another runner, as by a later command.
        let runner = bench.again();
        let mut events = runner.events(&handle);
        let quiet = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        runner.cancel(&handle, Duration::ZERO).await.unwrap();
        let Some(Ok(Event::Ended(report))) = events.next().await else { panic!("no end") };
        assert_eq!(report.outcome, Outcome::Cancelled { code: Some(137) });
        runner.remove(&handle).await.unwrap();
    }
}

pub async fn a_job_whose_record_cannot_be_read_is_ended_before_it_is_removed() {
    let bench = Bench::new();
    let attempt = bench.attempt(shell("echo $$; exec sleep 1000"));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    let directory = bench.directory(&attempt);
    let job = numbers(&line_in(&directory.join("stdout")).await)[0];
    std::fs::remove_file(directory.join("record.jsonl")).unwrap();
    std::fs::create_dir(directory.join("record.jsonl")).unwrap();
    bench.again().remove(&handle).await.unwrap();
    assert!(stat(job).is_none() && !directory.exists());
}

pub async fn a_job_in_a_linked_state_directory_with_a_damaged_record_runs_on() {
    let bench = Bench::new();
    let attempt = bench.attempt(shell("exec sleep 1000"));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    let folder = tempfile::tempdir().unwrap();
    let linked = folder.path().join("linked");
    std::os::unix::fs::symlink(bench.folder.path(), &linked).unwrap();
    damage(&bench.directory(&attempt).join("record.jsonl"), 0);
    let runner = runner(&linked);
    let mut events = runner.events(&runner.handle(&attempt));
    let quiet = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    bench.runner.remove(&handle).await.unwrap();
}

pub async fn a_job_whose_first_thread_has_ended_can_be_cancelled() {
    let bench = Bench::new();
    let program = std::env::current_exe().unwrap();
    let attempt = bench.attempt(shell(&format!("exec {} --one-thread-less", program.display())));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    let stdout = bench.directory(&attempt).join("stdout");
    let job = numbers(&line_in(&stdout).await)[0];
    until("its first thread has ended", || stat(job).is_some_and(|(state, _)| state == 'Z')).await;
    bench.runner.cancel(&handle, Duration::from_secs(1000)).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome, Outcome::Cancelled { code: Some(143) });
}

pub async fn a_job_whose_record_is_damaged_is_lost_once_its_supervisor_is_gone() {
    let bench = Bench::new();
    for round in 0..3 {
        let pids = bench.folder.path().join(format!("pids-{round}"));
        let attempt = bench.attempt(shell(&family(&pids, "wait")));
        let handle = bench.launch(&attempt).await.unwrap().handle;
        let family = numbers(&line_in(&pids).await);
        let supervisor = stat(family[0]).unwrap().1;
        kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
        until("it is gone", || !is_alive(supervisor)).await;
        damage(&bench.directory(&attempt).join("record.jsonl"), round);
        let runner = bench.again();
        let adopted = runner.adopt(&bench.installation).await.unwrap();
        assert_eq!(adopted, std::slice::from_ref(&handle));
        runner.cancel(&handle, Duration::ZERO).await.unwrap();
        let report = crate::support::end(&runner, &handle).await;
        assert_eq!(report.outcome.kind(), "Lost");
        assert!(report.outcome.to_string().contains("is damaged"), "{}", report.outcome);
        // What has left the session, cleared its environment and lost its parent is not found.
        for pid in [family[0], family[1], family[2]] {
            until("its processes are gone", || !is_alive(pid)).await;
        }
        runner.remove(&handle).await.unwrap();
        assert!(runner.adopt(&bench.installation).await.unwrap().is_empty());
        for pid in family {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}
