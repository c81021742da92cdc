use std::path::PathBuf;

use longshore_core::{
    Container as ContainerSpec, HumanDuration, InstallationId, JobId, JobSpec, Network, PullPolicy,
    RegistryAuth, Secret, SecurityProfile,
};

use super::*;

fn attempt(change: impl FnOnce(&mut JobSpec)) -> Attempt {
    let mut spec = JobSpec::container("localhost:5000/x:1".parse().unwrap());
    change(&mut spec);
    let installation: InstallationId = "here".parse().unwrap();
    let job: JobId = "job".parse().unwrap();
    Attempt::new(installation, job, 1, spec)
}

fn yaml(attempt: &Attempt, config: &KubernetesConfig) -> String {
    crate::plan::plan(attempt, config).unwrap().text
}

fn refusal(config: &KubernetesConfig, change: impl FnOnce(&mut JobSpec)) -> String {
    let error = translate(&attempt(change), config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    error.to_string()
}

fn with_volume() -> KubernetesConfig {
    KubernetesConfig {
        persistent_volume_claim_name: Some("shared".to_owned()),
        job_directory_root: Some(PathBuf::from("/srv/jobs")),
        ..KubernetesConfig::default()
    }
}

#[test]
fn what_is_missing_for_a_job_directory_is_named() {
    let with = |claim: bool, root: bool| {
        let mut config = with_volume();
        config.persistent_volume_claim_name.take_if(|_| !claim);
        config.job_directory_root.take_if(|_| !root);
        assert_eq!(capabilities(&config).job_directory, claim && root);
        remedy(Capability::JobDirectory, &config)
    };
    let claim = "job.kubernetes.persistentVolumeClaimName";
    let root = "job.directory to where that volume is mounted here";
    assert_eq!(with(false, false).unwrap(), format!("set {claim}, and {root}"));
    assert_eq!(with(false, true).unwrap(), format!("set {claim}"));
    assert_eq!(with(true, false).unwrap(), format!("set {root}"));
    assert_eq!(with(true, true), None);
    let by_nature = remedy(Capability::LimitPids, &KubernetesConfig::default());
    assert_eq!(by_nature, None);
}

#[test]
fn the_smallest_job_is_suspended_and_never_retried() {
    insta::assert_snapshot!(yaml(&attempt(|_| {}), &KubernetesConfig::default()));
}

#[test]
fn everything_a_job_may_say_reaches_the_pod() {
    let mut everything = attempt(|job| {
        job.name = Some("Extract URLs".to_owned());
        job.stdin = true;
        let mut container = ContainerSpec::new("localhost:5000/x:1".parse().unwrap());
        container.command = vec!["sh".to_owned(), "-c".to_owned()];
        container.args = vec!["echo $HOME $(A) $$ {jobDir}".to_owned()];
        container.working_dir = Some("/tmp".to_owned());
        job.container = Some(container);
        job.labels.insert("team".to_owned(), "red".to_owned());
        job.env.insert("A".to_owned(), "$(B) literally".to_owned());
        job.job_directory = Some(PathBuf::from("/srv/jobs/a/b"));
        job.resources.limits.cpu = Some("500m".parse().unwrap());
        job.resources.limits.memory = Some("64Mi".parse().unwrap());
        job.timeout = Some(HumanDuration::from_secs(90));
        job.grace_period = Some("1500ms".parse().unwrap());
        job.security_context.run_as_user = Some(65534);
        job.security_context.run_as_group = Some(65534);
        job.security_context.read_only_root_filesystem = true;
        job.security_context.allow_privilege_escalation = Some(false);
        let source = SecretSource::Env("IGNORED".to_owned());
        job.secret_env.insert("TOKEN".to_owned(), source);
        let key = SecretSource::SecretKeyRef { name: "db".to_owned(), key: "password".to_owned() };
        job.secret_env.insert("PASSWORD".to_owned(), key);
    });
    everything.pull_policy = PullPolicy::Always;
    everything.secret_env.insert("TOKEN".to_owned(), Secret::new("hunter2"));
    everything.registry_auth =
        Some(RegistryAuth::password("localhost:5000", "me", Secret::new("hunter2")));
    let config = KubernetesConfig {
        namespace: Some("jobs".to_owned()),
        labels: [("app".to_owned(), "longshore".to_owned())].into(),
        service_account_name: Some("worker".to_owned()),
        image_pull_secrets: vec!["team".to_owned()],
        node_selector: [("disk".to_owned(), "ssd".to_owned())].into(),
        ..with_volume()
    };
    let text = yaml(&everything, &config);
    assert!(!text.contains("hunter2"));
    insta::assert_snapshot!(text);
}

#[test]
fn labels_of_the_user_never_replace_longshores_own() {
    let forged = attempt(|job| {
        job.labels.insert(names::ATTEMPT.to_owned(), "other".to_owned());
        job.labels.insert(names::INSTALLATION.to_owned(), "other".to_owned());
    });
    let labels = labels::labels(&forged, &KubernetesConfig::default());
    assert_eq!(labels[names::ATTEMPT], "job-1");
    assert_eq!(labels[names::INSTALLATION], "here");
}

#[test]
fn what_a_pod_cannot_express_is_refused_with_the_reason() {
    let plain = KubernetesConfig::default();
    assert!(refusal(&plain, |j| j.container = None).contains("no way"));
    assert!(refusal(&plain, |j| j.network = Network::None).contains("network: none"));
    assert!(refusal(&plain, |j| j.resources.limits.pids = Some(9)).contains("pids"));
    let directory = |j: &mut JobSpec| j.job_directory = Some(PathBuf::from("/srv/jobs/a"));
    assert!(refusal(&plain, directory).contains("persistentVolumeClaimName"));
    let queue = |j: &mut JobSpec| {
        j.labels.insert(names::KUEUE_QUEUE.to_owned(), "q".to_owned());
    };
    assert!(refusal(&plain, queue).contains("Kueue"));
    let mut token = attempt(|_| {});
    token.registry_auth = Some(RegistryAuth::token("r", Secret::new("hunter2")));
    let error = translate(&token, &plain).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("identity token"), "{error}");
}

#[test]
fn a_job_directory_outside_the_volume_is_refused() {
    let config = with_volume();
    for path in ["/srv/other", "/srv/jobs/../other", "/srv/jobsX/a", "/"] {
        let refused = refusal(&config, |j| j.job_directory = Some(PathBuf::from(path)));
        assert!(refused.contains("outside job.directory"), "{path}: {refused}");
    }
    let root = attempt(|j| j.job_directory = Some(PathBuf::from("/srv/jobs")));
    assert!(yaml(&root, &config).contains("subPath: input"));
}

#[test]
fn no_grace_period_is_zero_and_no_finished_job_goes_within_a_day() {
    let config = KubernetesConfig { ttl_seconds_after_finished: 5, ..KubernetesConfig::default() };
    let hasty = attempt(|j| j.grace_period = Some(HumanDuration::from_secs(0)));
    let spec = translate(&hasty, &config).unwrap().job.spec.unwrap();
    assert_eq!(spec.ttl_seconds_after_finished, Some(86_400));
    assert_eq!(spec.template.spec.unwrap().termination_grace_period_seconds, Some(1));
}

#[test]
fn an_image_with_an_init_of_its_own_keeps_process_1() {
    let shares = |init: bool| {
        let attempt = attempt(|spec| spec.container.as_mut().unwrap().init = init);
        let job = translate(&attempt, &KubernetesConfig::default()).unwrap().job;
        job.spec.unwrap().template.spec.unwrap().share_process_namespace
    };
    assert_eq!(shares(true), Some(true));
    assert_eq!(shares(false), None);
}

/// The security contexts of the container and of the Pod, as YAML.
fn security(change: impl FnOnce(&mut JobSpec)) -> String {
    let job = translate(&attempt(change), &KubernetesConfig::default()).unwrap().job;
    let pod = job.spec.unwrap().template.spec.unwrap();
    let both = (&pod.containers[0].security_context, &pod.security_context);
    serde_saphyr::to_string(&both).unwrap()
}

#[test]
fn a_profile_reaches_the_container_and_nothing_else_of_the_pod() {
    let profile = |profile| security(|job| job.security_profile = Some(profile));
    insta::assert_snapshot!("privileged", profile(SecurityProfile::Privileged));
    insta::assert_snapshot!("baseline", profile(SecurityProfile::Baseline));
    insta::assert_snapshot!("restricted", profile(SecurityProfile::Restricted));
    assert_eq!(profile(SecurityProfile::Baseline), security(|_| {}), "the default");
}

#[test]
fn what_a_job_says_of_its_security_takes_precedence_over_its_profile() {
    let text = security(|job| {
        job.security_profile = Some(SecurityProfile::Privileged);
        job.security_context = serde_json::from_value(serde_json::json!({
            "runAsNonRoot": true, "runAsUser": 1000, "supplementalGroups": [2000, 3000],
            "allowPrivilegeEscalation": true,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["CHOWN"]},
            "seccompProfile": {"type": "Unconfined"},
        }))
        .unwrap();
    });
    insta::assert_snapshot!(text);
    let beyond = attempt(|job| {
        job.security_context.capabilities.add = vec!["NET_ADMIN".parse().unwrap()];
    });
    let error = translate(&beyond, &KubernetesConfig::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSpec);
}

#[test]
fn what_an_administrator_configures_reaches_every_pod() {
    let config: KubernetesConfig = serde_json::from_value(serde_json::json!({
        "annotations": {"team": "red", "longshore.dev/commit": "withdrawn"},
        "tolerations": [{"key": "batch", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}],
        }}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ],
        "priorityClassName": "low",
        "runtimeClassName": "gvisor",
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["license-server"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.2"]},
        "defaultResources": {"limits": {"ephemeralStorage": "1Gi"}},
        "maxResources": {"cpu": 2},
        "podTemplate": {
            "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
            "spec": {
                "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
                "containers": [
                    {"name": "job", "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}]},
                ],
            },
        },
    }))
    .unwrap();
    insta::assert_snapshot!(yaml(&attempt(|_| {}), &config));
    let greedy = attempt(|job| job.resources.limits.cpu = Some("3".parse().unwrap()));
    let error = translate(&greedy, &config).unwrap_err();
    assert!(error.to_string().contains("job.kubernetes.maxResources"), "{error}");
}

#[test]
fn what_has_no_key_of_its_own_reaches_the_pod_by_the_template() {
    let config: KubernetesConfig = serde_json::from_value(serde_json::json!({
        "podTemplate": {"spec": {
            "securityContext": {
                "fsGroup": 65534,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seLinuxOptions": {"level": "s0:c123,c456"},
            },
            "volumes": [
                {"name": "ca", "configMap": {"name": "company-ca"}},
                {"name": "license", "secret": {"secretName": "license", "defaultMode": 288}},
                {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "vault", "csi": {
                    "driver": "secrets-store.csi.k8s.io", "readOnly": true,
                    "volumeAttributes": {"secretProviderClass": "vault"},
                }},
            ],
            "containers": [{
                "name": "job",
                "securityContext": {
                    "appArmorProfile": {"type": "Localhost", "localhostProfile": "longshore"},
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "longshore.json"},
                },
                "volumeMounts": [
                    {"name": "ca", "mountPath": "/etc/ssl/company", "readOnly": true},
                    {"name": "license", "mountPath": "/license"},
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "vault", "mountPath": "/vault"},
                ],
                "resources": {
                    "limits": {"example.org/fpga": "1"}, "requests": {"example.org/fpga": "1"},
                },
            }],
        }},
    }))
    .unwrap();
    let job = attempt(|job| {
        job.security_profile = Some(SecurityProfile::Restricted);
        job.security_context.supplemental_groups = vec![2000];
        job.resources.limits.memory = Some("64Mi".parse().unwrap());
    });
    insta::assert_snapshot!(yaml(&job, &config));
}

/// A command that was killed with its Pod left its Job, the job's Pod and the login behind.
#[test]
fn a_job_is_owned_by_the_commands_pod() {
    let owner = crate::owner_pod::OwnerPod {
        namespace: Some("jobs".to_owned()),
        name: Some("command-x".to_owned()),
        uid: Some("8d1f".to_owned()),
    };
    let config = KubernetesConfig { owner_pod: owner, ..KubernetesConfig::default() };
    let job = translate(&attempt(|_| {}), &config).unwrap().job;
    let owners = job.metadata.owner_references.unwrap();
    let [owner] = owners.as_slice() else { panic!("{owners:?}") };
    assert_eq!((owner.api_version.as_str(), owner.kind.as_str()), ("v1", "Pod"));
    assert_eq!((owner.name.as_str(), owner.uid.as_str()), ("command-x", "8d1f"));
    assert_eq!(owner.block_owner_deletion, None);
}
