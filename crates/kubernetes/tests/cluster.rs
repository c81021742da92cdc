//! What the conformance suite does not cover: failures that only Kubernetes has, and the cost of a
//! job.
//!
//! Reads the same variables as the suite, and also `LONGSHORE_LAB_AUDIT_LOG`, the API server's
//! audit log, to count requests.

#[path = "cluster/admission.rs"]
mod admission;
#[path = "cluster/changed.rs"]
mod changed;
#[path = "cluster/checking.rs"]
mod checking;
#[path = "support/connect_proxy.rs"]
mod connect_proxy;
#[path = "cluster/discards.rs"]
mod discards;
#[path = "cluster/elsewhere.rs"]
mod elsewhere;
#[path = "support/empty_cluster.rs"]
mod empty_cluster;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/gateway.rs"]
mod gateway;
#[path = "cluster/images.rs"]
mod images;
#[path = "support/layer.rs"]
mod layer;
#[path = "cluster/owner.rs"]
mod owner;
#[path = "cluster/permissions.rs"]
mod permissions;
#[path = "cluster/pod_security.rs"]
mod pod_security;
#[path = "support/policy.rs"]
mod policy;
#[path = "cluster/proxies.rs"]
mod proxies;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "cluster/requests.rs"]
mod requests;
#[path = "cluster/second_pod.rs"]
mod second_pod;
#[path = "cluster/speed.rs"]
mod speed;
mod support;
#[path = "cluster/template.rs"]
mod template;
#[path = "cluster/token.rs"]
mod token;
#[path = "support/toxiproxy.rs"]
mod toxiproxy;
#[path = "cluster/unplaced.rs"]
mod unplaced;
#[path = "cluster/withdrawal.rs"]
mod withdrawal;

use std::env;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use libtest_mimic::{Arguments, Completion, Trial};
use longshore_core::{
    Attempt, ErrorKind, Event, Handle, InstallationId, JobId, JobSpec, LaunchContext, LaunchError,
    LogChunk, LogPosition, Outcome, RejectReason, Report, Runner, RunnerName, SecretSource,
    Settled, Started,
};
use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};
use serde_json::{Value, json};
use support::Lab;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};

type Checked<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PATIENCE: Duration = Duration::from_secs(60);

/// The lab, and an installation that only one case uses and that is removed at its end.
struct Case {
    lab: Lab,
    installation: InstallationId,
}

impl Case {
    fn attempt(&self, spec: JobSpec) -> Attempt {
        Attempt::new(self.installation.clone(), JobId::random(), 1, spec)
    }

    fn script(&self, script: &str) -> Attempt {
        self.attempt(self.lab.job(script))
    }

    /// Returns an attempt that runs `script` with a job directory of its own.
    fn with_directory(&self, script: &str) -> Checked<(Attempt, tempfile::TempDir)> {
        let (_, root) = self.lab.claim.clone().ok_or("set LONGSHORE_LAB_CLAIM and _VOLUME")?;
        let folder = tempfile::Builder::new().prefix("cluster-").tempdir_in(root)?;
        for name in ["input", "output"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let mut spec = self.lab.job(script);
        spec.job_directory = Some(folder.path().to_owned());
        Ok((self.attempt(spec), folder))
    }

    fn pods(&self) -> ListParams {
        let installation = &self.installation;
        ListParams::default().labels(&format!("longshore.dev/installation={installation}"))
    }

    async fn clean_up(&self) -> Checked {
        let runner = self.lab.runner();
        for handle in runner.adopt(&self.installation).await? {
            runner.remove(&handle).await?;
        }
        // Kubernetes deletes the Pods after their Jobs.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.lab.leftovers(std::slice::from_ref(&self.installation)).await?;
            if left.is_empty() {
                return Ok(());
            }
            check(Instant::now() < deadline, || format!("left behind: {left:?}"))?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn launch(runner: &dyn Runner, attempt: &Attempt) -> Result<Started, LaunchError> {
    launch_within(runner, attempt, PATIENCE).await
}

async fn launch_within(
    runner: &dyn Runner,
    attempt: &Attempt,
    limit: Duration,
) -> Result<Started, LaunchError> {
    runner.launch(attempt, &LaunchContext::new(Instant::now() + limit)).await
}

async fn end(runner: &dyn Runner, handle: &Handle) -> Checked<Report> {
    let mut events = runner.events(handle);
    let ended = async {
        while let Some(event) = events.next().await {
            if let Ok(Event::Ended(report)) = event {
                return Some(report);
            }
        }
        None
    };
    timeout(PATIENCE, ended).await?.ok_or_else(|| "the events ended without an end".into())
}

async fn output(runner: &dyn Runner, handle: &Handle) -> Checked<Vec<u8>> {
    let mut logs = runner.logs(handle, LogPosition::START, true);
    let mut all = Vec::new();
    let reading = async {
        while let Some(chunk) = logs.next().await {
            match chunk {
                Ok(LogChunk::Data { offset, bytes, .. }) => {
                    assert_eq!(offset, all.len() as u64, "each byte once, in order");
                    all.extend_from_slice(&bytes);
                }
                Ok(other) => panic!("{other:?}"),
                // A hint; the stream continues.
                Err(_) => {}
            }
        }
    };
    timeout(PATIENCE, reading).await?;
    Ok(all)
}

fn refused(answer: Result<Started, LaunchError>) -> Checked<longshore_core::Error> {
    match answer {
        Err(LaunchError::Refused(error)) => Ok(error),
        other => Err(format!("expected a refusal, seen {other:?}").into()),
    }
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// Runs a job to its end, reads its output meanwhile, and removes it.
async fn hello(case: &Case, runner: &KubernetesRunner) -> Checked<Attempt> {
    let attempt = case.script("echo hello");
    let started = launch(runner, &attempt).await?;
    let (report, output) =
        tokio::join!(end(runner, &started.handle), output(runner, &started.handle));
    check(report?.outcome.is_success(), || "it failed".to_owned())?;
    check(output? == b"hello\n", || "other output".to_owned())?;
    runner.remove(&started.handle).await?;
    Ok(attempt)
}

async fn a_job_costs_four_requests(case: Arc<Case>) -> Checked {
    let Some(log) = env::var_os("LONGSHORE_LAB_AUDIT_LOG").map(PathBuf::from) else {
        return Err("set LONGSHORE_LAB_AUDIT_LOG".into());
    };
    let runner = case.lab.runner();
    // The first job starts the watches.
    let warm = case.script("true");
    let started = launch(&runner, &warm).await?;
    end(&runner, &started.handle).await?;
    let attempt = hello(&case, &runner).await?;
    let name = attempt.object_name();
    // The API server writes the log as it answers. The last request is the removal.
    let deadline = Instant::now() + PATIENCE;
    let seen = loop {
        let seen = audited(&log, &name)?;
        if seen.iter().any(|r| r.starts_with("delete")) || Instant::now() > deadline {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    check(seen.len() <= 4, || format!("{} requests: {seen:#?}", seen.len()))
}

/// Returns Longshore's completed requests about the object `name` and its Pod.
fn audited(log: &std::path::Path, name: &str) -> Checked<Vec<String>> {
    let text = std::fs::read_to_string(log)?;
    let lines = text.lines().filter(|line| line.contains(name));
    let mut seen = Vec::new();
    for line in lines {
        let event: Value = serde_json::from_str(line)?;
        let by = event["user"]["username"].as_str().unwrap_or_default();
        if !by.starts_with("system:") && event["stage"] == "ResponseComplete" {
            seen.push(format!(
                "{} {}",
                event["verb"].as_str().unwrap_or_default(),
                event["requestURI"]
            ));
        }
    }
    Ok(seen)
}

async fn of_a_launch_and_a_fence_exactly_one_wins(case: Arc<Case>) -> Checked {
    const RACES: u32 = 100;
    let runner = Arc::new(case.lab.runner());
    let races = futures::stream::iter(0..RACES).map(|n| {
        let (case, runner) = (case.clone(), runner.clone());
        async move {
            let attempt = case.script("echo started");
            let handle = runner.handle(&attempt);
            let settle = async {
                tokio::time::sleep(Duration::from_millis(u64::from(n % 20))).await;
                // Acts as another process.
                case.lab.runner().settle(&handle, Instant::now() + PATIENCE).await
            };
            let (launched, settled) = tokio::join!(launch(runner.as_ref(), &attempt), settle);
            let never = settled? == Settled::NeverStarted;
            check(never != launched.is_ok(), || {
                format!("settled as never started: {never}; launched: {launched:?}")
            })?;
            if never {
                let pods = case.lab.pods().list(&case.pods()).await?.items;
                let label = attempt.id.to_string();
                let own = |pod: &&Pod| {
                    let labels = pod.metadata.labels.as_ref();
                    labels.and_then(|l| l.get("longshore.dev/attempt")) == Some(&label)
                };
                check(pods.iter().find(own).is_none(), || "a Pod of a fenced attempt".to_owned())?;
            }
            runner.remove(&handle).await?;
            Checked::Ok(never)
        }
    });
    let results: Vec<Checked<bool>> = races.buffer_unordered(8).collect().await;
    let fenced = results.into_iter().collect::<Checked<Vec<bool>>>()?;
    let fences = fenced.iter().filter(|never| **never).count();
    check(fences > 0 && fences < fenced.len(), || format!("one side always won: {fences} fences"))
}

async fn a_job_or_pod_that_somebody_deletes_is_lost(case: Arc<Case>) -> Checked {
    let runner = case.lab.runner();
    for kind in ["Job", "Pod"] {
        let attempt = case.script("trap 'exit 0' TERM; while :; do sleep 0.1; done");
        let started = launch(&runner, &attempt).await?;
        if kind == "Job" {
            let jobs: Api<Job> = case.lab.jobs();
            jobs.delete(&attempt.object_name(), &DeleteParams::background()).await?;
        } else {
            let pods = case.lab.pods().list(&case.pods()).await?.items;
            for pod in pods.iter().filter_map(|pod| pod.metadata.name.clone()) {
                case.lab.pods().delete(&pod, &DeleteParams::default()).await?;
            }
        }
        let outcome = end(&runner, &started.handle).await?.outcome;
        check(matches!(outcome, Outcome::Lost { .. }), || format!("{kind}: {outcome:?}"))?;
    }
    Ok(())
}

async fn a_job_that_no_node_can_take_is_taken_back_and_saturated(case: Arc<Case>) -> Checked {
    let mut config = case.lab.config();
    config.node_selector = [("longshore.dev/no-such-node".to_owned(), "true".to_owned())].into();
    let runner = KubernetesRunner::new(RunnerName::kubernetes(), config);
    let attempt = case.script("true");
    let limit = Duration::from_secs(8);
    let begun = Instant::now();
    let error = refused(launch_within(&runner, &attempt, limit).await)?;
    check(error.kind() == ErrorKind::Saturated, || format!("{error:?}"))?;
    check(begun.elapsed() <= limit, || format!("it answered after {:?}", begun.elapsed()))?;
    let left = case.lab.jobs().get_opt(&attempt.object_name()).await?;
    check(left.is_none_or(|job| job.metadata.deletion_timestamp.is_some()), || {
        "the Job is still there".to_owned()
    })
}

async fn a_secret_that_is_not_there_is_rejected_at_once(case: Arc<Case>) -> Checked {
    let runner = case.lab.runner();
    let mut spec = case.lab.job("true");
    let source =
        SecretSource::SecretKeyRef { name: "no-such-secret".to_owned(), key: "x".to_owned() };
    spec.secret_env.insert("TOKEN".to_owned(), source);
    let error = refused(launch(&runner, &case.attempt(spec)).await)?;
    check(error.kind() == ErrorKind::Rejected(RejectReason::ContainerConfig), || {
        format!("{error:?}")
    })
}

/// Returns the lab's kubeconfig, changed, in a file of its own.
fn kubeconfig(change: impl FnOnce(&mut Value)) -> Checked<tempfile::NamedTempFile> {
    let path = env::var_os("KUBECONFIG").ok_or("set KUBECONFIG")?;
    let mut config = serde_json::to_value(kube::config::Kubeconfig::read_from(path)?)?;
    change(&mut config);
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_vec(&config)?)?;
    Ok(file)
}

/// Returns the API server's `HOST:PORT`.
async fn api_server() -> Checked<String> {
    let config = kube::Config::infer().await?;
    Ok(config.cluster_url.authority().map(ToString::to_string).ok_or("no address")?)
}

/// Returns a runner that uses the API server at `address`, while its kubeconfig exists.
fn reaching(lab: &Lab, address: &str) -> Checked<(KubernetesRunner, tempfile::NamedTempFile)> {
    let file = kubeconfig(|c| {
        c["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
    })?;
    let mut config = lab.config();
    config.kubeconfig = Some(file.path().to_owned());
    Ok((KubernetesRunner::new(RunnerName::kubernetes(), config), file))
}

async fn probe_with(
    case: &Case,
    change: impl FnOnce(&mut KubernetesConfig),
) -> longshore_core::Result<()> {
    let mut config = case.lab.config();
    change(&mut config);
    KubernetesRunner::new(RunnerName::kubernetes(), config).probe().await.map(drop)
}

async fn a_cluster_that_cannot_be_used_says_why(case: Arc<Case>) -> Checked {
    let server = |to: &str| {
        let to = to.to_owned();
        kubeconfig(move |c| c["clusters"][0]["cluster"]["server"] = json!(to))
    };
    let closed = server("https://127.0.0.1:1")?;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mute = server(&format!("https://{}", silent.local_addr()?))?;
    let expired = kubeconfig(|c| c["users"][0]["user"] = json!({"token": "expired"}))?;
    let stranger = kubeconfig(|c| {
        // A certificate authority that did not sign this server's certificate.
        c["clusters"][0]["cluster"]["certificate-authority-data"] = json!(OTHER_AUTHORITY);
    })?;
    let missing = PathBuf::from("/nonexistent/kubeconfig");
    for (what, path, kind, words) in [
        ("missing file", missing.as_path(), ErrorKind::Unavailable, "/nonexistent/kubeconfig"),
        ("closed port", closed.path(), ErrorKind::Unavailable, "refused"),
        ("silence", mute.path(), ErrorKind::Unavailable, "no answer within"),
        ("expired token", expired.path(), ErrorKind::Denied, "401"),
        ("wrong authority", stranger.path(), ErrorKind::Unavailable, "certificate"),
    ] {
        let begun = Instant::now();
        let answer = probe_with(&case, |c| {
            c.kubeconfig = Some(path.to_owned());
            c.connect_timeout = longshore_core::HumanDuration::from_secs(2);
        })
        .await;
        let Err(error) = answer else { return Err(format!("{what}: healthy").into()) };
        check(error.kind() == kind, || format!("{what}: {error:?}"))?;
        check(error.to_string().contains(words), || format!("{what}: {error}"))?;
        check(begun.elapsed() < Duration::from_secs(4), || {
            format!("{what}: {:?}", begun.elapsed())
        })?;
    }
    let answer = probe_with(&case, |c| c.namespace = Some("no-such-namespace".to_owned())).await;
    let Err(error) = answer else { return Err("no such namespace: healthy".into()) };
    check(error.kind() == ErrorKind::Unavailable, || format!("{error:?}"))?;
    check(error.to_string().contains("does not exist"), || error.to_string())
}

/// A self-signed certificate, made for this test.
const OTHER_AUTHORITY: &str = include_str!("support/other-authority.b64").trim_ascii();

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Checked<T> {
    Ok(serde_json::from_value(value)?)
}

type Body = fn(Arc<Case>) -> BoxFuture<'static, Checked>;

fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_job_costs_four_requests", |c| a_job_costs_four_requests(c).boxed()),
        ("of_a_launch_and_a_fence_exactly_one_wins", |c| {
            of_a_launch_and_a_fence_exactly_one_wins(c).boxed()
        }),
        ("a_job_or_pod_that_somebody_deletes_is_lost", |c| {
            a_job_or_pod_that_somebody_deletes_is_lost(c).boxed()
        }),
        ("a_job_that_no_node_can_take_is_taken_back_and_saturated", |c| {
            a_job_that_no_node_can_take_is_taken_back_and_saturated(c).boxed()
        }),
        ("a_secret_that_is_not_there_is_rejected_at_once", |c| {
            a_secret_that_is_not_there_is_rejected_at_once(c).boxed()
        }),
        ("a_cluster_that_cannot_be_used_says_why", |c| {
            a_cluster_that_cannot_be_used_says_why(c).boxed()
        }),
    ]
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(3);
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(_) => return ExitCode::FAILURE,
    };
    let required = env::var("LONGSHORE_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| matches!(name.trim(), "kubernetes" | "all"));
    let trials = cases()
        .into_iter()
        .chain(admission::cases())
        .chain(changed::cases())
        .chain(discards::cases())
        .chain(elsewhere::cases())
        .chain(faults::cases())
        .chain(gateway::cases())
        .chain(images::cases())
        .chain(owner::cases())
        .chain(permissions::cases())
        .chain(pod_security::cases())
        .chain(proxies::cases())
        .chain(requests::cases())
        .chain(second_pod::cases())
        .chain(speed::cases())
        .chain(template::cases())
        .chain(token::cases())
        .chain(checking::cases())
        .chain(unplaced::cases())
        .chain(withdrawal::cases())
        .map(|(name, body)| {
            let runtime = runtime.clone();
            Trial::ignorable_test(name, move || {
                let lab = match runtime.block_on(Lab::find()) {
                    Ok(lab) => lab,
                    Err(reason) if required => return Err(reason.into()),
                    Err(reason) => {
                        return Ok(Completion::ignored_with(format!("unsupported: {reason}")));
                    }
                };
                let case = Arc::new(Case { lab, installation: InstallationId::random() });
                let result = runtime.block_on(async {
                    let body = AssertUnwindSafe(timeout(PATIENCE * 4, body(case.clone())));
                    // A case that panics leaves nothing behind either.
                    let result = body.catch_unwind().await;
                    let cleaned = case.clean_up().await;
                    result.unwrap_or_else(|panic| resume_unwind(panic))?.and(cleaned)
                });
                result.map(|()| Completion::Completed).map_err(|e| e.to_string().into())
            })
        });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
