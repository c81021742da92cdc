//! Secrets, logins and labels that a submission gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use longshore_conformance::simulated::{Script, SimulatedRunner, World};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{
    Attempt, ErrorKind, LaunchContext, LaunchError, RegistryAuth, Runner, Secret, SecretSource,
    Started,
};
use longshore_dispatch::{Dispatcher, SpecPolicy, Submission};
use longshore_journal::{Filter, Journal};
use parking_lot::Mutex;

use crate::support::*;

/// What a launch was given.
type Given = (BTreeMap<String, String>, Option<RegistryAuth>);

/// A runner that notes what a launch is given.
#[derive(Clone, Debug)]
struct Notes(SimulatedRunner, Arc<Mutex<Vec<Given>>>);

#[async_trait]
impl Forward for Notes {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> Result<Started, LaunchError> {
        let secrets = attempt.secret_env.iter();
        let secrets = secrets.map(|(name, value)| (name.clone(), value.expose().to_owned()));
        self.1.lock().push((secrets.collect(), attempt.registry_auth.clone()));
        self.0.launch(attempt, context).await
    }
}

fn notes() -> (Notes, Dispatcher, Journal) {
    let journal = Journal::in_memory().unwrap();
    let notes = Notes(World::new().runner(name("first"), Script::default()), Arc::default());
    let other = RegistryAuth::password("harbor.example.org", "shared", Secret::new("other"));
    let builder = builder([Forwarding(notes.clone())]).registry_auth("here", other);
    let dispatcher = builder.journal(journal.clone()).build().unwrap();
    (notes, dispatcher, journal)
}

#[tokio::test(start_paused = true)]
async fn a_secret_reaches_the_job_and_no_record() {
    let (notes, dispatcher, journal) = notes();
    let submission = Submission::new(job()).secret("TOKEN", Secret::new("hunter2"));
    assert!(!format!("{submission:?}").contains("hunter2"));
    dispatcher.submit(submission).await.unwrap().end().await;
    let (secrets, _) = notes.1.lock().pop().unwrap();
    assert_eq!(secrets, [("TOKEN".to_owned(), "hunter2".to_owned())].into());
    let records = journal.list(Filter::default()).await.unwrap();
    assert_eq!(records.len(), 1);
    assert!(!serde_json::to_string(&records).unwrap().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_no_job_could_have_is_refused_by_its_name() {
    let (_, dispatcher, journal) = notes();
    let mut spec = job();
    spec.env.insert("PLAIN".to_owned(), "x".to_owned());
    spec.secret_env.insert("HOME_OF".to_owned(), SecretSource::Env("HOME".to_owned()));
    for (name, value) in [
        ("PLAIN", "hunter2".to_owned()),
        ("HOME_OF", "hunter2".to_owned()),
        ("A=B", "hunter2".to_owned()),
        ("NUL", "hunter2\0".to_owned()),
        ("LONG", "hunter2".repeat(20_000)),
    ] {
        let submission = Submission::new(spec.clone()).secret(name, Secret::new(value));
        let error = dispatcher.submit(submission).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSpec, "{name}");
        let text = error.to_string();
        assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
    }
    assert_eq!(journal.list(Filter::default()).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_login_of_the_submission_precedes_all_others_and_is_shown_to_its_registry_only() {
    let (notes, dispatcher, _) = notes();
    let own = RegistryAuth::password("harbor.example.org", "me", Secret::new("hunter2"));
    let login = async |image: &str| {
        let mut spec = job();
        spec.container.as_mut().unwrap().image = image.parse().unwrap();
        let submission = Submission::new(spec).registry_auth(own.clone());
        dispatcher.submit(submission).await.unwrap().end().await;
        notes.1.lock().pop().unwrap().1
    };
    assert_eq!(login("harbor.example.org/x:1").await.as_ref(), Some(&own));
    assert_eq!(login("harbor.example.org:8443/x:1").await, None);
    assert_eq!(login("busybox:1").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_label_of_the_service_is_kept_and_no_spec_can_set_it() {
    let (_, dispatcher, journal) = notes();
    // It allows strangers no label.
    let policy = SpecPolicy::default();
    let tenant = |spec| Submission::new(spec).policy(&policy).label("example.org/tenant", "a");
    let mut spec = job();
    spec.process = None;
    let id = dispatcher.submit(tenant(spec.clone())).await.unwrap().end().await.job;
    let mine = Filter::default().label("example.org/tenant", "a");
    let listed = journal.list(mine).await.unwrap();
    assert_eq!(listed.iter().map(|record| &record.id).collect::<Vec<_>>(), [&id]);

    let mut policy = policy.clone();
    policy.labels = vec!["*".to_owned()];
    spec.labels.insert("example.org/tenant".to_owned(), "b".to_owned());
    let forged = Submission::new(spec).policy(&policy).label("example.org/tenant", "a");
    let error = dispatcher.submit(forged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSpec);
    assert!(error.to_string().contains("example.org/tenant"), "{error}");
    assert_eq!(journal.list(Filter::default()).await.unwrap().len(), 1);
}
