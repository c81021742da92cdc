//! Determines which test programs exist, the suite of each, and what it needs,
//! from their names alone.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};
use longshore_lab::Group;

use super::backend_names::{DOCKER29, HELM, backend_names};
use super::options::TestOptions;
use crate::workspace::{Package, Target, Workspace};

/// A kind of test, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Suite {
    Tidy,
    Unit,
    Doc,
    Readme,
    Integration,
    Conformance,
    EndToEnd,
    /// The pull-policy matrix, on all backends that have images.
    PullPolicy,
    /// Kills of the command, on all backends.
    Faults,
    /// What others do to a job, on all backends.
    Accidents,
    /// Tests that stop an engine or the API server: they run alone, and last.
    Disruptive,
    /// The check for what all of them left on the machine.
    Leftovers,
}

impl Suite {
    pub(crate) const ALL: [Self; 12] = [
        Self::Tidy,
        Self::Unit,
        Self::Doc,
        Self::Readme,
        Self::Integration,
        Self::Conformance,
        Self::EndToEnd,
        Self::PullPolicy,
        Self::Faults,
        Self::Accidents,
        Self::Disruptive,
        Self::Leftovers,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::Unit => "unit",
            Self::Doc => "doc",
            Self::Readme => "readme",
            Self::Integration => "integration",
            Self::Conformance => "conformance",
            Self::EndToEnd => "end-to-end",
            Self::PullPolicy => "pull-policy",
            Self::Faults => "faults",
            Self::Accidents => "accidents",
            Self::Disruptive => "disruptive",
            Self::Leftovers => "leftovers",
        }
    }

    /// Returns the time limit of one program: several times what it usually takes.
    pub(crate) const fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Tidy | Self::Leftovers => 180,
            Self::Unit | Self::Integration => 300,
            Self::Doc | Self::Readme | Self::EndToEnd | Self::Faults | Self::Disruptive => 900,
            Self::Conformance | Self::PullPolicy | Self::Accidents => 1200,
        })
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// One test program, or one step that counts as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub suite: Suite,
    /// The backend that it tests; `None` if it tests no backend, or all.
    pub backend: Option<String>,
    pub package: String,
    pub target: String,
    /// The kind as cargo names it: `lib`, `bin`, `test`.
    pub kind: String,
    /// The parts of the lab that must be up.
    pub needs: Vec<Group>,
}

impl Case {
    /// Creates a step that is not a test program.
    pub(crate) fn step(suite: Suite, backend: Option<&str>) -> Self {
        Self {
            suite,
            backend: backend.map(str::to_owned),
            package: "xtask".to_owned(),
            target: suite.to_string(),
            kind: String::new(),
            needs: Vec::new(),
        }
    }

    pub(crate) fn label(&self) -> String {
        let label = match self.kind.as_str() {
            "" => self.target.clone(),
            "test" => format!("{} {}", self.package, self.target),
            kind => format!("{} ({kind})", self.package),
        };
        if self.is_on_docker29() { format!("{label} on {DOCKER29}") } else { label }
    }

    /// Returns whether it runs on the current engine instead of Debian's.
    pub(crate) fn is_on_docker29(&self) -> bool {
        self.backend.as_deref() == Some(DOCKER29)
    }

    fn answers_to(&self, name: &str) -> bool {
        let alike = |other: &str| other.replace('_', "-") == name.replace('_', "-");
        // The end-to-end target `docker` runs on both engines: the name means
        // Debian's.
        let other_engine = self.is_on_docker29() && self.target == "docker";
        let test = self.kind == "test" && alike(&self.target) && !other_engine;
        let backend = self.backend.as_deref().is_some_and(alike);
        alike(self.suite.name()) || alike(&self.package) || test || backend
    }
}

/// Returns all cases.
pub(crate) fn plan(workspace: &Workspace) -> Vec<Case> {
    let mut cases = vec![
        Case::step(Suite::Tidy, None),
        Case::step(Suite::Doc, None),
        Case::step(Suite::Readme, Some("process")),
        Case::step(Suite::Leftovers, None),
    ];
    for package in &workspace.packages {
        for target in package.targets.iter().filter(|target| target.test) {
            let case = case(workspace, package, target);
            let again = on_docker29(&case);
            cases.push(case);
            cases.extend(again);
        }
    }
    cases
}

/// Returns the case on the other engine: what tests one engine tests the other too.
fn on_docker29(case: &Case) -> Option<Case> {
    let engine = case.backend.as_deref() == Some("docker");
    let backend = Some(DOCKER29.to_owned());
    engine.then(|| Case { backend, needs: needs(case.suite, Some(DOCKER29)), ..case.clone() })
}

fn case(workspace: &Workspace, package: &Package, target: &Target) -> Case {
    let integration = target.kind.iter().any(|kind| kind == "test");
    let backends: Vec<String> = backend_names(workspace).collect();
    let (suite, backend) = match package.name.as_str() {
        _ if !integration => (Suite::Unit, None),
        "longshore-tests" => end_to_end(&target.name, &backends),
        _ if workspace.is_backend(package) => {
            let conformance = target.name == "conformance";
            let suite = if conformance { Suite::Conformance } else { Suite::Integration };
            let folder = workspace.folder(package);
            (suite, Some(folder.trim_start_matches("crates/").to_owned()))
        }
        _ => (Suite::Integration, None),
    };
    Case {
        needs: needs(suite, backend.as_deref()),
        suite,
        backend,
        package: package.name.clone(),
        target: target.name.clone(),
        kind: if integration { "test" } else { kind(target) }.to_owned(),
    }
}

fn kind(target: &Target) -> &str {
    target.kind.first().map_or("lib", String::as_str)
}

/// Returns the suite and the backend of an end-to-end test. A test whose name begins with a
/// backend's name needs only that backend.
fn end_to_end(target: &str, backends: &[String]) -> (Suite, Option<String>) {
    let suite = match target {
        "pull_policy" => Suite::PullPolicy,
        "faults" => Suite::Faults,
        "accidents" => Suite::Accidents,
        name if name.starts_with("disruptive") => Suite::Disruptive,
        _ => Suite::EndToEnd,
    };
    let first = target.split('_').next().unwrap_or_default();
    (suite, backends.iter().find(|name| *name == first).cloned())
}

fn needs(suite: Suite, backend: Option<&str>) -> Vec<Group> {
    match (suite, backend) {
        (_, Some("docker")) => vec![Group::Docker, Group::Registry],
        (_, Some(DOCKER29)) => vec![Group::Docker29, Group::Registry],
        // Its own tests break the connection to the API server.
        (Suite::Integration, Some("kubernetes")) => {
            vec![Group::Registry, Group::Kubernetes, Group::Toxiproxy]
        }
        (_, Some("kubernetes")) => vec![Group::Registry, Group::Kubernetes],
        // An engine builds the command's image.
        (_, Some(HELM)) => {
            vec![Group::Docker, Group::Registry, Group::Kubernetes, Group::Helm]
        }
        (Suite::PullPolicy | Suite::Accidents, _) => vec![
            Group::Docker,
            Group::Docker29,
            Group::Registry,
            Group::Kubernetes,
            Group::Toxiproxy,
        ],
        (Suite::EndToEnd | Suite::Faults, None) => {
            vec![Group::Docker, Group::Registry, Group::Kubernetes]
        }
        (Suite::Disruptive, None) => {
            vec![Group::Docker, Group::Docker29, Group::Registry, Group::Kubernetes]
        }
        _ => Vec::new(),
    }
}

/// Returns the cases that the options select.
pub(crate) fn select(cases: Vec<Case>, options: &TestOptions) -> Result<Vec<Case>> {
    if options.only.is_empty() {
        return Ok(cases);
    }
    for name in &options.only {
        if !cases.iter().any(|case| case.answers_to(name)) {
            let suites = Suite::ALL.map(Suite::name).join(", ");
            bail!(
                "there is nothing to test named {name:?}; name a suite ({suites}), a backend, a package or a test target"
            );
        }
    }
    // Whatever runs must leave nothing behind.
    let wanted = |case: &Case| {
        case.suite == Suite::Leftovers || options.only.iter().any(|name| case.answers_to(name))
    };
    Ok(cases.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    fn planned(package: &str, folder: &str, target: &str, kind: &str) -> Case {
        all_planned(package, folder, target, kind).swap_remove(0)
    }

    fn all_planned(package: &str, folder: &str, target: &str, kind: &str) -> Vec<Case> {
        let mut workspace = workspace(&[
            ("longshore-docker", "crates/docker", &[]),
            ("longshore-process", "crates/process", &[]),
            (package, folder, &[]),
        ]);
        let target = Target { name: target.into(), kind: vec![kind.into()], test: true };
        workspace.packages[2].targets.push(target);
        plan(&workspace).into_iter().filter(|case| !case.kind.is_empty()).collect()
    }

    #[test]
    fn a_name_tells_the_suite_and_what_it_needs() {
        let case = planned("longshore-docker", "crates/docker", "conformance", "test");
        assert_eq!((case.suite, case.backend.as_deref()), (Suite::Conformance, Some("docker")));
        assert_eq!(case.needs, [Group::Docker, Group::Registry]);
        let case = planned("longshore-process", "crates/process", "tree", "test");
        assert_eq!((case.suite, case.backend.as_deref()), (Suite::Integration, Some("process")));
        assert!(case.needs.is_empty());
        let case = planned("longshore-docker", "crates/docker", "longshore_docker", "lib");
        assert_eq!((case.suite, case.backend), (Suite::Unit, None));
        let case = planned("longshore-tests", "tests", "disruptive_api_server", "test");
        assert_eq!((case.suite, case.backend, case.needs.len()), (Suite::Disruptive, None, 4));
        let case = planned("longshore-tests", "tests", "helm", "test");
        assert_eq!((case.suite, case.backend.as_deref()), (Suite::EndToEnd, Some(HELM)));
        assert!(case.needs.contains(&Group::Helm) && case.needs.contains(&Group::Docker));
        let case = planned("longshore-tests", "tests", "process_signals", "test");
        assert_eq!(case.suite, Suite::EndToEnd);
        assert!(case.needs.is_empty());
    }

    #[test]
    fn what_tests_docker_runs_once_on_each_engine() {
        for (package, folder, target) in [
            ("longshore-docker", "crates/docker", "engine"),
            ("longshore-tests", "tests", "docker"),
        ] {
            let cases = all_planned(package, folder, target, "test");
            let [first, second] = cases.as_slice() else { panic!("{cases:?}") };
            assert_eq!((second.suite, second.backend.as_deref()), (first.suite, Some(DOCKER29)));
            assert_eq!(second.needs, [Group::Docker29, Group::Registry]);
            assert_ne!(first.label(), second.label());
            assert!(first.answers_to("docker") && !first.answers_to(DOCKER29));
            assert!(second.answers_to(DOCKER29) && !second.answers_to("docker"));
        }
        assert_eq!(all_planned("longshore-docker", "crates/docker", "x", "lib").len(), 1);
        assert_eq!(all_planned("longshore-tests", "tests", "disruptive", "test").len(), 1);
    }

    #[test]
    fn a_case_is_chosen_by_any_of_its_names() {
        let case = planned("longshore-tests", "tests", "pull_policy", "test");
        assert_eq!((case.suite, case.needs.len()), (Suite::PullPolicy, 5));
        assert!(!case.answers_to("end-to-end"));
        let accidents = planned("longshore-tests", "tests", "accidents", "test");
        assert_eq!((accidents.suite, accidents.needs.len()), (Suite::Accidents, 5));
        for name in ["pull-policy", "longshore-tests"] {
            assert!(case.answers_to(name), "{name}");
        }
        let options = TestOptions { only: vec!["nothing".into()], ..Default::default() };
        let error = select(vec![case], &options).unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("conformance"), "{error}");
    }
}
