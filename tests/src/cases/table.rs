//! Assigns the cases to the suites.

use super::{
    Case, attach, bad_files, bad_jobs, bad_settings, disruptive, docker_only, doctor, elsewhere,
    exec, fallback, helm, helm_examples, helm_lost, helm_rights, helm_upgrade, images, jobs, kill,
    kubernetes_only, live_restore, lost_journal, operating, outcomes, output, plan, process_only,
    results, secrets, services, settings, signals, stdin, stories, timeouts, tty,
};
use crate::suite::Suite;

/// The cases that every backend passes.
const EVERYWHERE: &[&[Case]] = &[
    outcomes::CASES,
    results::CASES,
    output::CASES,
    secrets::CASES,
    signals::CASES,
    jobs::CASES,
    attach::CASES,
    exec::CASES,
    kill::CASES,
    lost_journal::CASES,
    timeouts::CASES,
    plan::CASES,
    doctor::CASES,
    images::CASES,
    stories::CASES,
    stdin::CASES,
    tty::CASES,
    services::CASES,
    bad_jobs::CASES,
];

/// The cases of the chart.
const HELM: &[&[Case]] = &[
    helm::CASES,
    helm_examples::CASES,
    helm_lost::CASES,
    helm_rights::CASES,
    helm_upgrade::CASES,
    operating::CASES,
];

/// Returns the cases of `suite`.
pub(crate) fn of(suite: Suite) -> Vec<Case> {
    let (common, own): (&[&[Case]], &[&[Case]]) = match suite {
        Suite::Process => (
            EVERYWHERE,
            &[
                process_only::CASES,
                settings::CASES,
                fallback::CASES,
                bad_settings::CASES,
                bad_files::CASES,
            ],
        ),
        Suite::Docker => (EVERYWHERE, &[docker_only::CASES, elsewhere::CASES]),
        Suite::Kubernetes => (EVERYWHERE, &[kubernetes_only::CASES, elsewhere::CASES]),
        Suite::Helm => (&[], HELM),
        Suite::Disruptive => (&[], &[disruptive::CASES, live_restore::CASES]),
    };
    common.iter().chain(own).flat_map(|cases| cases.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_for_two_cases() {
        for suite in
            [Suite::Process, Suite::Docker, Suite::Kubernetes, Suite::Helm, Suite::Disruptive]
        {
            let cases = of(suite);
            let names: BTreeSet<_> = cases.iter().map(Case::name).collect();
            assert_eq!(names.len(), cases.len(), "{suite:?}");
            assert!(!cases.is_empty());
        }
    }
}
