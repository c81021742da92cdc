//! The options of `cargo xtask test`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::backend_names::backend_names;
use crate::workspace::Workspace;

/// Options of `cargo xtask test`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TestOptions {
    /// Run only what needs neither Docker nor Kubernetes, without a lab, and leave out the slow
    /// tests.
    #[arg(long)]
    pub quick: bool,
    /// Fail unless these backends, or `all`, were exercised [default: all under CI, else none].
    #[arg(long, value_name = "BACKEND,...", value_delimiter = ',', env = "LONGSHORE_REQUIRE")]
    pub require: Vec<String>,
    /// Run only this suite, backend, package or test target. Can be repeated.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Run every cell of the pull-policy matrix instead of a selection: takes an hour more.
    #[arg(long)]
    pub full: bool,
    /// How many seeds the dispatcher's simulations play [default: 50000 under CI, else 2000].
    #[arg(long, value_name = "COUNT")]
    pub seeds: Option<u64>,
    /// Leave the lab up afterwards.
    #[arg(long)]
    pub keep_lab: bool,
    /// Use the Docker that DOCKER_HOST names and the Kubernetes that KUBECONFIG names instead of
    /// starting them. Without root, this is always the case.
    #[arg(long)]
    pub use_existing: bool,
    /// The lab's folder [default: target/lab of this checkout].
    #[arg(long, value_name = "DIR")]
    pub lab_dir: Option<PathBuf>,
}

/// How many seeds the simulations play in CI, where no user waits for them.
const SEEDS_UNDER_CI: u64 = 50_000;

impl TestOptions {
    /// Returns how many seeds the simulations play; `None` for their own default.
    pub(crate) fn seeds(&self, ci: bool) -> Option<u64> {
        self.seeds.or((ci && !self.quick).then_some(SEEDS_UNDER_CI))
    }

    /// Returns the backends that must be exercised.
    pub(crate) fn required(&self, workspace: &Workspace, ci: bool) -> Result<Vec<String>> {
        let known: Vec<String> = backend_names(workspace).collect();
        let named: Vec<&str> =
            self.require.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
        if let Some(name) = named.iter().find(|name| **name != "all" && !knows(&known, name)) {
            bail!("there is no backend {name:?}; there are {}", known.join(", "));
        }
        if named.contains(&"all") {
            return Ok(known);
        }
        if !named.is_empty() {
            return Ok(named.into_iter().map(str::to_owned).collect());
        }
        // What a user leaves out on purpose is not required.
        Ok(match (ci, self.only.is_empty(), self.quick) {
            (true, true, false) => known,
            (true, true, true) => known.into_iter().filter(|name| name == "process").collect(),
            _ => Vec::new(),
        })
    }
}

fn knows(known: &[String], name: &str) -> bool {
    known.iter().any(|it| it == name)
}

/// Returns whether this runs in CI.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    fn required(options: &TestOptions, ci: bool) -> Result<Vec<String>> {
        let workspace = workspace(&[
            ("longshore-docker", "crates/docker", &[]),
            ("longshore-process", "crates/process", &[]),
            ("longshore-core", "crates/core", &[]),
        ]);
        options.required(&workspace, ci)
    }

    #[test]
    fn under_ci_every_backend_is_required_unless_less_was_asked_for() {
        let all = TestOptions::default();
        assert_eq!(required(&all, true).unwrap(), ["docker", "docker29", "process", "helm"]);
        assert!(required(&all, false).unwrap().is_empty());
        let quick = TestOptions { quick: true, ..TestOptions::default() };
        assert_eq!((quick.seeds(true), TestOptions::default().seeds(false)), (None, None));
        assert_eq!(TestOptions::default().seeds(true), Some(SEEDS_UNDER_CI));
        assert_eq!(required(&quick, true).unwrap(), ["process"]);
        let only = TestOptions { only: vec!["unit".into()], ..TestOptions::default() };
        assert!(required(&only, true).unwrap().is_empty());
    }

    #[test]
    fn a_required_backend_must_be_one() {
        let named = |name: &str| TestOptions { require: vec![name.into()], ..Default::default() };
        assert_eq!(required(&named(" docker"), false).unwrap(), ["docker"]);
        assert_eq!(required(&named("all"), false).unwrap().len(), 4);
        let error = required(&named("dockerr"), false).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no backend \"dockerr\"; there are docker, docker29, process, helm"
        );
    }
}
