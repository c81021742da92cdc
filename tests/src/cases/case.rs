//! A case: one behaviour to check.

use std::process::Command;

use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::Checked;

/// One behaviour to check. Its name is the sentence that it checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) sentence: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) body: fn(&Bench) -> Checked,
}

/// What a case needs besides the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A backend that runs images.
    Images,
    /// A backend that reports which signal ended a job.
    Signals,
    /// A backend on which a grace period that has begun can be shortened.
    ShortenGrace,
    /// A registry that requires a login.
    PrivateRegistry,
    /// A current Docker engine.
    CurrentEngine,
    /// A second Docker engine beside the one that the suite is about.
    TwoEngines,
    /// Root, to run the command as another user.
    Root,
    /// User namespaces, which have limits of their own.
    UserNamespaces,
    /// Mounts of a process's own.
    Mounts,
    /// The command `docker`.
    DockerCommand,
    /// The API server's audit log.
    AuditLog,
    /// Something that no test has, for this reason.
    Elsewhere(&'static str),
}

impl Need {
    fn missing(self, backend: Backend) -> Option<&'static str> {
        let (there, reason) = match self {
            Self::Images => (backend.has_images(), "a local process has no image"),
            Self::Signals => (
                backend == Backend::Process,
                "in a container, exit 137 and SIGKILL cannot be distinguished",
            ),
            Self::ShortenGrace => (
                backend != Backend::Kubernetes,
                "a kubelet does not shorten a grace period that has begun",
            ),
            Self::PrivateRegistry => (
                std::env::var_os("LONGSHORE_LAB_PRIVATE_REGISTRY").is_some(),
                "set LONGSHORE_LAB_PRIVATE_REGISTRY (cargo xtask lab env)",
            ),
            Self::CurrentEngine => (
                std::env::var_os("LONGSHORE_LAB_DOCKER29_HOST").is_some(),
                "set LONGSHORE_LAB_DOCKER29_HOST (cargo xtask lab env)",
            ),
            Self::TwoEngines => (
                std::env::var_os("LONGSHORE_LAB_DOCKER29_HOST")
                    .is_some_and(|other| std::env::var_os("DOCKER_HOST") != Some(other)),
                "set LONGSHORE_LAB_DOCKER29_HOST to another engine than DOCKER_HOST",
            ),
            Self::Root => (
                rustix::process::geteuid().is_root(),
                "only root can run the command as another user",
            ),
            Self::UserNamespaces => {
                (can_unshare("--user"), "this system does not allow user namespaces")
            }
            Self::Mounts => (can_unshare("--mount"), "only root can mount a file system"),
            Self::DockerCommand => {
                let there = Command::new("docker").arg("--version").output();
                (there.is_ok_and(|ran| ran.status.success()), "the command `docker` is not here")
            }
            Self::AuditLog => (
                std::env::var_os("LONGSHORE_LAB_AUDIT_LOG").is_some(),
                "set LONGSHORE_LAB_AUDIT_LOG (cargo xtask lab env)",
            ),
            Self::Elsewhere(reason) => (false, reason),
        };
        (!there).then_some(reason)
    }
}

/// Returns whether a process may have namespaces of its own.
fn can_unshare(namespace: &str) -> bool {
    let tried = Command::new("unshare").args([namespace, "true"]).status();
    tried.is_ok_and(|status| status.success())
}

impl Case {
    pub(crate) fn name(&self) -> String {
        format!("{}::{}", self.group, self.sentence)
    }

    /// Returns why it cannot run on `backend`, or `None` if it can.
    pub(crate) fn unsupported(&self, backend: Backend) -> Option<String> {
        self.needs.iter().find_map(|need| need.missing(backend)).map(str::to_owned)
    }

    pub(crate) fn run(&self, bench: &Bench) -> Checked {
        (self.body)(bench)
    }
}

/// Declares the cases of a file: functions named after what they check, and the needs of each.
macro_rules! cases {
    ($group:literal: $($name:ident $([$($need:ident),*])?,)*) => {
        pub(crate) const CASES: &[$crate::cases::case::Case] = &[$(
            $crate::cases::case::Case {
                group: $group,
                sentence: stringify!($name),
                needs: &[$($($crate::cases::case::Need::$need),*)?],
                body: $name,
            },
        )*];
    };
}
pub(crate) use cases;
