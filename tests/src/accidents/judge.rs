//! Compares what came of a situation with what was expected.

use std::fmt::Write as _;
use std::time::Duration;

use super::situation::{Expected, Site, Situation};
use super::stage::Stage;
use crate::clock::Clock;
use crate::running::Ran;

/// One line of the printed table.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) site: Site,
    pub(super) situation: &'static str,
    pub(super) text: String,
}

/// What came of a row.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) line: Line,
    /// Everything that is not as expected.
    pub(super) problems: Vec<String>,
}

/// Plays `situation` at `site`, and judges it.
pub(super) fn play(situation: &Situation, site: Site) -> anyhow::Result<Judgement> {
    let mut stage = Stage::new(site, &format!("{site}::{}", situation.name))?;
    if let Some(ahead) = situation.clock {
        let clock = Clock::new(stage.bench.folders.root())?;
        clock.set(ahead)?;
        stage.bench.clock = Some(clock);
    }
    let played =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (situation.accident)(&mut stage)));
    let played = played.unwrap_or_else(|_| Err(anyhow::anyhow!("the accident panicked")));
    let mut problems = Vec::new();
    let left = stage.clear();
    problems.extend(left.as_ref().err().map(|error| format!("not cleared: {error:#}")));
    problems.extend(stage.restore().err().map(|error| format!("not restored: {error:#}")));
    let (starts, took) = (stage.starts(), stage.took().unwrap_or_default());
    let seen = match &played {
        Ok(ran) => {
            problems.extend(compare(&situation.expected, ran, took, starts));
            describe(ran)
        }
        Err(error) => {
            problems.push(format!("{error:#}"));
            "not played".to_owned()
        }
    };
    let left = match left {
        Ok(0) => "nothing".to_owned(),
        Ok(forced) => format!("nothing (rm --force {forced})"),
        Err(_) => "SOMETHING".to_owned(),
    };
    let row = Row { situation, seen: &seen, took, starts, left: &left };
    let line = Line { site, situation: situation.name, text: row.text(site) };
    Ok(Judgement { line, problems })
}

fn compare(expected: &Expected, ran: &Ran, took: Duration, starts: usize) -> Vec<String> {
    let mut problems = Vec::new();
    let kind = kind(ran);
    if kind != expected.kind || ran.code() != Some(expected.code) {
        problems.push(format!(
            "expected {} with exit code {}, seen {kind} with {}",
            expected.kind, expected.code, ran.status
        ));
    }
    let said = said(ran);
    let missing = expected.words.iter().filter(|words| !said.contains(**words));
    problems.extend(missing.map(|words| format!("it does not say {words:?}")));
    if took > Duration::from_secs(expected.within) {
        problems.push(format!("it took {took:?}, more than {} s", expected.within));
    }
    if !expected.starts.allows(starts) {
        problems.push(format!("expected to start {:?}, started {starts} times", expected.starts));
    }
    if !problems.is_empty() {
        problems.push(format!("what it said: {said}"));
    }
    problems
}

fn kind(ran: &Ran) -> String {
    let kind = ran.outcome().ok().and_then(|outcome| outcome["kind"].as_str());
    kind.unwrap_or("no result").to_owned()
}

/// Returns everything that the command says about the outcome.
fn said(ran: &Ran) -> String {
    let mut said = ran.stderr.clone();
    if let Some(result) = &ran.result {
        // Writing to a String cannot fail.
        let _ = write!(said, " {} {}", result["outcome"], result["passedOver"]);
    }
    said
}

fn describe(ran: &Ran) -> String {
    match ran.code() {
        Some(code) => format!("{} ({code})", kind(ran)),
        None => format!("{} ({})", kind(ran), ran.status),
    }
}

struct Row<'a> {
    situation: &'a Situation,
    seen: &'a str,
    took: Duration,
    starts: usize,
    left: &'a str,
}

pub(super) const HEAD: &str = "\
situation                                                 runner      outcome                \
 time (bound)  starts  left after gc  reason\n";

impl Row<'_> {
    fn text(&self, site: Site) -> String {
        let expected = &self.situation.expected;
        let time = format!("{:.1} ({}) s", self.took.as_secs_f64(), expected.within);
        let reason = expected.words.join(" … ");
        format!(
            "{:<56}  {site:<10}  {:<22} {time:>13}  {:>6}  {:<13}  {reason}",
            self.situation.name, self.seen, self.starts, self.left
        )
        .trim_end()
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use serde_json::json;

    use super::super::situation::{Starts, exits, lost};
    use super::*;

    fn ran(code: i32, kind: &str, message: &str) -> Ran {
        Ran {
            status: ExitStatus::from_raw(code << 8),
            stdout: Vec::new(),
            stderr: String::new(),
            result: Some(json!({"outcome": {"kind": kind, "message": message}})),
        }
    }

    #[test]
    fn a_wrong_kind_code_reason_time_or_count_is_a_problem() {
        let second = Duration::from_secs(1);
        let fits = ran(125, "Lost", "somebody deleted the Pod");
        let expected = lost(&["deleted the Pod"]).within(2);
        assert!(compare(&expected, &fits, second, 1).is_empty());
        for (ran, took, starts) in [
            (ran(125, "Evicted", "somebody deleted the Pod"), second, 1),
            (ran(0, "Lost", "somebody deleted the Pod"), second, 1),
            (ran(125, "Lost", "somebody deleted the Job"), second, 1),
            (fits, Duration::from_secs(3), 1),
            (ran(125, "Lost", "somebody deleted the Pod"), second, 2),
        ] {
            assert!(!compare(&expected, &ran, took, starts).is_empty(), "{ran:?} {starts}");
        }
    }

    #[test]
    fn a_job_that_starts_twice_is_allowed_only_where_others_restart_it() {
        assert!(exits(0).starts.allows(1) && !exits(0).starts.allows(0));
        for (starts, allowed) in [
            (Starts::Never, [true, false, false]),
            (Starts::Once, [false, true, false]),
            (Starts::ByOthers, [false, true, true]),
        ] {
            let seen: Vec<_> = (0..3).map(|count| starts.allows(count)).collect();
            assert_eq!(seen, allowed, "{starts:?}");
        }
    }
}
