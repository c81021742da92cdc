//! Translates a job's security context, completed by its profile. Pure.

use longshore_core::{
    Error, ErrorKind, JobSpec, LinuxCapability, RejectReason, Result, SeccompProfileType,
    SecurityContext, SecurityProfile,
};

/// The container's `SecurityOpt`. Without one about seccomp, the container has the engine's own
/// default profile, which is `RuntimeDefault`.
pub(crate) fn options(security: &SecurityContext) -> Option<Vec<String>> {
    let unconfined =
        security.seccomp_profile.is_some_and(|it| it.kind == SeccompProfileType::Unconfined);
    let no_escalation = security.allow_privilege_escalation == Some(false);
    let options: Vec<String> = [
        no_escalation.then(|| "no-new-privileges".to_owned()),
        unconfined.then(|| "seccomp=unconfined".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!options.is_empty()).then_some(options)
}

pub(crate) fn names(capabilities: &[LinuxCapability]) -> Option<Vec<String>> {
    (!capabilities.is_empty()).then(|| capabilities.iter().map(ToString::to_string).collect())
}

pub(crate) fn groups(security: &SecurityContext) -> Option<Vec<String>> {
    let groups = &security.supplemental_groups;
    (!groups.is_empty()).then(|| groups.iter().map(ToString::to_string).collect())
}

/// Checks that a job that must not run as root does not, before its container is created. The
/// engine has no such setting. `image_user` is the image's own user.
///
/// # Errors
/// `Rejected`, as on Kubernetes.
pub(crate) fn check_user(job: &JobSpec, image_user: &str) -> Result<()> {
    let security = job.effective_security_context()?;
    let Some(why) = security.refuses_root(image_user) else { return Ok(()) };
    let profile = job.security_profile.unwrap_or_default();
    let rule = if profile == SecurityProfile::Restricted {
        "the security profile restricted"
    } else {
        "securityContext.runAsNonRoot"
    };
    Err(Error::new(
        ErrorKind::Rejected(RejectReason::ContainerConfig),
        format!(
            "{why}, which {rule} does not allow: set securityContext.runAsUser, or use an image \
             with a numeric user"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restricted_job_whose_image_insists_on_root_is_refused_by_name() {
        let mut job = JobSpec::container("a".parse().unwrap());
        assert!(check_user(&job, "").is_ok());
        job.security_profile = Some(SecurityProfile::Restricted);
        let error = check_user(&job, "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected(RejectReason::ContainerConfig));
        assert_eq!(
            error.to_string(),
            "the image runs as root, which the security profile restricted does not allow: set \
             securityContext.runAsUser, or use an image with a numeric user"
        );
        assert!(check_user(&job, "1000").is_ok());
        job.security_context.run_as_user = Some(1000);
        assert!(check_user(&job, "").is_ok());
    }
}
