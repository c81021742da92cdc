//! Checks whether the cluster can accept work now.

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use longshore_core::{Error, ErrorKind, Health, Result, SecurityProfile};
use tokio::time::timeout;

use crate::backend::Backend;
use crate::client::Cluster;
use crate::error::timed_out;
use crate::owner;

/// API group, resource, subresource, verbs.
type Needed = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// The permissions that a runner requires. `role.yaml` grants these, [`EVENTS`], and those of
/// [`FEATURES`].
const NEEDED: &[Needed] = &[
    ("batch", "jobs", "", &["create", "get", "list", "watch", "patch", "delete"]),
    ("", "pods", "", &["list", "watch", "patch", "delete"]),
    ("", "pods", "log", &["get"]),
];
/// The optional permission to see whether images are pulled.
const EVENTS: Needed = ("", "events", "", &["list", "watch"]);
/// What the check of a job needs to find out what the cluster says about its Pod. Without it, a probe
/// looks at the namespace instead.
const CHECK: Needed = ("", "pods", "", &["create"]);
/// What a job with a stdin needs. A WebSocket is opened by GET, and newer API servers also ask for
/// the verb `create`.
const STDIN: Needed = ("", "pods", "attach", &["create", "get"]);
/// What a command in a job needs, by the same verbs.
const EXEC: Needed = ("", "pods", "exec", &["create", "get"]);
/// The features that need optional permissions.
const FEATURES: [Feature; 3] = [
    Feature {
        name: "secrets",
        needs: ("", "secrets", "", &["create", "delete"]),
        cost: "jobs with a secret environment or a registry's credential will be refused",
    },
    Feature {
        name: "stdin",
        needs: STDIN,
        cost: "this runner is passed over for jobs with a stdin",
    },
    Feature { name: "exec", needs: EXEC, cost: "`longshore exec` cannot run a command in a job" },
];

/// A feature that permissions switch on.
#[derive(Debug)]
struct Feature {
    name: &'static str,
    needs: Needed,
    /// What does not work without it.
    cost: &'static str,
}

/// Checks that the server lets us run commands in a job.
pub(crate) async fn ensure_exec(cluster: &Cluster, namespace: &str) -> Result<()> {
    let Some(message) = not_allowed(cluster, namespace, &[EXEC], &[]).await? else { return Ok(()) };
    Err(cluster.locate(Error::new(ErrorKind::Denied, message).with("namespace", namespace)))
}

/// Checks that the server lets us give a job its stdin, before the job starts.
pub(crate) async fn ensure_stdin(cluster: &Cluster, namespace: &str) -> Result<()> {
    let Some(why) = not_allowed(cluster, namespace, &[STDIN], &[]).await? else { return Ok(()) };
    let message = format!("it does not support stdin: {why}");
    Err(cluster.locate(Error::new(ErrorKind::Unsupported, message).with("namespace", namespace)))
}

/// Checks whether the cluster can accept work now, and what may go wrong later.
pub(crate) async fn probe(backend: &Backend) -> Result<Health> {
    limited(backend, examine(backend)).await
}

/// Checks whether the cluster can accept work now, with one request. The answer proves that there is
/// an API server, that it accepts the credentials, and that they permit each request of a job's life.
/// The answer to the create shows whether the namespace exists.
pub(crate) async fn ready(backend: &Backend) -> Result<()> {
    let asking = async {
        let cluster = backend.connection.cluster().await?;
        let namespace = backend.config.namespace.as_deref().unwrap_or(&cluster.namespace);
        // This is the first request, so most of its failures are about the server as a whole.
        let permitted = permitted("failed to reach the API server", &cluster, namespace);
        permitted.await.map(drop).map_err(|error| cluster.locate(error))
    };
    limited(backend, asking).await
}

/// Waits for `answer`, at most for the time for connecting. After a failure, the next request reads
/// the configuration again.
async fn limited<T>(backend: &Backend, answer: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = backend.config.connect_timeout.get();
    let answer = match timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let error = timed_out("failed to reach the API server", limit);
            Err(match backend.connection.opened() {
                Some(cluster) => cluster.locate(error),
                None => error,
            })
        }
    };
    if answer.is_err() {
        backend.connection.forget().await;
    }
    answer
}

/// Checks that the server grants everything that a runner needs. Returns the permissions that it
/// lists.
async fn permitted(
    action: &'static str,
    cluster: &Cluster,
    namespace: &str,
) -> Result<Vec<ResourceRule>> {
    let rules = rules(action, cluster, namespace).await?;
    let Some(message) = not_allowed(cluster, namespace, NEEDED, &rules).await? else {
        return Ok(rules);
    };
    Err(Error::new(ErrorKind::Denied, message).with("namespace", namespace))
}

async fn examine(backend: &Backend) -> Result<Health> {
    let cluster = backend.connection.cluster().await?;
    let server = |error: Error| cluster.locate(error);
    let version = cluster
        .ask("failed to reach the API server", cluster.client.apiserver_version())
        .await
        .map_err(|failure| server(failure.into()))?;
    let namespace = backend.config.namespace.as_deref().unwrap_or(&cluster.namespace);
    let found = check_namespace(&cluster, namespace).await.map_err(server)?;
    let action = "failed to ask for our permissions";
    let rules = permitted(action, &cluster, namespace).await.map_err(server)?;
    owner::ensure(&cluster, namespace, &backend.config).await.map_err(server)?;
    let optional: Vec<Needed> = optional().collect();
    let lacking = missing(&cluster, namespace, &optional, &rules).await.map_err(server)?;
    let mut health = Health::default();
    health.version = format!("Kubernetes {}", version.git_version);
    health.push_fact("server", &cluster.server);
    if let Some(proxy) = &cluster.proxy {
        health.push_fact("proxy", proxy);
    }
    health.push_fact("namespace", namespace);
    if let Some(context) = &backend.config.context {
        health.push_fact("context", context);
    }
    if let Some(claim) = &backend.config.persistent_volume_claim_name {
        health.push_fact("persistentVolumeClaimName", claim);
    }
    report(&mut health, &lacking);
    let profile = backend.config.security_profile;
    if let Some(warning) = found.and_then(|namespace| pod_security(&namespace, profile))
        && !missing(&cluster, namespace, &[CHECK], &rules).await.map_err(server)?.is_empty()
    {
        health.warnings.push(warning);
    }
    Ok(health)
}

/// The optional permissions.
fn optional() -> impl Iterator<Item = Needed> {
    std::iter::once(EVENTS).chain(FEATURES.iter().map(|feature| feature.needs))
}

/// Reports the optional permissions that are missing, as `verb resource`. A feature without any of
/// its permissions is switched off: that is a fact, and no warning.
fn report(health: &mut Health, missing: &[String]) {
    let of = |needed: &Needed| {
        let all: Vec<String> = permissions(needed).collect();
        let lacking = missing.iter().filter(|what| all.contains(*what)).map(String::as_str);
        (lacking.collect::<Vec<_>>(), all.len())
    };
    for what in of(&EVENTS).0 {
        health.warnings.push(format!(
            "not allowed to {what}: whether an image was pulled stays unknown, and a failed pull is \
             noticed later"
        ));
    }
    for Feature { name, needs, cost } in &FEATURES {
        match of(needs) {
            (lacking, all) if lacking.len() == all => {
                let lacking = lacking.join(", ");
                health.push_fact(*name, format!("off, not allowed to {lacking}: {cost}"));
            }
            (lacking, _) => health.warnings.extend(lacking.into_iter().map(|what| match what {
                "delete secrets" => format!(
                    "not allowed to {what}: the Secret of a job that is withdrawn by another \
                     process stays for ten minutes"
                ),
                _ => format!("not allowed to {what}: {cost}"),
            })),
        }
    }
}

/// Returns the permissions of `needed`, as `verb resource`.
fn permissions((_, resource, subresource, verbs): &Needed) -> impl Iterator<Item = String> {
    verbs.iter().map(move |verb| format!("{verb} {}", named(resource, subresource)))
}

/// Returns the name of a resource, with its subresource if it has one.
fn named(resource: &str, subresource: &str) -> String {
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{resource}{slash}{subresource}")
}

/// Checks that the namespace exists. A missing namespace is `Unavailable`: the cluster refuses
/// nothing, and is ready as soon as somebody creates the namespace. If Longshore may not read
/// namespaces, the configured one is assumed to exist, and the answer is `None`.
async fn check_namespace(cluster: &Cluster, namespace: &str) -> Result<Option<Namespace>> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let found = cluster.ask("failed to read the namespace", api.get_opt(namespace)).await;
    let unavailable = |message: &'static str| {
        Err(Error::new(ErrorKind::Unavailable, message).with("namespace", namespace))
    };
    match found {
        Ok(Some(found)) if found.metadata.deletion_timestamp.is_none() => Ok(Some(found)),
        Ok(Some(_)) => unavailable("the namespace is being deleted"),
        Ok(None) => unavailable("the namespace does not exist"),
        Err(failure) if failure.code() == Some(403) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// The label with the Pod Security Standard that a namespace enforces
/// (<https://kubernetes.io/docs/concepts/security/pod-security-admission/>).
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Returns a warning if `namespace` refuses the Pods of jobs that have `profile`.
fn pod_security(namespace: &Namespace, profile: SecurityProfile) -> Option<String> {
    let labels = namespace.metadata.labels.as_ref()?;
    // Kubernetes treats a value that it does not know as `restricted`.
    let enforced = labels.get(ENFORCE)?.parse().unwrap_or(SecurityProfile::Restricted);
    // What the profile `privileged` leaves open is within `baseline`, but not within `restricted`.
    let refused = enforced == SecurityProfile::Restricted && profile > enforced;
    refused.then(|| {
        format!(
            "the namespace enforces Pod Security `{enforced}`: it refuses jobs with the security \
             profile `{profile}`, which jobs have that name none (set job.securityProfile: \
             {enforced})"
        )
    })
}

/// Returns the permissions that the server can list, with one request instead of a dozen.
async fn rules(
    action: &'static str,
    cluster: &Cluster,
    namespace: &str,
) -> Result<Vec<ResourceRule>> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) },
        ..<_>::default()
    };
    let api: Api<SelfSubjectRulesReview> = Api::all(cluster.client.clone());
    let params = PostParams::default();
    let answer = cluster.ask(action, api.create(&params, &review)).await?;
    Ok(answer.status.map(|status| status.resource_rules).unwrap_or_default())
}

/// Returns whether `rule` allows `verb` on `resource` (with its subresource, if any) for every
/// name.
fn allows(rule: &ResourceRule, group: &str, resource: &str, verb: &str) -> bool {
    let has = |list: Option<&[String]>, wanted: &str| {
        list.is_some_and(|list| list.iter().any(|one| one == "*" || one == wanted))
    };
    has(rule.api_groups.as_deref(), group)
        && has(rule.resources.as_deref(), resource)
        && has(Some(&rule.verbs), verb)
        && rule.resource_names.as_ref().is_none_or(Vec::is_empty)
}

/// Returns what of `needed` the server does not allow, as text for a person, or `None` if it allows all.
async fn not_allowed(
    cluster: &Cluster,
    namespace: &str,
    needed: &[Needed],
    rules: &[ResourceRule],
) -> Result<Option<String>> {
    let missing = missing(cluster, namespace, needed, rules).await?;
    Ok((!missing.is_empty()).then(|| format!("not allowed to {}", missing.join(", "))))
}

/// Returns the permissions among `needed` that are missing, as `verb resource`. Not every
/// authorizer can list what it allows, so each permission that `rules` do not show is requested on
/// its own.
async fn missing(
    cluster: &Cluster,
    namespace: &str,
    needed: &[Needed],
    rules: &[ResourceRule],
) -> Result<Vec<String>> {
    let questions = needed.iter().flat_map(|(group, resource, subresource, verbs)| {
        verbs.iter().map(move |verb| (*group, *resource, *subresource, *verb))
    });
    let questions = questions.filter(|(group, resource, subresource, verb)| {
        let name = named(resource, subresource);
        !rules.iter().any(|rule| allows(rule, group, &name, verb))
    });
    let asking = questions.map(|(group, resource, subresource, verb)| async move {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace.to_owned()),
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource: Some(subresource.to_owned()).filter(|s| !s.is_empty()),
                    verb: Some(verb.to_owned()),
                    ..<_>::default()
                }),
                ..<_>::default()
            },
            ..<_>::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
        let params = PostParams::default();
        let asking = api.create(&params, &review);
        let answer = cluster.ask("failed to ask for our permissions", asking).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let what = || format!("{verb} {}", named(resource, subresource));
        Ok::<_, Error>((!allowed).then(what))
    });
    Ok(try_join_all(asking).await?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_role_allows_what_is_asked_for_and_no_more() {
        let role: serde_json::Value = serde_saphyr::from_str(include_str!("../role.yaml")).unwrap();
        let all = NEEDED.iter().copied().chain(optional());
        let asked = all.map(|(group, resource, subresource, verbs)| {
            let resource = named(resource, subresource);
            serde_json::json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
        });
        assert_eq!(role["rules"], serde_json::Value::Array(asked.collect()));
    }

    #[test]
    fn a_namespace_that_refuses_the_default_profile_is_a_warning() {
        use SecurityProfile::{Baseline, Privileged, Restricted};
        for (enforced, profile, warns) in [
            (None, Privileged, false),
            (Some("privileged"), Privileged, false),
            (Some("baseline"), Privileged, false),
            (Some("baseline"), Baseline, false),
            (Some("restricted"), Privileged, true),
            (Some("restricted"), Baseline, true),
            (Some("restricted"), Restricted, false),
            (Some("unheard-of"), Baseline, true),
        ] {
            let mut namespace = Namespace::default();
            let label = |level: &str| [(ENFORCE.to_owned(), level.to_owned())].into();
            namespace.metadata.labels = enforced.map(label);
            let warning = pod_security(&namespace, profile);
            assert_eq!(warning.is_some(), warns, "{enforced:?} {profile}: {warning:?}");
        }
    }

    fn reported(missing: &[&str]) -> Health {
        let mut health = Health::default();
        report(&mut health, &missing.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        health
    }

    /// What the chart's values switch off was a warning in each run of doctor.
    #[test]
    fn a_feature_that_is_switched_off_is_a_fact_and_no_warning() {
        let all: Vec<String> = FEATURES.iter().flat_map(|it| permissions(&it.needs)).collect();
        let health = reported(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(health.warnings, Vec::<String>::new());
        let names: Vec<&str> = health.facts.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["secrets", "stdin", "exec"]);
        assert_eq!(
            health.facts[1].1,
            "off, not allowed to create pods/attach, get pods/attach: this runner is passed over \
             for jobs with a stdin"
        );
    }

    #[test]
    fn a_feature_with_only_a_part_of_its_permissions_is_a_warning() {
        let health = reported(&["get pods/exec", "delete secrets"]);
        assert_eq!(health.facts, []);
        let begins = |(at, text): (usize, &str)| {
            assert!(health.warnings[at].starts_with(text), "{:?}", health.warnings);
        };
        let expected =
            ["not allowed to delete secrets: the Secret", "not allowed to get pods/exec"];
        expected.into_iter().enumerate().for_each(begins);
        assert_eq!(health.warnings.len(), 2);
    }

    #[test]
    fn each_permission_that_every_job_would_use_is_a_warning() {
        let health = reported(&["list events", "watch events"]);
        assert_eq!((health.warnings.len(), health.facts.len()), (2, 0), "{health:?}");
    }
}
