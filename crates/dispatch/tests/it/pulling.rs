//! Pull policies: the levels, lists, stale copies, prefixes, logins.

use std::sync::Arc;

use futures::StreamExt;
use longshore_conformance::simulated::{LaunchStep, ProbeStep, Refusal, Script, World};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{
    Capabilities, Capability, ErrorKind, ImageReason, JobResult, JobSpec, LocalImage, NotRunReason,
    Outcome, PullPolicy, RegistryAuth, RegistryLogin, Secret,
};
use longshore_dispatch::{
    Dispatcher, DispatcherBuilder, ImagePullPolicyRule, JobEvent, RunnerImage, Settings, Submission,
};
use tokio::time::Instant;

use crate::registry::{Puller, Registry};
use crate::support::*;

/// A dispatcher with one runner named `first` that pulls, and whose launches follow `steps`.
fn puller(steps: impl IntoIterator<Item = LaunchStep>) -> Puller {
    let runner = World::new().runner(name("first"), launches(steps));
    Puller::new(&runner, &Arc::default())
}

fn over(puller: &Puller, settings: Settings) -> DispatcherBuilder {
    Dispatcher::builder()
        .settings(settings)
        .jitter_seed(1)
        .runner(Arc::new(Forwarding(puller.clone())))
}

fn contained(image: &str, policies: &str) -> JobSpec {
    let mut spec = JobSpec::container(image.parse().unwrap());
    spec.image_pull_policy = Some(policies.parse().unwrap());
    spec
}

async fn run(dispatcher: &Dispatcher, spec: JobSpec) -> JobResult {
    dispatcher.submit(spec).await.unwrap().end().await
}

fn refusal(reason: ImageReason) -> LaunchStep {
    LaunchStep::Refuse(Refusal::new(ErrorKind::ImageUnavailable(reason)))
}

#[tokio::test(start_paused = true)]
async fn only_the_last_policy_of_a_list_asks_a_silent_registry_again() {
    let puller = puller([refusal(ImageReason::Unreachable)]);
    let dispatcher = over(&puller, Settings::default()).build().unwrap();
    run(&dispatcher, contained("x", "Always,IfNotPresent")).await;
    run(&dispatcher, contained("x", "Always")).await;
    let asked = puller.asked();
    let told: Vec<_> = asked.iter().map(|a| (a.policy.as_str(), a.retry_pull)).collect();
    assert_eq!(told, [("Always", false), ("IfNotPresent", true), ("Always", true)]);
    for asked in asked {
        assert_eq!((asked.pull_within, asked.answer_within), (10 * MINUTE, 20 * MINUTE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_local_copy_is_stale_where_a_policy_before_got_no_answer() {
    let by_digest = format!("x@{}", crate::registry::digest(7));
    for (image, policies, silent, pulled, stale) in [
        ("x", "Always,IfNotPresent", true, Some(false), true),
        ("x", "Always,Never", true, Some(false), true),
        ("x", "Always,Never", true, None, true),
        ("x", "Always,IfNotPresent", true, None, true),
        ("x", "IfNotPresent,Always", true, None, false),
        ("x", "Always,IfNotPresent", true, Some(true), false),
        ("x", "Always,IfNotPresent", false, Some(false), false),
        ("x", "IfNotPresent", false, Some(false), false),
        (by_digest.as_str(), "Always,IfNotPresent", true, Some(false), false),
    ] {
        let mut puller = puller(silent.then_some(refusal(ImageReason::Unreachable)));
        puller.pulled = pulled;
        let dispatcher = over(&puller, Settings::default()).build().unwrap();
        let report = run(&dispatcher, contained(image, policies)).await.image.unwrap();
        assert_eq!(report.stale, stale, "{image} {policies} {pulled:?}");
        assert_eq!(report.requested, image);
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_takes_over_from_a_silent_registrys_is_not_stale_for_that() {
    let world = World::new();
    let silent = world.runner(name("first"), launches([refusal(ImageReason::Unreachable); 2]));
    let mut second = Puller::new(&world.runner(name("second"), Script::default()), &Arc::default());
    second.pulled = Some(false);
    let json = serde_json::json!({"fallbackOn": ["imageUnavailable"]});
    let dispatcher = Dispatcher::builder()
        .settings(serde_json::from_value(json).unwrap())
        .runner(Arc::new(silent))
        .runner(Arc::new(Forwarding(second)))
        .build()
        .unwrap();
    let result = run(&dispatcher, contained("x", "Always,IfNotPresent")).await;
    assert_eq!(result.runner, Some(name("second")));
    assert!(!result.image.unwrap().stale);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_found_no_copy_after_a_silent_registry_says_both() {
    use ImageReason::{Denied, NotPresent, Unreachable};
    for (policies, second, expected) in [
        ("Always,Never", NotPresent, Unreachable),
        ("Always,IfNotPresent", Unreachable, Unreachable),
        ("Always,IfNotPresent", Denied, Denied),
    ] {
        let puller = puller([refusal(Unreachable), refusal(second)]);
        let dispatcher = over(&puller, Settings::default()).build().unwrap();
        let result = run(&dispatcher, contained("x", policies)).await;
        let Outcome::ImageUnavailable { reason, message } = result.outcome else {
            panic!("{:?}", result.outcome)
        };
        assert_eq!(reason, expected, "{policies}");
        if second == NotPresent {
            assert!(message.contains("under Always: simulated: ImageUnavailable(Unreachable)"));
            assert!(message.contains("under Never: simulated: ImageUnavailable(NotPresent)"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_says_which_login_the_registry_was_shown() {
    let auth = |server| RegistryAuth::password(server, "robot", Secret::new("hunter2"));
    for (server, expected) in [
        ("docker.io", "(login: docker.registry (user robot))"),
        ("harbor.example.org", "(login: none configured)"),
    ] {
        let puller = puller([refusal(ImageReason::Denied)]);
        let builder = over(&puller, Settings::default());
        let dispatcher = builder.registry_auth("docker.registry", auth(server)).build().unwrap();
        let result = run(&dispatcher, contained("x", "Always")).await;
        let Outcome::ImageUnavailable { message, .. } = result.outcome else {
            panic!("{:?}", result.outcome)
        };
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_names_a_policy_that_is_not_allowed_is_refused_before_anything_starts() {
    let puller = puller([]);
    let mut settings = Settings::default();
    settings.allowed_pull_policies = vec![PullPolicy::Always];
    let dispatcher = over(&puller, settings).build().unwrap();
    let spec = contained("x", "Always,IfNotPresent");
    let at_submit = dispatcher.submit(spec.clone()).await.unwrap_err();
    let at_plan = dispatcher.plan(&spec, None).unwrap_err();
    for error in [at_submit, at_plan] {
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        assert!(error.to_string().contains("job.allowedPullPolicies"), "{error}");
    }
    assert!(run(&dispatcher, contained("x", "Always")).await.outcome.is_success());
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_for_the_image_as_it_is_pulled() {
    let puller = puller([]);
    let rule = ImagePullPolicyRule {
        image: "harbor.example.org/*".parse().unwrap(),
        image_pull_policy: PullPolicy::Always.into(),
    };
    let mut settings = Settings::default();
    settings.image_pull_policy_rules = vec![rule];
    settings.image_registry_prefix = Some("harbor.example.org/p/".parse().unwrap());
    let dispatcher = over(&puller, settings)
        .runner_pull_policy(name("first"), PullPolicy::Never.into())
        .build()
        .unwrap();
    for image in ["team/x:1", "localhost:5000/x"] {
        run(&dispatcher, JobSpec::container(image.parse().unwrap())).await;
    }
    let asked = puller.asked();
    let told: Vec<_> = asked.iter().map(|a| (a.image.as_str(), a.policy.as_str())).collect();
    assert_eq!(told, [("harbor.example.org/p/team/x:1", "Always"), ("localhost:5000/x", "Never")]);
}

fn login(server: &str, file: &str) -> RegistryLogin {
    let mut login = RegistryLogin::default();
    login.server = server.to_owned();
    login.username = Some("me".to_owned());
    login.password_file = Some(file.into());
    login
}

#[tokio::test(start_paused = true)]
async fn the_registry_is_shown_a_login_and_a_job_without_one_is_anonymous() {
    let puller = puller([]);
    let auth = RegistryAuth::password("localhost:5001", "me", Secret::new("hunter2"));
    let dispatcher =
        over(&puller, Settings::default()).registry_auth("here", auth).build().unwrap();
    for image in ["localhost:5001/x", "localhost:5000/x"] {
        run(&dispatcher, JobSpec::container(image.parse().unwrap())).await;
    }
    let logins: Vec<_> = puller.asked().into_iter().map(|a| a.login).collect();
    assert_eq!(logins, [Some("localhost:5001".to_owned()), None]);
}

#[tokio::test]
async fn a_login_that_cannot_be_had_ends_the_job_before_anything_starts() {
    let puller = puller([]);
    let dispatcher = over(&puller, Settings::default()).build().unwrap();
    let mut spec = job();
    spec.container.as_mut().unwrap().image = "localhost:5001/x".parse().unwrap();
    spec.registries = vec![login("localhost:5001", "/no/such/file")];
    let result = run(&dispatcher, spec.clone()).await;
    let Outcome::NotRun { reason, message } = result.outcome else {
        panic!("{:?}", result.outcome)
    };
    assert_eq!(reason, NotRunReason::InvalidSpec);
    assert!(message.contains("/no/such/file"), "{message}");
    assert!(puller.asked().is_empty());
    // A runner of local processes calls no registry.
    let process = Capabilities::default().with(Capability::Process);
    let local = World::new().runner(name("local"), Script::default()).with_capabilities(process);
    let dispatcher = Dispatcher::builder().runner(Arc::new(local)).build().unwrap();
    assert!(run(&dispatcher, spec).await.outcome.is_success());
}

#[tokio::test]
async fn a_password_that_others_can_read_is_said_and_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let puller = puller([]);
    let dispatcher = over(&puller, Settings::default()).build().unwrap();
    let mut spec = JobSpec::container("localhost:5001/x".parse().unwrap());
    spec.registries = vec![login("localhost:5001", file.to_str().unwrap())];
    let mut job = dispatcher.submit(spec).await.unwrap();
    let events: Vec<JobEvent> = {
        let events = job.take_events().unwrap();
        job.end().await;
        events.collect().await
    };
    let warnings: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            JobEvent::Warning { message } => Some(message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("password") && !format!("{events:?}").contains("hunter2"));
    assert_eq!(puller.asked()[0].login.as_deref(), Some("localhost:5001"));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_an_image_beforehand_is_told_and_no_backend_is_needed_for_it() {
    let world = World::new();
    let hang = Script { probes: [ProbeStep::Hang].into(), ..Script::default() };
    let silent = Puller::new(&world.runner(name("silent"), hang), &Arc::default());
    let registry = Arc::new(Registry::default());
    let mut present = Puller::new(&world.runner(name("docker"), Script::default()), &registry);
    present.local = LocalImage::Present { digest: Some("sha256:1".to_owned()) };
    let process = Capabilities::default().with(Capability::Process);
    let local = world.runner(name("local"), Script::default()).with_capabilities(process);
    let auth = RegistryAuth::password("localhost:5001", "me", Secret::new("hunter2"));
    let dispatcher = Dispatcher::builder()
        .runner(Arc::new(Forwarding(silent)))
        .runner(Arc::new(Forwarding(present.clone())))
        .runner(Arc::new(local))
        .runner_pull_policy(present.name().clone(), PullPolicy::Always.into())
        .registry_auth("docker.registry", auth)
        .build()
        .unwrap();
    let began = Instant::now();
    let spec = JobSpec::container("localhost:5001/x:1".parse().unwrap());
    let preview = dispatcher.look_at_image(&spec).await.unwrap().unwrap();
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(preview.login.unwrap().unwrap().to_string(), "docker.registry (user me)");
    let [silent, docker] = &preview.runners[..] else { panic!("{:?}", preview.runners) };
    let told = |r: &RunnerImage| (r.runner.to_string(), r.pull_policy.policies.to_string());
    assert_eq!(told(silent), ("silent".to_owned(), "IfNotPresent".to_owned()));
    assert_eq!(silent.local, LocalImage::Unknown);
    assert_eq!(
        silent.warning.as_deref(),
        Some(
            "localhost:5001/x:1 can be pushed again, and with IfNotPresent a node keeps its old \
             copy: use a digest or Always"
        )
    );
    assert_eq!((told(docker).1.as_str(), &docker.warning), ("Always", &None));
    assert_eq!(docker.local, present.local);
    let none = dispatcher.look_at_image(&JobSpec::process(["true"])).await.unwrap();
    assert!(none.is_none());
    assert_eq!(dispatcher.image_hint(&spec).unwrap(), silent.warning);
    assert_eq!(dispatcher.image_hint(&JobSpec::process(["true"])).unwrap(), None);
    let mut always = spec;
    always.image_pull_policy = Some(PullPolicy::Always.into());
    assert_eq!(dispatcher.image_hint(&always).unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_runner_knows_at_the_launch_whether_its_output_is_read_from_the_beginning() {
    let puller = puller([]);
    let dispatcher = over(&puller, Settings::default()).build().unwrap();
    let job = || Submission::new(contained("x", "Never"));
    for submission in [job(), job().without_logs()] {
        let mut submitted = dispatcher.submit(submission).await.unwrap();
        let reading = submitted.take_logs().map(StreamExt::count);
        drop(tokio::join!(submitted.result(), async { Some(reading?.await) }));
    }
    dispatcher.submit_detached(job()).await.unwrap().left().await.unwrap();
    let read: Vec<bool> = puller.asked().iter().map(|asked| asked.read_output).collect();
    assert_eq!(read, [true, false, false]);
}
