//! What a runner can do, and what a job needs.

use std::fmt;

use crate::{
    Error, ErrorKind, JobSpec, Network, ResourceList, Resources, Result, SecretSource,
    SecurityContext, SecurityProfile,
};

/// Declares [`Capabilities`] and [`Capability`] together, so that both list the same capabilities.
macro_rules! capabilities {
    ($($(#[$doc:meta])* $field:ident, $variant:ident, $words:literal;)*) => {
        /// What a runner can do.
        ///
        /// Fixed for a runner. [`Health`](crate::Health) reports what depends on the server.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Capabilities { $($(#[$doc])* pub $field: bool,)* }

        /// One thing that a runner may be able to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Capability { $($(#[$doc])* $variant,)* }

        impl Capability {
            /// Every capability.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the text for this capability in the reason for passing a runner over.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }
        }

        impl Capabilities {
            /// Returns whether these capabilities include `capability`.
            #[must_use]
            pub const fn has(&self, capability: Capability) -> bool {
                match capability { $(Capability::$variant => self.$field,)* }
            }

            /// Returns these capabilities with `capability` added.
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
    /// Gives a job GPUs.
    gpus, Gpus, "resources.limits.gpus";
    /// Mounts files of the machine that runs the job.
    volumes, Volumes, "volumes";
    /// Runs a job without a network.
    network_none, NetworkNone, "network: none";
    /// Sets the job's user and group.
    run_as_user, RunAsUser, "securityContext.runAsUser and runAsGroup";
    /// Makes the root filesystem read-only.
    read_only_root_filesystem, ReadOnlyRootFilesystem, "securityContext.readOnlyRootFilesystem";
    /// Keeps setuid programs from gaining privileges.
    no_privilege_escalation, NoPrivilegeEscalation, "securityContext.allowPrivilegeEscalation: false";
    /// Adds the job's processes to further groups.
    supplemental_groups, SupplementalGroups, "securityContext.supplementalGroups";
    /// Adds and removes Linux capabilities.
    linux_capabilities, LinuxCapabilities, "securityContext.capabilities";
    /// Chooses the seccomp profile.
    seccomp_profile, SeccompProfile, "securityContext.seccompProfile";
    /// Refuses a job that would run as root.
    run_as_non_root, RunAsNonRoot, "securityContext.runAsNonRoot";
    /// Confines a job as the security profile `restricted` demands.
    restricted_profile, RestrictedProfile, "securityProfile: restricted";
    /// Reads environment variables from Kubernetes Secrets.
    secret_key_ref, SecretKeyRef, "secretEnv from a secretKeyRef";
    /// Gives a job the stdin of its submitter.
    stdin, Stdin, "stdin";
    /// Gives a job a terminal.
    tty, Tty, "a terminal (tty)";
    /// Sends a job any signal.
    signals, Signals, "sending signals to a job";
    /// Runs further commands in a job that runs.
    exec, Exec, "running a command in a job";
    /// Keeps stdout and stderr separate.
    separate_streams, SeparateStreams, "separate output streams";
    /// Reports the signal that ended a job.
    signal_evidence, SignalEvidence, "reporting the signal that ended a job";
    /// Shortens a grace period that has begun when [`cancel`](crate::Runner::cancel) is called
    /// again. A kubelet does not: it keeps the grace period of the first stop.
    shorten_grace, ShortenGrace, "shortening a grace period that has begun";
    /// Keeps all of a job's output until the attempt is removed, whatever its size and speed.
    /// Without this capability, lost output is a [`Gap`](crate::LogChunk::Gap) in
    /// [`logs`](crate::Runner::logs). A kubelet rotates a container's log, at 10 MiB by default.
    /// Docker 20.10 does not return the last newline of some outputs.
    keep_all_logs, KeepAllLogs, "keeping all of a job's output, whatever its size";
    /// Knows when each line of a job's output was written.
    log_times, LogTimes, "the times of a job's output";
    /// Ends a job at its timeout even if no process polls its [`events`](crate::Runner::events).
    /// Without this capability, a process must follow a job that has a timeout. Docker has no
    /// timeout. Kubernetes counts its own timeout from before the pull, so that it can only be a
    /// backstop, some time after the job's timeout.
    keep_timeout, KeepTimeout, "keeping the timeout of a job that no process follows";
}

/// What a job needs from a runner: one of the ways the job can run, and every feature it names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirement {
    /// The runner must have at least one of these.
    pub one_of: Vec<Capability>,
    /// The runner must have all of these, whichever way the job runs.
    pub all_of: Vec<Capability>,
}

impl Requirement {
    /// Returns what `offered` lacks, as text for a person, or `None` if it lacks nothing.
    ///
    /// `remedy` returns the setting that would add a capability, if there is one
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
                _ => "the job names no way to run that this runner supports".to_owned(),
            });
        }
        let mut lacking: Vec<(Option<String>, Vec<&str>)> = Vec::new();
        for capability in self.all_of.iter().filter(|c| !offered.has(**c)) {
            let (remedy, words) = (remedy(*capability), capability.words());
            match lacking.iter_mut().find(|(known, _)| remedy.is_some() && *known == remedy) {
                Some((_, same)) => same.push(words),
                None => lacking.push((remedy, vec![words])),
            }
        }
        let words: Vec<String> = lacking
            .into_iter()
            .map(|(remedy, words)| match remedy {
                Some(remedy) => format!("{} ({remedy})", words.join(", ")),
                None => words.join(", "),
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
    /// Checks that a runner with the capabilities `offered` can do everything that the job asks for.
    /// This is the one place that compares capabilities.
    ///
    /// `remedy` returns the setting that would add a capability, if there is one
    /// ([`Runner::remedy`](crate::Runner::remedy)).
    ///
    /// # Errors
    /// `Unsupported`, naming every capability that the runner lacks.
    pub fn ensure_supported(
        &self,
        offered: &Capabilities,
        remedy: impl Fn(Capability) -> Option<String>,
    ) -> Result<()> {
        match self.required_capabilities().missing(offered, remedy) {
            None => Ok(()),
            Some(missing) => Err(Error::new(ErrorKind::Unsupported, missing)),
        }
    }

    /// Returns what the job needs from a runner.
    #[must_use]
    pub fn required_capabilities(&self) -> Requirement {
        // No `..`: each new field must be decided here.
        let Self {
            name: _,
            container,
            process,
            labels: _,
            env: _,
            secret_env,
            stdin,
            tty,
            job_directory,
            volumes,
            resources: Resources { limits: ResourceList { cpu, memory, pids, gpus } },
            timeout: _,
            grace_period: _,
            security_profile,
            security_context:
                SecurityContext {
                    run_as_user,
                    run_as_group,
                    run_as_non_root,
                    supplemental_groups,
                    read_only_root_filesystem,
                    allow_privilege_escalation,
                    capabilities,
                    seccomp_profile,
                },
            network,
            image_pull_policy: _,
            registries: _,
            runners: _,
        } = self;
        let mut one_of = Vec::new();
        one_of.extend(container.as_ref().map(|_| Capability::Container));
        one_of.extend(process.as_ref().map(|_| Capability::Process));
        let from_secret = |s: &SecretSource| matches!(s, SecretSource::SecretKeyRef { .. });
        let wanted = [
            (job_directory.is_some(), Capability::JobDirectory),
            (cpu.is_some(), Capability::LimitCpu),
            (memory.is_some(), Capability::LimitMemory),
            (pids.is_some(), Capability::LimitPids),
            (gpus.is_some(), Capability::Gpus),
            (!volumes.is_empty(), Capability::Volumes),
            (*network == Network::None, Capability::NetworkNone),
            (run_as_user.is_some() || run_as_group.is_some(), Capability::RunAsUser),
            (*read_only_root_filesystem, Capability::ReadOnlyRootFilesystem),
            (*allow_privilege_escalation == Some(false), Capability::NoPrivilegeEscalation),
            (!supplemental_groups.is_empty(), Capability::SupplementalGroups),
            (!capabilities.is_empty(), Capability::LinuxCapabilities),
            (seccomp_profile.is_some(), Capability::SeccompProfile),
            (*run_as_non_root == Some(true), Capability::RunAsNonRoot),
            // The other profiles only set what a job leaves open, so every runner can run them.
            (*security_profile == Some(SecurityProfile::Restricted), Capability::RestrictedProfile),
            (secret_env.values().any(from_secret), Capability::SecretKeyRef),
            (*stdin, Capability::Stdin),
            (*tty, Capability::Tty),
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
    fn a_remedy_for_several_capabilities_is_named_once() {
        let mut job = JobSpec::process(["true"]);
        job.resources.limits.memory = Some("64Mi".parse().unwrap());
        job.resources.limits.pids = Some(9);
        job.network = Network::None;
        let process = Capabilities::default().with(Capability::Process);
        let remedy = |c| (c != Capability::NetworkNone).then(|| "set x".to_owned());
        let missing = job.required_capabilities().missing(&process, remedy).unwrap();
        let told = "it does not support resources.limits.memory, resources.limits.pids (set x), \
                    network: none";
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
