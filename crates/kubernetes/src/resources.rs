//! The resources of a job's container: the job's own limits, the configured default, and the
//! configured maximum. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use longshore_core::{Error, ErrorKind, ResourceList, Result};

use crate::amounts::Amounts;
use crate::config::KubernetesConfig;

/// Returns the resources of the container of a job with these `limits`. Requests equal the limits
/// that the job sets, so that the scheduler reserves what the job may use.
///
/// A job without a limit has the default one, else the maximum, as with a LimitRange
/// (<https://kubernetes.io/docs/concepts/policy/limit-range/>).
///
/// # Errors
/// `InvalidSpec` if the job asks for more than the maximum, or if a default is beyond it.
pub(crate) fn of_container(
    limits: &ResourceList,
    config: &KubernetesConfig,
) -> Result<Option<ResourceRequirements>> {
    let gpus = limits.gpus;
    let own = Amounts { cpu: limits.cpu, memory: limits.memory, ephemeral_storage: None };
    let maximum = config.max_resources;
    if let Some((name, asked, most)) = own.excess(maximum) {
        return Err(Error::new(
            ErrorKind::InvalidSpec,
            format!(
                "`resources.limits.{name}` is {asked}, more than job.kubernetes.maxResources allows"
            ),
        )
        .with("maximum", most));
    }
    let limits = own.or(config.default_resources.limits).or(maximum);
    if let Some((name, asked, most)) = limits.excess(maximum) {
        return Err(Error::new(
            ErrorKind::InvalidSpec,
            format!(
                "job.kubernetes.defaultResources.limits has {asked} of {name}, more than \
                 job.kubernetes.maxResources allows"
            ),
        )
        .with("maximum", most));
    }
    let requests = own.or(config.default_resources.requests).or(limits);
    if let Some((name, asked, most)) = requests.excess(limits) {
        return Err(Error::new(
            ErrorKind::InvalidSpec,
            format!(
                "job.kubernetes.defaultResources.requests has {asked} of {name}, more than the \
                 job's limit"
            ),
        )
        .with("limit", most));
    }
    let (mut limits, mut requests) = (limits.quantities(), requests.quantities());
    if let Some(gpus) = gpus {
        // The request for an extended resource must equal its limit.
        for amounts in [&mut limits, &mut requests] {
            amounts.insert(config.gpu_resource_name.clone(), Quantity(gpus.to_string()));
        }
    }
    if limits.is_empty() && requests.is_empty() {
        return Ok(None);
    }
    let some = |amounts: BTreeMap<_, _>| (!amounts.is_empty()).then_some(amounts);
    Ok(Some(ResourceRequirements { limits: some(limits), requests: some(requests), claims: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(text: &str) -> Amounts {
        serde_json::from_str(text).unwrap()
    }

    fn of(own: &str, config: &KubernetesConfig) -> Result<serde_json::Value> {
        let limits: ResourceList = serde_json::from_str(own).unwrap();
        Ok(serde_json::to_value(of_container(&limits, config)?).unwrap())
    }

    #[test]
    fn a_job_has_its_own_limits_else_the_default_else_the_maximum() {
        let mut config = KubernetesConfig::default();
        assert_eq!(of("{}", &config).unwrap(), serde_json::Value::Null);
        config.max_resources = amounts(r#"{"cpu": 4, "memory": "1Gi"}"#);
        config.default_resources.limits = amounts(r#"{"memory": "64Mi"}"#);
        config.default_resources.requests = amounts(r#"{"cpu": "100m"}"#);
        let expected = serde_json::json!({
            "limits": {"cpu": "4", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"},
        });
        assert_eq!(of("{}", &config).unwrap(), expected);
        let expected = serde_json::json!({
            "limits": {"cpu": "2", "memory": "128Mi"}, "requests": {"cpu": "2", "memory": "128Mi"},
        });
        assert_eq!(of(r#"{"cpu": 2, "memory": "128Mi"}"#, &config).unwrap(), expected);
    }

    #[test]
    fn gpus_are_an_extended_resource_whose_request_is_its_limit() {
        let mut config = KubernetesConfig::default();
        let expected =
            |name: &str| serde_json::json!({"limits": {name: "2"}, "requests": {name: "2"}});
        assert_eq!(of(r#"{"gpus": 2}"#, &config).unwrap(), expected("nvidia.com/gpu"));
        config.gpu_resource_name = "amd.com/gpu".to_owned();
        assert_eq!(of(r#"{"gpus": 2}"#, &config).unwrap(), expected("amd.com/gpu"));
    }

    /// A job without a limit had more than the maximum.
    #[test]
    fn a_default_beyond_the_maximum_is_refused_by_name() {
        let max_resources = amounts(r#"{"cpu": 2, "ephemeralStorage": "1Gi"}"#);
        let mut config = KubernetesConfig { max_resources, ..KubernetesConfig::default() };
        config.default_resources.limits = amounts(r#"{"cpu": 1, "ephemeralStorage": "2Gi"}"#);
        let error = of("{}", &config).unwrap_err();
        assert_eq!(
            error.to_string(),
            "job.kubernetes.defaultResources.limits has 2Gi of ephemeral-storage, more than \
             job.kubernetes.maxResources allows (maximum: 1Gi)"
        );
    }

    #[test]
    fn a_job_that_asks_for_more_than_the_maximum_is_refused_by_name() {
        let max_resources = amounts(r#"{"memory": "1Gi"}"#);
        let config = KubernetesConfig { max_resources, ..KubernetesConfig::default() };
        let error = of(r#"{"memory": "2Gi"}"#, &config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        assert_eq!(
            error.to_string(),
            "`resources.limits.memory` is 2Gi, more than job.kubernetes.maxResources allows \
             (maximum: 1Gi)"
        );
    }
}
