//! Tests what the command says while it waits.

use std::fs;

use crate::home::{Home, Ran};

/// Detaches a job about which nothing can be known, and has `command` wait for its end.
fn wait_in_vain(command: &[&str]) {
    let home = Home::with_processes();
    let ran = home.run(&["run", "-q", "--detach", "--", "sleep", "600"]).exits(0);
    let id = ran.stdout.trim();
    let attempts = home.path(".local/state/longshore/process/attempts");
    let record = attempts.join(format!("{id}-1/record.jsonl"));
    // Nothing can be read, and nothing be concluded from that.
    fs::rename(&record, home.path("record")).expect("the record is there");
    fs::create_dir(&record).expect("a folder in its place");
    let ran: Ran = home.run_with(&[("JOB_LOSTAFTER", "7s")], &[command, &[id]].concat());
    ran.says(&["process, for 5 s: failed to read the attempt", "Is a directory"]);
    match command[0] {
        "wait" => {
            let ran = ran.exits(125);
            ran.says(&["was lost", "no answer about the job from process for 7s"]);
            // It still runs.
            fs::remove_dir(&record).expect("the folder is empty");
            fs::rename(home.path("record"), &record).expect("the record is back");
            home.run(&["rm", id]).exits(0);
        }
        "cancel" => {
            let ran = ran.exits(0);
            ran.says(&["waiting for job", "which was asked to end 6 s ago", "was lost"]);
            home.run(&["rm", id]).exits(0);
        }
        _ => ran.exits(0).says(&[id]),
    }
    assert_eq!(fs::read_dir(attempts).expect("the folder is there").count(), 0);
}

#[test]
fn a_job_about_which_nothing_can_be_known_is_said_and_lost_in_the_end() {
    std::thread::scope(|scope| {
        for command in [&["wait"][..], &["cancel", "--grace", "1s"], &["rm", "--force"]] {
            scope.spawn(move || wait_in_vain(command));
        }
    });
}
