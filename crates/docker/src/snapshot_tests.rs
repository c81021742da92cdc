//! Lives of containers, as the engine's events and inspections show them.

use bollard_stubs::models::EventMessage;

use super::*;
use crate::labels::{ATTEMPT, Decision, Labels, MARKED};

fn event(action: &str, id: &str, more: &[(&str, &str)]) -> EventMessage {
    let mut attributes = serde_json::json!({"image": "x", "name": "longshore-a-1"});
    for (key, value) in more {
        attributes[*key] = (*value).into();
    }
    serde_json::from_value(serde_json::json!({
        "Type": "container", "Action": action,
        "Actor": {"ID": id, "Attributes": attributes},
        "time": 1_795_458_420, "timeNano": 1_795_458_420_246_193_787_i64,
    }))
    .unwrap()
}

/// Action, container, further attributes.
type EventRow<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn after(events: &[EventRow<'_>]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    container_events(events).into_iter().for_each(|event| snapshot.apply(event));
    snapshot
}

/// The events, a second apart.
fn container_events(events: &[EventRow<'_>]) -> Vec<ContainerEvent> {
    let one = |(second, (action, id, more)): (i64, &EventRow<'_>)| {
        let mut more = more.to_vec();
        if !more.iter().any(|(key, _)| *key == MARKED) {
            more.push((ATTEMPT, "a-1"));
        }
        let mut event = event(action, id, &more);
        event.time_nano = Some(second * 1_000_000_000);
        let event = ContainerEvent::read(event)?;
        assert_eq!(event.attempt, "a-1");
        Some(event)
    };
    (1..).zip(events).filter_map(one).collect()
}

fn second(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

fn container(phase: Phase) -> Container {
    let labels = Labels::default();
    Container {
        id: "c".to_owned(),
        created: second(1),
        phase,
        has_restart_policy: false,
        facts: Facts::read(&labels),
    }
}

fn ended(code: i32, started: i64, finished: i64) -> Container {
    let (started_at, finished_at) = (second(started), second(finished));
    container(Phase::Ended(Death { code, started_at, finished_at, ..Death::default() }))
}

const CREATE: EventRow<'_> = ("create", "c", &[]);
const START: EventRow<'_> = ("start", "c", &[]);
const DIE_3: EventRow<'_> = ("die", "c", &[("exitCode", "3")]);
const DIE_0: EventRow<'_> = ("die", "c", &[("exitCode", "0")]);

#[test]
fn the_first_end_counts_and_a_further_start_is_reported() {
    let snapshot = after(&[CREATE, START, DIE_3, START, DIE_0, START]);
    assert_eq!(snapshot.death.as_ref().map(|death| death.code), Some(3));
    assert_eq!(snapshot.started_at, second(2));
    let again = snapshot.describe_further_starts("x");
    assert_eq!(
        again,
        ["x (start 2 at 1970-01-01T00:00:04Z)", "x (start 3 at 1970-01-01T00:00:06Z)"]
    );
    assert!(snapshot.end_of_output() > second(3) && snapshot.end_of_output() < second(4));
}

#[test]
fn events_that_the_engine_repeats_are_no_restart() {
    let life = [CREATE, START, DIE_3];
    let mut snapshot = after(&life);
    for event in container_events(&life).into_iter().skip(1) {
        snapshot.apply(event);
    }
    assert!(!snapshot.started_again());
    snapshot.apply_inspection(Some(&ended(3, 2, 3)), None);
    assert!(!snapshot.started_again());
    assert_eq!(snapshot.death.unwrap().code, 3);
}

#[test]
fn an_inspection_of_a_later_run_does_not_replace_the_first_end() {
    let mut snapshot = after(&[CREATE, START, DIE_3]);
    snapshot.apply_inspection(Some(&ended(0, 4, 5)), None);
    assert_eq!(snapshot.death.as_ref().map(|death| death.code), Some(3));
    assert_eq!(snapshot.describe_further_starts("x"), ["x (start 2 at 1970-01-01T00:00:04Z)"]);
}

#[test]
fn the_engines_memory_of_a_whole_life_shows_the_first_end() {
    let mut snapshot = Snapshot::default();
    snapshot.apply_inspection(Some(&ended(0, 4, 5)), None);
    snapshot.apply_past_events(&container_events(&[CREATE, START, DIE_3, START, DIE_0]));
    assert_eq!(snapshot.death.as_ref().map(|death| death.code), Some(3));
    assert_eq!(snapshot.describe_further_starts("x"), ["x (start 2 at 1970-01-01T00:00:04Z)"]);
}

#[test]
fn the_end_of_an_unknown_run_is_not_taken_for_the_first() {
    // What came before is forgotten: which run ended with 3?
    for past in [&[DIE_3, START, DIE_0][..], &[START, DIE_3, START, DIE_0]] {
        let mut snapshot = Snapshot::default();
        snapshot.apply_inspection(Some(&ended(0, 9, 10)), None);
        snapshot.apply_past_events(&container_events(past));
        assert_eq!(snapshot.death, None, "{past:?}");
        assert!(snapshot.is_over() && snapshot.started_again());
    }
    let mut snapshot = Snapshot::default();
    let restarted = Phase::Restarted { started_at: second(4), starts: 2 };
    snapshot.apply_inspection(Some(&container(restarted)), None);
    snapshot.apply_past_events(&[]);
    assert!(snapshot.is_over() && snapshot.death.is_none());
    snapshot.apply(container_events(&[DIE_0]).remove(0));
    assert_eq!(snapshot.death, None, "the end of the second run");
}

#[test]
fn one_run_that_the_engine_remembers_in_part_keeps_its_inspected_end() {
    for past in [&[][..], &[DIE_3], &[START, DIE_3], &[CREATE, START, DIE_3]] {
        let mut snapshot = Snapshot::default();
        snapshot.apply_inspection(Some(&ended(3, 2, 3)), None);
        snapshot.apply_past_events(&container_events(past));
        assert_eq!(snapshot.death.as_ref().map(|death| death.code), Some(3), "{past:?}");
        assert!(!snapshot.started_again());
    }
}

#[test]
fn a_signal_after_the_end_is_not_its_cause() {
    let kill: EventRow<'_> = ("kill", "c", &[("signal", "15")]);
    assert_eq!(after(&[CREATE, START, kill, DIE_0]).signals.cause(0), Some(15));
    assert_eq!(after(&[CREATE, START, DIE_0, START, kill]).signals.cause(0), None);
    let mut snapshot = Snapshot::default();
    snapshot.apply_inspection(Some(&ended(0, 2, 4)), None);
    snapshot.apply_past_events(&container_events(&[kill, DIE_0]));
    assert_eq!(snapshot.signals.cause(0), Some(15), "no process heard it");
}

#[test]
fn a_life_from_creation_to_death_is_known_without_looking() {
    let snapshot = after(&[
        ("create", "c", &[("longshore.dev/timeout", "5s")]),
        ("attach", "c", &[]),
        ("start", "c", &[]),
        ("die", "c", &[("exitCode", "3")]),
    ]);
    assert!(snapshot.synced && snapshot.started && snapshot.is_over());
    assert_eq!(snapshot.coverage, Coverage::All);
    assert_eq!(snapshot.death.unwrap().code, 3);
    assert_eq!(snapshot.facts.unwrap().timeout, Some(std::time::Duration::from_secs(5)));
}

#[test]
fn a_life_whose_beginning_was_missed_is_not_trusted() {
    let snapshot = after(&[("start", "c", &[]), ("die", "c", &[("exitCode", "0")])]);
    assert!(!snapshot.synced);
    assert_eq!(snapshot.coverage, Coverage::None);
}

#[test]
fn what_was_missed_is_not_made_up_for_by_looking() {
    let mut snapshot = after(&[("create", "c", &[]), ("start", "c", &[])]);
    snapshot.invalidate();
    snapshot.apply_inspection(None, None);
    assert!(snapshot.synced);
    assert_eq!(snapshot.coverage, Coverage::Part);
}

#[test]
fn the_first_mark_stays() {
    let mark = |decision| [(MARKED, "a-1"), ("longshore.dev/mark", decision)];
    let snapshot = after(&[
        ("create", "c", &[]),
        ("create", "m", &mark("deadline")),
        ("create", "n", &mark("cancelled")),
    ]);
    assert_eq!(snapshot.mark.unwrap().decision, Decision::Deadline);
}

#[test]
fn the_removal_of_a_container_that_was_replaced_is_not_the_end() {
    let snapshot = after(&[
        ("create", "old", &[]),
        ("create", "new", &[]),
        ("destroy", "old", &[]),
        ("start", "new", &[]),
    ]);
    assert!(snapshot.started && !snapshot.is_over());
}

/// A job that the lack of memory killed ended as one with code 137, now and then.
#[test]
fn an_oom_that_the_engine_reports_after_the_end_was_ignored() {
    const OOM: EventRow<'_> = ("oom", "c", &[]);
    const DIE_137: EventRow<'_> = ("die", "c", &[("exitCode", "137")]);
    let is_oom = |snapshot: &Snapshot| snapshot.death.as_ref().unwrap().oom_killed;
    assert!(is_oom(&after(&[CREATE, START, OOM, DIE_137])));
    let late = after(&[CREATE, START, DIE_137, OOM]);
    assert!(is_oom(&late));
    let mut inspected = late;
    // Docker 20.10 writes what it knew at the end.
    inspected.apply_inspection(Some(&ended(137, 2, 3)), None);
    assert!(is_oom(&inspected));
    assert!(!is_oom(&after(&[CREATE, START, DIE_137, START, OOM])), "of the second run");
    let mut unheard = Snapshot::default();
    unheard.apply_inspection(Some(&ended(137, 2, 3)), None);
    unheard.apply_past_events(&container_events(&[CREATE, START, DIE_137, OOM]));
    assert!(is_oom(&unheard));
}

/// A job that had ended with 0 ended with 128, because a later `docker start` had failed.
#[test]
fn a_code_that_a_failed_start_wrote_is_not_that_of_the_job() {
    let mut failed = ended(128, 2, 3);
    if let Phase::Ended(death) = &mut failed.phase {
        death.overwritten = true;
    }
    let code = |snapshot: &Snapshot| snapshot.death.as_ref().map(|it| (it.code, it.overwritten));
    let mut heard = after(&[CREATE, START, DIE_0]);
    heard.apply_inspection(Some(&failed), None);
    assert_eq!(code(&heard), Some((0, false)));
    let mut unheard = Snapshot::default();
    unheard.apply_inspection(Some(&failed), None);
    assert_eq!(code(&unheard), Some((128, true)));
    unheard.apply_past_events(&container_events(&[CREATE, START, DIE_0]));
    assert_eq!(code(&unheard), Some((0, false)));
}
