//! Translates a job's security context, completed by its profile. Pure.

use k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, SeccompProfile, SecurityContext,
};
use longshore_core::{JobSpec, LinuxCapability, Result, SeccompProfileType};

/// Returns the security context of the job's container. Everything that a container can have is set
/// there and not on the Pod, so that it does not apply to a container that admission adds.
///
/// # Errors
/// `InvalidSpec` if the job sets something beyond its profile.
pub(crate) fn of_container(job: &JobSpec) -> Result<Option<SecurityContext>> {
    let given = job.effective_security_context()?;
    let names = |list: &[LinuxCapability]| -> Option<Vec<String>> {
        (!list.is_empty()).then(|| list.iter().map(ToString::to_string).collect())
    };
    let seccomp = given.seccomp_profile.map(|profile| SeccompProfile {
        type_: match profile.kind {
            SeccompProfileType::Unconfined => "Unconfined".to_owned(),
            _ => "RuntimeDefault".to_owned(),
        },
        localhost_profile: None,
    });
    let context = SecurityContext {
        run_as_user: given.run_as_user.map(i64::from),
        run_as_group: given.run_as_group.map(i64::from),
        run_as_non_root: given.run_as_non_root,
        read_only_root_filesystem: given.read_only_root_filesystem.then_some(true),
        allow_privilege_escalation: given.allow_privilege_escalation,
        capabilities: (!given.capabilities.is_empty()).then(|| Capabilities {
            add: names(&given.capabilities.add),
            drop: names(&given.capabilities.drop),
        }),
        seccomp_profile: seccomp,
        ..<_>::default()
    };
    Ok((context != SecurityContext::default()).then_some(context))
}

/// Returns the part of the job's security context that only a Pod can have.
pub(crate) fn of_pod(job: &JobSpec) -> Option<PodSecurityContext> {
    let groups = &job.security_context.supplemental_groups;
    (!groups.is_empty()).then(|| PodSecurityContext {
        supplemental_groups: Some(groups.iter().copied().map(i64::from).collect()),
        ..<_>::default()
    })
}
