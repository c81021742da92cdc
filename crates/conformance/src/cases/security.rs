//! Security profiles, and what a job says beside its profile.

use std::sync::Arc;

use longshore_core::{
    Capability, ErrorKind, JobSpec, RejectReason, SeccompProfile, SeccompProfileType,
    SecurityProfile,
};

use super::{nothing_left_of, refused};
use crate::bench::Bench;
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, check, same};

cases! { "security":
    by_default_a_job_may_be_root_but_gains_no_privileges [Can(Capability::RestrictedProfile)],
    a_restricted_job_has_no_privileges [Can(Capability::RestrictedProfile)],
    a_restricted_job_whose_image_runs_as_root_is_rejected [Can(Capability::RestrictedProfile)],
    what_is_beyond_the_profile_is_refused [Can(Capability::LinuxCapabilities)],
    capabilities_are_added_and_dropped [Can(Capability::LinuxCapabilities)],
    without_seccomp_no_system_call_is_filtered [Can(Capability::SeccompProfile)],
    further_groups_are_those_asked_for [Can(Capability::SupplementalGroups)],
}

/// Prints what a process may do, as the kernel reports it
/// (<https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>).
const STATUS: &str = "id -u; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";

/// The value of `Seccomp:` if system calls are filtered.
const FILTERED: &str = "Seccomp:\t2\n";

async fn status(bench: &Bench, change: impl FnOnce(&mut JobSpec)) -> Checked<String> {
    let mut spec = bench.fixture().job(STATUS);
    change(&mut spec);
    Ok(bench.run(spec).await?.output.text())
}

/// Returns the set of capabilities that `status` reports as the upper limit.
fn bounding_set(status: &str) -> Checked<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    Ok(u64::from_str_radix(digits.unwrap_or_default().trim(), 16)?)
}

async fn by_default_a_job_may_be_root_but_gains_no_privileges(bench: Arc<Bench>) -> Checked {
    let status = status(&bench, |_| {}).await?;
    for expected in ["0\n", "NoNewPrivs:\t1\n", FILTERED] {
        check(status.contains(expected), || format!("{expected:?} is not in {status}"))?;
    }
    // The first is CAP_CHOWN, which a container has by default.
    check(bounding_set(&status)? & 1 == 1, || format!("no capabilities: {status}"))
}

async fn a_restricted_job_has_no_privileges(bench: Arc<Bench>) -> Checked {
    let restricted = |spec: &mut JobSpec| {
        spec.security_profile = Some(SecurityProfile::Restricted);
        spec.security_context.run_as_user = Some(12_345);
    };
    let expected = format!("12345\nCapBnd:\t{:016x}\nNoNewPrivs:\t1\n{FILTERED}", 0);
    same("the status", &status(&bench, restricted).await?, &expected)
}

async fn a_restricted_job_whose_image_runs_as_root_is_rejected(bench: Arc<Bench>) -> Checked {
    let mut spec = bench.fixture().job("exit 0");
    spec.security_profile = Some(SecurityProfile::Restricted);
    let config = ErrorKind::Rejected(RejectReason::ContainerConfig);
    refused_as(&bench, spec, config, &["restricted", "securityContext.runAsUser"]).await
}

async fn what_is_beyond_the_profile_is_refused(bench: Arc<Bench>) -> Checked {
    let mut spec = bench.fixture().job("exit 0");
    spec.security_context.capabilities.add = vec!["NET_ADMIN".parse()?];
    let words = ["capabilities.add: NET_ADMIN", "baseline", "privileged"];
    refused_as(&bench, spec, ErrorKind::InvalidSpec, &words).await
}

async fn refused_as(bench: &Bench, spec: JobSpec, kind: ErrorKind, words: &[&str]) -> Checked {
    let attempt = bench.attempt(spec);
    let runner = bench.runner().await?;
    let error = refused(bench.try_launch(runner.as_ref(), &attempt, &bench.context()).await?)?;
    same(&format!("the kind of `{error}`"), &error.kind(), &kind)?;
    for word in words {
        check(error.to_string().contains(word), || format!("`{error}` does not say {word}"))?;
    }
    nothing_left_of(bench, &attempt).await
}

async fn capabilities_are_added_and_dropped(bench: Arc<Bench>) -> Checked {
    let status = status(&bench, |spec| {
        spec.security_profile = Some(SecurityProfile::Privileged);
        let parsed = |name: &str| name.parse().into_iter().collect();
        spec.security_context.capabilities.add = parsed("NET_ADMIN");
        spec.security_context.capabilities.drop = parsed("CHOWN");
    })
    .await?;
    // https://github.com/torvalds/linux/blob/master/include/uapi/linux/capability.h
    let (chown, net_admin) = (1, 1 << 12);
    same("CHOWN and NET_ADMIN", &(bounding_set(&status)? & (chown | net_admin)), &net_admin)
}

async fn without_seccomp_no_system_call_is_filtered(bench: Arc<Bench>) -> Checked {
    let status = status(&bench, |spec| {
        spec.security_profile = Some(SecurityProfile::Privileged);
        let unconfined = SeccompProfile::new(SeccompProfileType::Unconfined);
        spec.security_context.seccomp_profile = Some(unconfined);
    })
    .await?;
    check(status.contains("Seccomp:\t0\n"), || status)
}

async fn further_groups_are_those_asked_for(bench: Arc<Bench>) -> Checked {
    let mut spec = bench.fixture().job("id -G");
    spec.security_context.run_as_user = Some(12_345);
    spec.security_context.run_as_group = Some(23_456);
    spec.security_context.supplemental_groups = vec![34_567, 45_678];
    let groups = bench.run(spec).await?.output.text();
    same("id -G", &groups, &"23456 34567 45678\n".to_owned())
}
