//! What a runner can do, and what a job needs.

use std::fmt;

use crate::{JobSpec, Network, SecretSource};

/// Declares [`Capabilities`] and [`Capability`] side by side, so that neither can miss one.
macro_rules! capabilities {
    ($($(#[$doc:meta])* $field:ident, $variant:ident, $words:literal;)*) => {
        /// What a runner can do, fixed for a runner; what depends on the server stands in
        /// [`Health`](crate::Health).
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Capabilities { $($(#[$doc])* pub $field: bool,)* }

        /// One thing that a runner can do or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Capability { $($(#[$doc])* $variant,)* }

        impl Capability {
            /// Every capability.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What it is called in a reason for passing a runner over.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }
        }

        impl Capabilities {
            /// Whether `capability` is among them.
            #[must_use]
            pub const fn has(&self, capability: Capability) -> bool {
                match capability { $(Capability::$variant => self.$field,)* }
            }

            /// These capabilities and `capability`.
            #[must_use]
            pub const fn with(mut self, capability: Capability) -> Self {
                match capability { $(Capability::$variant => self.$field = true,)* }
                self
            }
        }
    };
}

capabilities! {
    /// Runs a job's `container`.
    container, Container, "jobs in a container";
    /// Runs a job's `process`.
    process, Process, "jobs as a local process";
    /// Gives the job its job directory.
    job_directory, JobDirectory, "a job directory";
    /// Limits CPU time.
    limit_cpu, LimitCpu, "resources.limits.cpu";
    /// Limits memory, and reports a job that needed more as `OutOfMemory`.
    limit_memory, LimitMemory, "resources.limits.memory";
    /// Limits the number of processes.
    limit_pids, LimitPids, "resources.limits.pids";
    /// Cuts the job off the network.
    network_none, NetworkNone, "network: none";
    /// Sets the job's user and group.
    run_as_user, RunAsUser, "securityContext.runAsUser and runAsGroup";
    /// Makes the root filesystem read-only.
    read_only_root_filesystem, ReadOnlyRootFilesystem, "securityContext.readOnlyRootFilesystem";
    /// Keeps setuid programs from gaining privileges.
    no_privilege_escalation, NoPrivilegeEscalation, "securityContext.allowPrivilegeEscalation: false";
    /// Reads environment variables from Kubernetes' Secrets.
    secret_key_ref, SecretKeyRef, "secretEnv from a secretKeyRef";
    /// Keeps stdout and stderr apart.
    separate_streams, SeparateStreams, "separate output streams";
    /// Tells the signal that ended a job.
    signal_evidence, SignalEvidence, "the signal as evidence";
    /// Shortens a grace period that has begun, when [`cancel`](crate::Runner::cancel) is called
    /// again. A kubelet does not: it takes the grace period of the first stop.
    shorten_grace, ShortenGrace, "shortening a grace period that has begun";
    /// Keeps all of a job's output until the attempt is removed, however much and however fast.
    /// Otherwise what is lost of it is a [`Gap`](crate::LogChunk::Gap) in
    /// [`logs`](crate::Runner::logs). A kubelet rotates a container's log, at 10 MiB by default.
    keep_all_logs, KeepAllLogs, "keeping all of a job's output, however much";
    /// Ends a job at its timeout also while nobody polls its [`events`](crate::Runner::events).
    /// Otherwise somebody has to follow a job that has a timeout. Docker knows no timeout.
    /// Kubernetes counts its own from before the pull, so that it can only be a backstop, some
    /// time after the job's.
    keep_timeout, KeepTimeout, "keeping the timeout of a job that nobody follows";
}

/// What a job needs of a runner: one of the ways it may run, and every feature it names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirement {
    /// At least one of these.
    pub one_of: Vec<Capability>,
    /// All of these, in any way of running.
    pub all_of: Vec<Capability>,
}

impl Requirement {
    /// What is missing from `offered`, in words for a person; `None` if nothing is. `remedy` tells
    /// what would give a capability, where configuration would
    /// ([`Runner::remedy`](crate::Runner::remedy)).
    #[must_use]
    pub fn missing(
        &self,
        offered: &Capabilities,
        remedy: impl Fn(Capability) -> Option<String>,
    ) -> Option<String> {
        if !self.one_of.iter().any(|way| offered.has(*way)) {
            return Some(match self.one_of.as_slice() {
                [Capability::Container] => {
                    "the job names only a container, and this runner runs local processes \
                     (name `process` to allow the job outside a container)"
                        .to_owned()
                }
                [Capability::Process] => "the job names only a local process, and this runner \
                     runs containers (name an image to allow it there)"
                    .to_owned(),
                _ => "the job names no way in which this runner could run it".to_owned(),
            });
        }
        let lacking = self.all_of.iter().filter(|c| !offered.has(**c));
        let words: Vec<String> = lacking
            .map(|c| match remedy(*c) {
                Some(remedy) => format!("{c} ({remedy})"),
                None => c.to_string(),
            })
            .collect();
        (!words.is_empty()).then(|| format!("it does not support {}", words.join(", ")))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

impl JobSpec {
    /// What the job needs of a runner. Compared in one place, the dispatcher.
    #[must_use]
    pub fn required_capabilities(&self) -> Requirement {
        let mut one_of = Vec::new();
        one_of.extend(self.container.as_ref().map(|_| Capability::Container));
        one_of.extend(self.process.as_ref().map(|_| Capability::Process));
        let limits = &self.resources.limits;
        let security = &self.security_context;
        let from_secret = |s: &SecretSource| matches!(s, SecretSource::SecretKeyRef { .. });
        let wanted = [
            (self.job_directory.is_some(), Capability::JobDirectory),
            (limits.cpu.is_some(), Capability::LimitCpu),
            (limits.memory.is_some(), Capability::LimitMemory),
            (limits.pids.is_some(), Capability::LimitPids),
            (self.network == Network::None, Capability::NetworkNone),
            (
                security.run_as_user.is_some() || security.run_as_group.is_some(),
                Capability::RunAsUser,
            ),
            (security.read_only_root_filesystem, Capability::ReadOnlyRootFilesystem),
            (security.allow_privilege_escalation == Some(false), Capability::NoPrivilegeEscalation),
            (self.secret_env.values().any(from_secret), Capability::SecretKeyRef),
        ];
        let all_of = wanted.into_iter().filter_map(|(needed, c)| needed.then_some(c)).collect();
        Requirement { one_of, all_of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nature(_: Capability) -> Option<String> {
        None
    }

    #[test]
    fn a_runner_without_the_jobs_way_is_told_apart_from_one_without_a_feature() {
        let mut job = JobSpec::container("busybox".parse().unwrap());
        let process = Capabilities::default().with(Capability::Process);
        let container = Capabilities::default().with(Capability::Container);
        assert_eq!(job.required_capabilities().missing(&container, nature), None);
        let missing = job.required_capabilities().missing(&process, nature).unwrap();
        assert!(missing.contains("names only a container"), "{missing}");
        job.resources.limits.memory = Some("64Mi".parse().unwrap());
        job.network = Network::None;
        let missing = job.required_capabilities().missing(&container, nature).unwrap();
        assert_eq!(missing, "it does not support resources.limits.memory, network: none");
        let remedy = |c| (c == Capability::LimitMemory).then(|| "set x".to_owned());
        let missing = job.required_capabilities().missing(&container, remedy).unwrap();
        let told = "it does not support resources.limits.memory (set x), network: none";
        assert_eq!(missing, told);
    }

    #[test]
    fn every_capability_can_be_had_alone() {
        for capability in Capability::ALL {
            let alone = Capabilities::default().with(*capability);
            let held = Capability::ALL.iter().filter(|c| alone.has(**c)).count();
            assert_eq!(held, 1, "{capability}");
        }
    }
}
