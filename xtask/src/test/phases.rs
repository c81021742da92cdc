//! Determines which of the cases that need a backend run at the same time.

use super::backend_names::HELM;
use super::lanes::Lane;
use super::plan::{Case, Suite};

/// Returns the phases of the tests of the backends, which run one after the other, and the lanes of
/// each, which run in parallel.
pub(crate) fn phases(cases: &[Case]) -> Vec<Vec<Lane<'_>>> {
    let lane = |suites: &[Suite], wanted: &dyn Fn(Option<&str>) -> bool| {
        let chosen = |case: &&Case| {
            let program = !case.kind.is_empty();
            program && suites.contains(&case.suite) && wanted(case.backend.as_deref())
        };
        Lane::one_by_one(cases.iter().filter(chosen).collect())
    };
    let docker = |backend: Option<&str>| backend == Some("docker");
    let cluster = |backend: Option<&str>| matches!(backend, Some("kubernetes" | HELM));
    let suites = [Suite::Integration, Suite::Conformance, Suite::EndToEnd];
    vec![
        // One program at a time for each engine, and for the cluster. The cluster's take longest,
        // and wait for its timers most of the time.
        vec![
            lane(&suites, &cluster),
            lane(&suites, &docker),
            lane(&suites, &|it| it.is_some() && !docker(it) && !cluster(it)),
        ],
        vec![lane(&[Suite::EndToEnd], &|it| it.is_none())],
        // Each of these uses all backends at once.
        vec![lane(&[Suite::PullPolicy], &|_| true)],
        vec![lane(&[Suite::Faults], &|_| true)],
        vec![lane(&[Suite::Accidents], &|_| true)],
        vec![lane(&[Suite::Disruptive], &|_| true)],
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::test::plan::plan;
    use crate::workspace::Workspace;

    #[test]
    fn each_program_that_needs_a_backend_runs_once_and_alone_on_it() {
        let cases = plan(&Workspace::load().unwrap());
        let phases = phases(&cases);
        let on_a_backend = |case: &&Case| {
            !case.kind.is_empty() && (case.backend.is_some() || !case.needs.is_empty())
        };
        let mut planned: Vec<String> = cases.iter().filter(on_a_backend).map(Case::label).collect();
        let mut run = Vec::new();
        for lanes in &phases {
            let mut seen = BTreeSet::new();
            for lane in lanes {
                let backends: BTreeSet<_> =
                    lane.cases().iter().filter_map(|case| case.backend.as_deref()).collect();
                assert!(backends.iter().all(|backend| seen.insert(*backend)), "{lanes:#?}");
                run.extend(lane.cases().iter().map(|case| case.label()));
            }
        }
        planned.sort();
        run.sort();
        assert_eq!(run, planned);
    }
}
