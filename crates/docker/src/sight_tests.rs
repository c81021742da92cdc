//! Lives of containers, as the engine's events and inspections show them.

use super::*;
use crate::labels::Decision;

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
type Told<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn told(events: &[Told<'_>]) -> Sight {
    let mut sight = Sight::default();
    happenings(events).into_iter().for_each(|happening| sight.take(happening));
    sight
}

/// The events, a second apart.
fn happenings(events: &[Told<'_>]) -> Vec<Happening> {
    let one = |(second, (action, id, more)): (i64, &Told<'_>)| {
        let mut more = more.to_vec();
        if !more.iter().any(|(key, _)| *key == MARKED) {
            more.push((ATTEMPT, "a-1"));
        }
        let mut event = event(action, id, &more);
        event.time_nano = Some(second * 1_000_000_000);
        let happening = Happening::read(event)?;
        assert_eq!(happening.attempt, "a-1");
        Some(happening)
    };
    (1..).zip(events).filter_map(one).collect()
}

fn second(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

fn seen(phase: Phase) -> Container {
    let labels = Labels::default();
    Container {
        id: "c".to_owned(),
        created: second(1),
        phase,
        restarts: false,
        facts: Facts::read(&labels),
    }
}

fn ended(code: i32, started: i64, finished: i64) -> Container {
    let (started_at, finished_at) = (second(started), second(finished));
    seen(Phase::Ended(Death { code, oom_killed: false, started_at, finished_at }))
}

const CREATE: Told<'_> = ("create", "c", &[]);
const START: Told<'_> = ("start", "c", &[]);
const DIE_3: Told<'_> = ("die", "c", &[("exitCode", "3")]);
const DIE_0: Told<'_> = ("die", "c", &[("exitCode", "0")]);

#[test]
fn the_first_end_counts_and_a_further_start_is_reported() {
    let sight = told(&[CREATE, START, DIE_3, START, DIE_0, START]);
    assert_eq!(sight.death.as_ref().map(|death| death.code), Some(3));
    assert_eq!(sight.started_at, second(2));
    let again = sight.further_starts("x");
    assert_eq!(
        again,
        ["x (start 2 at 1970-01-01T00:00:04Z)", "x (start 3 at 1970-01-01T00:00:06Z)"]
    );
    assert!(sight.end_of_output() > second(3) && sight.end_of_output() < second(4));
}

#[test]
fn events_that_the_engine_repeats_are_no_restart() {
    let life = [CREATE, START, DIE_3];
    let mut sight = told(&life);
    for happening in happenings(&life).into_iter().skip(1) {
        sight.take(happening);
    }
    assert!(!sight.started_again());
    sight.look(Some(&ended(3, 2, 3)), None);
    assert!(!sight.started_again());
    assert_eq!(sight.death.unwrap().code, 3);
}

#[test]
fn an_inspection_of_a_later_run_does_not_replace_the_first_end() {
    let mut sight = told(&[CREATE, START, DIE_3]);
    sight.look(Some(&ended(0, 4, 5)), None);
    assert_eq!(sight.death.as_ref().map(|death| death.code), Some(3));
    assert_eq!(sight.further_starts("x"), ["x (start 2 at 1970-01-01T00:00:04Z)"]);
}

#[test]
fn the_engines_memory_of_a_whole_life_shows_the_first_end() {
    let mut sight = Sight::default();
    sight.look(Some(&ended(0, 4, 5)), None);
    sight.recall(&happenings(&[CREATE, START, DIE_3, START, DIE_0]));
    assert_eq!(sight.death.as_ref().map(|death| death.code), Some(3));
    assert_eq!(sight.further_starts("x"), ["x (start 2 at 1970-01-01T00:00:04Z)"]);
}

#[test]
fn the_end_of_an_unknown_run_is_not_taken_for_the_first() {
    // What came before is forgotten: which run ended with 3?
    for past in [&[DIE_3, START, DIE_0][..], &[START, DIE_3, START, DIE_0]] {
        let mut sight = Sight::default();
        sight.look(Some(&ended(0, 9, 10)), None);
        sight.recall(&happenings(past));
        assert_eq!(sight.death, None, "{past:?}");
        assert!(sight.is_over() && sight.started_again());
    }
    let mut sight = Sight::default();
    let restarted = Phase::Restarted { started_at: second(4), starts: 2 };
    sight.look(Some(&seen(restarted)), None);
    sight.recall(&[]);
    assert!(sight.is_over() && sight.death.is_none());
    sight.take(happenings(&[DIE_0]).remove(0));
    assert_eq!(sight.death, None, "the end of the second run");
}

#[test]
fn one_run_that_the_engine_remembers_in_part_keeps_its_inspected_end() {
    for past in [&[][..], &[DIE_3], &[START, DIE_3], &[CREATE, START, DIE_3]] {
        let mut sight = Sight::default();
        sight.look(Some(&ended(3, 2, 3)), None);
        sight.recall(&happenings(past));
        assert_eq!(sight.death.as_ref().map(|death| death.code), Some(3), "{past:?}");
        assert!(!sight.started_again());
    }
}

#[test]
fn a_signal_after_the_end_is_not_its_cause() {
    let kill: Told<'_> = ("kill", "c", &[("signal", "15")]);
    assert_eq!(told(&[CREATE, START, kill, DIE_0]).signals.cause(0), Some(15));
    assert_eq!(told(&[CREATE, START, DIE_0, START, kill]).signals.cause(0), None);
    let mut sight = Sight::default();
    sight.look(Some(&ended(0, 2, 4)), None);
    sight.recall(&happenings(&[kill, DIE_0]));
    assert_eq!(sight.signals.cause(0), Some(15), "no process heard it");
}

#[test]
fn a_life_from_creation_to_death_is_known_without_looking() {
    let sight = told(&[
        ("create", "c", &[("longshore.dev/timeout", "5s")]),
        ("attach", "c", &[]),
        ("start", "c", &[]),
        ("die", "c", &[("exitCode", "3")]),
    ]);
    assert!(sight.trusted && sight.started && sight.is_over());
    assert_eq!(sight.heard, Heard::All);
    assert_eq!(sight.death.unwrap().code, 3);
    assert_eq!(sight.facts.unwrap().timeout, Some(std::time::Duration::from_secs(5)));
}

#[test]
fn a_life_whose_beginning_was_missed_is_not_trusted() {
    let sight = told(&[("start", "c", &[]), ("die", "c", &[("exitCode", "0")])]);
    assert!(!sight.trusted);
    assert_eq!(sight.heard, Heard::Nothing);
}

#[test]
fn what_was_missed_is_not_made_up_for_by_looking() {
    let mut sight = told(&[("create", "c", &[]), ("start", "c", &[])]);
    sight.doubt();
    sight.look(None, None);
    assert!(sight.trusted);
    assert_eq!(sight.heard, Heard::Some);
}

#[test]
fn the_first_mark_stays() {
    let mark = |decision| [(MARKED, "a-1"), ("longshore.dev/mark", decision)];
    let sight = told(&[
        ("create", "c", &[]),
        ("create", "m", &mark("deadline")),
        ("create", "n", &mark("cancelled")),
    ]);
    assert_eq!(sight.mark.unwrap().decision, Decision::Deadline);
}

#[test]
fn the_removal_of_a_container_that_was_replaced_is_not_the_end() {
    let sight = told(&[
        ("create", "old", &[]),
        ("create", "new", &[]),
        ("destroy", "old", &[]),
        ("start", "new", &[]),
    ]);
    assert!(sight.started && !sight.is_over());
}
