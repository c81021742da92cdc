//! Translates a job to the body of `POST /containers/create`. Pure.

use std::collections::HashMap;
use std::path::Path;

use bollard_stubs::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType,
    RestartPolicy, RestartPolicyNameEnum,
};
use longshore_core::{
    Attempt, Container, Error, ErrorKind, JobDirectoryView, JobSpec, Network, Result,
};

use crate::DockerConfig;
use crate::labels::{Facts, attempt_labels};
use crate::security;

/// The image of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    /// The image's id, or the reference while the id is not known.
    pub(crate) image: String,
    /// The image's own user, needed if a job sets only the group.
    pub(crate) user: String,
    /// The image's own labels that are Longshore's. A container inherits its image's labels.
    pub(crate) reserved_labels: Vec<String>,
}

/// How the values of secret variables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// As `***`.
    Masked,
    /// In clear text: for the engine alone.
    Exposed,
}

/// The job's container; a job without one is unsupported.
pub(crate) fn container(job: &JobSpec) -> Result<&Container> {
    job.container.as_ref().ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            "the job has no `container`, and Docker runs only containers",
        )
    })
}

/// The container that runs `attempt`.
pub(crate) fn create_body(
    attempt: &Attempt,
    base: &Base,
    facts: &Facts,
    config: &DockerConfig,
    secrets: Secrets,
) -> Result<ContainerCreateBody> {
    let job = &*attempt.spec;
    let way = container(job)?;
    let view = JobDirectoryView::in_container(job);
    // An empty list would be "none", not "the image's own".
    let list = |args: &[String]| (!args.is_empty()).then(|| view.expand(args));
    Ok(ContainerCreateBody {
        image: Some(base.image.clone()),
        entrypoint: list(&way.command),
        cmd: list(&way.args),
        working_dir: way.working_dir.clone(),
        env: Some(env(attempt, &view, secrets)?),
        user: user(job, base),
        labels: Some(attempt_labels(attempt, facts, &base.reserved_labels)),
        tty: Some(job.tty),
        open_stdin: Some(job.stdin),
        // Without it, the job would wait for more after the first client has closed its half.
        stdin_once: (job.stdin && !job.tty).then_some(true),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(i64::try_from(facts.grace.as_secs()).unwrap_or(i64::MAX)),
        host_config: Some(host_config(job, config)?),
        ..ContainerCreateBody::default()
    })
}

fn env(attempt: &Attempt, view: &JobDirectoryView, secrets: Secrets) -> Result<Vec<String>> {
    let job = &*attempt.spec;
    let mut env: Vec<String> =
        view.env(job).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    for name in job.secret_env.keys().chain(attempt.secret_env.keys()) {
        if secrets == Secrets::Masked {
            env.push(format!("{name}=***"));
            continue;
        }
        let Some(value) = attempt.secret_env.get(name) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the value of a secret variable is in a Kubernetes Secret, and Docker has none",
            )
            .with("variable", name));
        };
        env.push(format!("{name}={}", value.expose()));
    }
    env.sort();
    env.dedup();
    Ok(env)
}

/// `user[:group]`; a group alone keeps the image's user
/// (<https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate>).
fn user(job: &JobSpec, base: &Base) -> Option<String> {
    let security = &job.security_context;
    let own = base.user.split(':').next().unwrap_or_default();
    match (security.run_as_user, security.run_as_group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(group)) if own.is_empty() => Some(format!("0:{group}")),
        (None, Some(group)) => Some(format!("{own}:{group}")),
        (None, None) => None,
    }
}

fn host_config(job: &JobSpec, config: &DockerConfig) -> Result<HostConfig> {
    let limits = &job.resources.limits;
    let memory = limits.memory.map(|m| i64::try_from(m.bytes()).unwrap_or(i64::MAX));
    let nanos = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let security = job.effective_security_context()?;
    Ok(HostConfig {
        // Without an init a job is PID 1, for which the kernel ignores every signal without a
        // handler, including TERM.
        init: Some(job.container.as_ref().is_none_or(|container| container.init)),
        memory,
        // Memory and swap together: equal means no swap, as on Kubernetes.
        memory_swap: memory,
        nano_cpus: limits.cpu.map(|cpu| nanos(cpu.millis())),
        pids_limit: limits.pids.map(i64::from),
        network_mode: match job.network {
            Network::None => Some("none".to_owned()),
            _ => config.network.clone(),
        },
        readonly_rootfs: security.read_only_root_filesystem.then_some(true),
        security_opt: security::options(&security),
        cap_add: security::names(&security.capabilities.add),
        cap_drop: security::names(&security.capabilities.drop),
        group_add: security::groups(&security),
        log_config: Some(log_config(config)),
        auto_remove: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        mounts: mounts(job)?,
        device_requests: limits.gpus.map(|count| vec![gpus(count)]),
        ..HostConfig::default()
    })
}

/// The `local` driver keeps bytes unchanged; `json-file` replaces invalid UTF-8
/// (<https://docs.docker.com/engine/logging/drivers/local/>).
fn log_config(config: &DockerConfig) -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("local".to_owned()),
        config: Some(HashMap::from([
            ("max-size".to_owned(), config.log_max_size.bytes().to_string()),
            ("max-file".to_owned(), config.log_max_files.max(2).to_string()),
        ])),
    }
}

/// `Mounts`, not `Binds`: a missing source is then an error, not a new folder that root owns.
fn mounts(job: &JobSpec) -> Result<Option<Vec<Mount>>> {
    let mut mounts = Vec::new();
    if let Some(directory) = &job.job_directory {
        for (folder, read_only) in [("input", true), ("output", false)] {
            let inside = Path::new(JobDirectoryView::IN_CONTAINER).join(folder);
            mounts.push(bind(&directory.join(folder), &inside, read_only)?);
        }
    }
    for volume in &job.volumes {
        mounts.push(bind(&volume.host_path, &volume.mount_path, volume.read_only)?);
    }
    Ok((!mounts.is_empty()).then_some(mounts))
}

fn bind(source: &Path, target: &Path, read_only: bool) -> Result<Mount> {
    let text = |path: &Path| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::new(ErrorKind::InvalidSpec, "the path of a folder is not UTF-8")
            .with("path", path.display())),
    };
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(text(source)?),
        target: Some(text(target)?),
        read_only: Some(read_only),
        ..Mount::default()
    })
}

/// What `docker run --gpus COUNT` asks for.
fn gpus(count: u32) -> DeviceRequest {
    DeviceRequest {
        count: Some(i64::from(count)),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{
        ImageReport, InstallationId, JobId, PullPolicy, Secret, SecretSource, SecurityContext,
        SecurityProfile, Volume,
    };

    use super::*;

    fn attempt(job: JobSpec) -> Attempt {
        let id = |text: &str| text.parse::<InstallationId>().unwrap();
        let job_id: JobId = "job".parse().unwrap();
        Attempt::new(id("here"), job_id, 1, job)
    }

    fn body(attempt: &Attempt, secrets: Secrets) -> serde_json::Value {
        let base =
            Base { image: "sha256:1d".to_owned(), user: "app:staff".to_owned(), ..Base::default() };
        let mut image = ImageReport::new("localhost:5000/a:1", PullPolicy::Always);
        image.pulled = Some(true);
        let facts = Facts::new(attempt, image);
        let body = create_body(attempt, &base, &facts, &DockerConfig::default(), secrets);
        serde_json::to_value(body.unwrap()).unwrap()
    }

    #[test]
    fn a_plain_job_asks_for_nothing_but_what_every_job_gets() {
        let job = JobSpec::container("localhost:5000/a:1".parse().unwrap());
        insta::assert_json_snapshot!(body(&attempt(job), Secrets::Masked));
    }

    #[test]
    fn a_job_with_everything_is_translated_in_full() {
        let mut job = JobSpec::container("localhost:5000/a:1".parse().unwrap());
        let container = job.container.as_mut().unwrap();
        container.command = vec!["sh".to_owned(), "-c".to_owned()];
        container.args = vec!["cat {jobDir}/input/x".to_owned()];
        container.working_dir = Some("/work".to_owned());
        job.labels.insert("team".to_owned(), "a".to_owned());
        job.env.insert("A".to_owned(), "$(B) $$".to_owned());
        job.secret_env.insert("TOKEN".to_owned(), SecretSource::Env("T".to_owned()));
        job.job_directory = Some("/srv/j/".into());
        job.resources.limits.cpu = Some("500m".parse().unwrap());
        job.resources.limits.memory = Some("64Mi".parse().unwrap());
        job.resources.limits.pids = Some(100);
        job.resources.limits.gpus = Some(2);
        job.volumes =
            vec![Volume::new("/srv/data", "/data").read_only(), Volume::new("/tmp/x", "/x")];
        job.timeout = Some("5m".parse().unwrap());
        job.grace_period = Some("3s".parse().unwrap());
        job.network = Network::None;
        job.stdin = true;
        let mut security = SecurityContext::default();
        security.run_as_group = Some(7);
        security.read_only_root_filesystem = true;
        security.allow_privilege_escalation = Some(false);
        job.security_context = security;
        let mut attempt = attempt(job);
        attempt.secret_env.insert("TOKEN".to_owned(), Secret::new("hunter2"));
        insta::assert_json_snapshot!(body(&attempt, Secrets::Masked));
        let exposed = body(&attempt, Secrets::Exposed);
        assert!(exposed["Env"].as_array().unwrap().contains(&"TOKEN=hunter2".into()));
    }

    #[test]
    fn a_terminal_takes_input_from_more_than_one_client() {
        let mut job = JobSpec::container("a".parse().unwrap());
        (job.tty, job.stdin) = (true, true);
        let body = body(&attempt(job), Secrets::Masked);
        assert_eq!((&body["Tty"], &body["OpenStdin"]), (&true.into(), &true.into()));
        assert!(body["StdinOnce"].is_null());
    }

    #[test]
    fn an_image_with_an_init_of_its_own_keeps_process_1() {
        for init in [true, false] {
            let mut job = JobSpec::container("a".parse().unwrap());
            job.container.as_mut().unwrap().init = init;
            assert_eq!(body(&attempt(job), Secrets::Masked)["HostConfig"]["Init"], init);
        }
    }

    #[test]
    fn a_profile_and_what_the_job_says_beside_it_reach_the_engine() {
        let host = |profile, context| {
            let mut job = JobSpec::container("a".parse().unwrap());
            job.security_profile = Some(profile);
            job.security_context = serde_json::from_value(context).unwrap();
            let body = body(&attempt(job), Secrets::Masked);
            let keys = ["CapAdd", "CapDrop", "GroupAdd", "SecurityOpt"];
            serde_json::json!(keys.map(|key| body["HostConfig"][key].clone()))
        };
        use SecurityProfile::{Baseline, Privileged, Restricted};
        let none = serde_json::json!({});
        let no_new = serde_json::json!(["no-new-privileges"]);
        let expected = serde_json::json!([null, null, null, null]);
        assert_eq!(host(Privileged, none.clone()), expected);
        let expected = serde_json::json!([null, null, null, no_new]);
        assert_eq!(host(Baseline, none.clone()), expected);
        assert_eq!(host(Restricted, none), serde_json::json!([null, ["ALL"], null, no_new]));
        let all = serde_json::json!({
            "supplementalGroups": [7], "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["CHOWN"]},
            "seccompProfile": {"type": "Unconfined"},
        });
        let options = serde_json::json!(["no-new-privileges", "seccomp=unconfined"]);
        let expected = serde_json::json!([["NET_ADMIN"], ["CHOWN"], ["7"], options]);
        assert_eq!(host(Privileged, all), expected);
    }

    #[test]
    fn a_group_alone_keeps_the_images_user() {
        for (user, group, own, expected) in [
            (None, None, "app", None),
            (Some(1), None, "app", Some("1")),
            (Some(1), Some(2), "app", Some("1:2")),
            (None, Some(2), "app:staff", Some("app:2")),
            (None, Some(2), "", Some("0:2")),
        ] {
            let mut job = JobSpec::default();
            job.security_context.run_as_user = user;
            job.security_context.run_as_group = group;
            let base = Base { user: own.to_owned(), ..Base::default() };
            assert_eq!(super::user(&job, &base).as_deref(), expected);
        }
    }

    #[test]
    fn what_docker_cannot_run_is_unsupported() {
        let facts = Facts::new(
            &attempt(JobSpec::default()),
            ImageReport::new("a", PullPolicy::IfNotPresent),
        );
        let refused = |job: JobSpec| {
            let (attempt, config) = (attempt(job), DockerConfig::default());
            let body = create_body(&attempt, &Base::default(), &facts, &config, Secrets::Exposed);
            assert_eq!(body.unwrap_err().kind(), ErrorKind::Unsupported);
        };
        refused(JobSpec::process(["true"]));
        let mut job = JobSpec::container("a".parse().unwrap());
        let source = SecretSource::SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() };
        job.secret_env.insert("TOKEN".to_owned(), source);
        refused(job);
    }
}
