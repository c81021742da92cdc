//! Which security profile applies to a job.

use longshore_core::{Error, ErrorKind, JobSpec};

use crate::Settings;

/// Sets the profile in force in `spec`: its own, or the configured one.
///
/// # Errors
/// `InvalidSpec` if the job names a profile that jobs may not name, or sets something beyond its
/// profile.
pub(crate) fn apply(spec: &mut JobSpec, settings: &Settings) -> Result<(), Error> {
    let allowed = &settings.allowed_security_profiles;
    if let Some(named) = spec.security_profile.filter(|named| !allowed.contains(named)) {
        let allowed: Vec<&str> = allowed.iter().map(|profile| profile.as_str()).collect();
        let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        return Err(Error::new(
            ErrorKind::InvalidSpec,
            format!("the job's securityProfile {named} is not among job.allowedSecurityProfiles"),
        )
        .with("allowed", allowed));
    }
    spec.security_profile.get_or_insert(settings.security_profile);
    spec.effective_security_context().map(drop)
}

#[cfg(test)]
mod tests {
    use longshore_core::SecurityProfile::{self, Baseline, Privileged, Restricted};

    use super::*;

    fn applied(
        settings: (SecurityProfile, &[SecurityProfile]),
        named: Option<SecurityProfile>,
        added: Option<&str>,
    ) -> Result<JobSpec, String> {
        let (security_profile, allowed) = settings;
        let allowed_security_profiles = allowed.to_vec();
        let settings =
            Settings { security_profile, allowed_security_profiles, ..Settings::default() };
        let mut spec = JobSpec::container("a".parse().unwrap());
        spec.security_profile = named;
        spec.security_context.capabilities.add =
            added.iter().map(|name| name.parse().unwrap()).collect();
        match apply(&mut spec, &settings) {
            Ok(()) => Ok(spec),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidSpec);
                Err(error.to_string())
            }
        }
    }

    #[test]
    fn a_job_has_its_own_profile_if_that_is_allowed_and_else_the_configured_one() {
        let all = &SecurityProfile::ALL[..];
        let found = |settings, named| {
            applied(settings, named, None).map(|spec| spec.security_profile.unwrap())
        };
        assert_eq!(found((Baseline, all), None), Ok(Baseline));
        assert_eq!(found((Restricted, &[]), None), Ok(Restricted));
        assert_eq!(found((Restricted, all), Some(Privileged)), Ok(Privileged));
        let refused = found((Baseline, &[Baseline, Restricted]), Some(Privileged)).unwrap_err();
        assert_eq!(
            refused,
            "the job's securityProfile privileged is not among job.allowedSecurityProfiles \
             (allowed: baseline, restricted)"
        );
        let refused = found((Baseline, &[]), Some(Baseline)).unwrap_err();
        assert!(refused.contains("(allowed: none)"), "{refused}");
    }

    #[test]
    fn what_a_job_needs_beyond_its_profile_it_must_say() {
        let all = &SecurityProfile::ALL[..];
        let refused = applied((Baseline, all), None, Some("NET_ADMIN")).unwrap_err();
        assert_eq!(
            refused,
            "`securityContext.capabilities.add: NET_ADMIN` is beyond the security profile \
             baseline: the job must set `securityProfile: privileged`"
        );
        applied((Baseline, all), Some(Privileged), Some("NET_ADMIN")).unwrap();
        applied((Privileged, all), None, Some("NET_ADMIN")).unwrap();
        applied((Baseline, all), None, Some("CHOWN")).unwrap();
    }
}
