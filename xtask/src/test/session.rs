//! The lab for the tests.

use std::time::Instant;

use anyhow::Result;
use longshore_lab::{self as lab, Group, Lab, UpOptions, say};

use super::options::{TestOptions, is_ci};
use super::plan::Case;

/// Brings the lab up before the tests, and takes it down after them if it was
/// not up before.
#[derive(Debug)]
pub(crate) struct Session {
    lab: Lab,
    wanted: Vec<Group>,
    /// Whether existing backends are used.
    pub given: bool,
    was_up: bool,
    leave: bool,
}

/// The backends to test against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backends {
    pub environment: Vec<(&'static str, String)>,
    /// Why a backend may be missing.
    pub problem: Option<String>,
}

impl Session {
    /// Creates a session for what `cases` need. Starts nothing.
    pub(crate) fn new(cases: &[Case], options: &TestOptions) -> Result<Self> {
        let lab = Lab::open(options.lab_dir.clone())?;
        let was_up = lab::is_up(&lab)?;
        let mut wanted: Vec<Group> = cases.iter().flat_map(|case| case.needs.clone()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if options.quick {
            wanted.clear();
        }
        let given = options.use_existing || !rustix::process::geteuid().is_root();
        Ok(Self { lab, wanted, given, was_up, leave: was_up || options.keep_lab })
    }

    /// Brings the lab up. If a part fails, [`Backends::problem`] has the
    /// reason.
    pub(crate) fn up(&self) -> Result<Backends> {
        if self.wanted.is_empty() {
            return Ok(Backends::default());
        }
        let options = UpOptions {
            only: self.wanted.clone(),
            use_existing: self.given,
            // An unfinished run on the same machine must not block this one.
            replace: is_ci(),
        };
        let result = lab::up(&self.lab, &options);
        let problem = result.err().map(|error| format!("{error:#}"));
        if let Some(problem) = &problem {
            say!("lab: {problem}");
        }
        Ok(Backends { environment: lab::environment(&self.lab)?, problem })
    }

    /// Returns whether everything in the lab comes from this run: the lab was not up
    /// before, and its backends are its own.
    pub(crate) const fn is_fresh(&self) -> bool {
        !self.was_up && !self.given
    }

    /// Takes the lab down, unless it must be left up.
    pub(crate) fn down(&self) -> Result<()> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        if self.leave {
            say!("the lab is left up: cargo xtask lab down takes it down");
            return Ok(());
        }
        let begun = Instant::now();
        let down = lab::down(&self.lab, false);
        say!("{:<52} {:>7.1} s", "lab down", begun.elapsed().as_secs_f64());
        down
    }
}

impl Backends {
    /// Returns why `case` cannot run, or `None` if it can.
    pub(crate) fn missing(&self, case: &Case) -> Option<String> {
        let missing = case.needs.iter().find(|group| !self.has(**group))?;
        let reason = match &self.problem {
            Some(problem) => problem.clone(),
            // A user with an existing engine need not set a second one.
            None if *missing == Group::Docker29 => {
                "DOCKER_HOST is set, and LONGSHORE_LAB_DOCKER29_HOST is not".to_owned()
            }
            None => "the lab has not brought it up".to_owned(),
        };
        Some(format!("no {missing}: {reason}"))
    }

    /// Returns the value of a variable of the lab.
    pub(crate) fn get(&self, variable: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(name, _)| *name == variable);
        found.map(|(_, value)| value.as_str())
    }

    fn has(&self, group: Group) -> bool {
        let name = match group {
            Group::Docker => "DOCKER_HOST",
            Group::Docker29 => "LONGSHORE_LAB_DOCKER29_HOST",
            Group::Registry => "LONGSHORE_LAB_REGISTRY",
            Group::Kubernetes => "KUBECONFIG",
            Group::Toxiproxy => "LONGSHORE_LAB_TOXIPROXY",
            Group::Helm => "LONGSHORE_LAB_HELM",
        };
        self.get(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Suite;
    use super::*;

    fn case(needs: &[Group]) -> Case {
        Case { needs: needs.to_vec(), ..Case::step(Suite::EndToEnd, None) }
    }

    #[test]
    fn what_a_missing_backend_is_missing_for_is_said() {
        let backends = Backends {
            environment: vec![("DOCKER_HOST", "unix:///x".into())],
            problem: Some("they need root".into()),
        };
        assert_eq!(backends.missing(&case(&[Group::Docker])), None);
        assert_eq!(
            backends.missing(&case(&[Group::Docker, Group::Kubernetes])).unwrap(),
            "no kubernetes: they need root"
        );
        assert_eq!(Backends::default().missing(&case(&[])), None);
        let given = Backends { problem: None, ..backends };
        let reason = given.missing(&case(&[Group::Docker29])).unwrap();
        assert!(reason.starts_with("no docker29: DOCKER_HOST is set"), "{reason}");
    }
}
