//! Launching: the image, the container, the start. [`Backend::launch`] describes the protocol.

use std::time::Duration;

use longshore_core::{
    Attempt, Error, ErrorKind, Event, LaunchContext, LaunchError, Result, Started,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::backend::Backend;
use crate::client::Removal;
use crate::container::{Container, Found, find_by_name, read_container};
use crate::fault::{Fault, late};
use crate::image::{self, Image};
use crate::labels::Facts;
use crate::location::Location;
use crate::outcome::Phase;
use crate::pull;
use crate::refusal::{self, Step};
use crate::security;
use crate::terminal;
use crate::translate::{Base, Secrets, container, create_body};

type Launched = std::result::Result<Started, LaunchError>;

/// How long a container that another launch created may stay unstarted before this launch replaces
/// it: its creator may have died.
const TAKE_OVER: Duration = Duration::from_secs(3);
/// How long to wait for another process that is creating or removing the container.
const PAUSE: Duration = Duration::from_millis(50);
/// How long past its deadline a launch waits for a container that the engine is creating.
const LATE: Duration = Duration::from_secs(2);
/// How long to wait for the engine's start event, which has the time of the start.
const START_SHOWS: Duration = Duration::from_millis(500);

/// What a launch submits.
struct LaunchRequest<'a> {
    attempt: &'a Attempt,
    context: &'a LaunchContext,
    location: Location,
    image: Image,
    /// `start_timeout` after the image was there, and never after the launch's own deadline.
    deadline: Instant,
}

impl Backend {
    /// Launches an attempt, once:
    /// - The launch creates the container under the attempt's name. The engine gives a name once: a
    ///   launch that gets 409 inspects the existing container.
    /// - Only the launch that created the container starts it, once, by its id. A start whose
    ///   answer is lost is never repeated. (The engine would start an exited container again.)
    /// - So nothing has started before the start is sent, and nothing can if it never is.
    pub(crate) async fn launch(&self, attempt: &Attempt, context: &LaunchContext) -> Launched {
        let launched = self.try_launch(attempt, context).await;
        if launched.is_err() {
            drop(self.attachments.take(&attempt.id));
        }
        if matches!(launched, Err(LaunchError::Refused(_))) {
            self.informer.discard(&attempt.id);
        }
        launched
    }

    async fn try_launch(&self, attempt: &Attempt, context: &LaunchContext) -> Launched {
        let location = Location::of(attempt);
        let target = self.engine.ensure_connected_at(location.target.as_ref()).await;
        target.map_err(LaunchError::Refused)?;
        let image = self.prepare(attempt, context).await.map_err(LaunchError::Refused)?;
        let deadline = context.deadline.min(Instant::now() + context.start_timeout);
        let request = LaunchRequest { attempt, context, location, image, deadline };
        loop {
            interrupted(context, deadline).map_err(LaunchError::Refused)?;
            // A dropped request to inspect proves nothing.
            let creating = self.create_by(&request, deadline).await;
            match creating.map_err(LaunchError::Refused)? {
                Some(id) => return self.start(&request, &id).await,
                None => {
                    let existing = timeout_at(deadline, self.existing(&request)).await;
                    let late = |_| Some(Err(LaunchError::Indeterminate(late())));
                    if let Some(launched) = existing.unwrap_or_else(late) {
                        return launched;
                    }
                    // The engine reserves a name before it shows the container, and for a while
                    // after.
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Does the steps that start nothing: checks, and makes the image available.
    async fn prepare(&self, attempt: &Attempt, context: &LaunchContext) -> Result<Image> {
        let wanted = &container(&attempt.spec)?.image;
        interrupted(context, context.deadline)?;
        self.check_directory(attempt)?;
        self.informer.subscribe(&attempt.id);
        let pull_request = pull::PullRequest {
            engine: &self.engine,
            image: wanted,
            auth: attempt.registry_auth.as_ref(),
        };
        // Each wait in it ends by the context's deadlines; dropping it leaves nothing behind.
        let image = tokio::select! {
            biased;
            () = context.cancel.cancelled() => Err(Error::cancelled()),
            image = image::resolve(&pull_request, &self.pulls, attempt.pull_policy, context) => image,
        }?;
        security::check_user(&attempt.spec, &image.user)?;
        Ok(image)
    }

    /// Checks that the engine sees this machine's files, if the job has a directory.
    pub(crate) fn check_directory(&self, attempt: &Attempt) -> Result<()> {
        if attempt.spec.job_directory.is_none() {
            return Ok(());
        }
        let endpoint = self.engine.endpoint()?;
        if !endpoint.address.is_local() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a job directory needs an engine on this machine (a unix:// address): one behind \
                 a network does not see this machine's files",
            )
            .with("address", &endpoint.address));
        }
        Ok(())
    }

    /// Creates the container by `deadline`. `None` if its name is taken. A container that the engine
    /// creates later starts nothing, but would be left behind, so this waits for it a little longer.
    async fn create_by(
        &self,
        request: &LaunchRequest<'_>,
        deadline: Instant,
    ) -> Result<Option<String>> {
        let mut creating = std::pin::pin!(self.create(request));
        if let Ok(created) = timeout_at(deadline, &mut creating).await {
            return created;
        }
        match timeout(LATE, creating).await {
            Ok(Ok(Some(id))) => self.withdraw(&id).await,
            Ok(_) => {}
            Err(_) => {
                drop(self.engine.remove(&request.location.name, Removal::UnlessRunning).await)
            }
        }
        Err(late())
    }

    /// Creates the container. `None` if its name is taken.
    async fn create(&self, request: &LaunchRequest<'_>) -> Result<Option<String>> {
        let LaunchRequest { attempt, image, location, .. } = request;
        let base = Base {
            image: image.id.clone(),
            user: image.user.clone(),
            reserved_labels: image.reserved_labels.clone(),
        };
        let facts = Facts::new(attempt, image.report.clone());
        let config = self.engine.config();
        let mut body = create_body(attempt, &base, &facts, config, Secrets::Exposed)?;
        if let (Some(size), Some(host)) = (request.context.terminal_size, &mut body.host_config) {
            host.console_size = Some(terminal::console_size(size));
        }
        let mut created = self.engine.create(&location.name, &body).await;
        if created.as_ref().is_err_and(is_no_such_image) {
            // With the containerd store an image whose tag a pull has just moved is not known by
            // its id for a moment, until it is kept as one without a tag.
            sleep(PAUSE).await;
            created = self.engine.create(&location.name, &body).await;
        }
        let created = match created {
            Ok(created) => created,
            Err(fault) if fault.is_conflict() => return Ok(None),
            Err(fault) => {
                if matches!(fault, Fault::Unanswered(_)) {
                    // It may have been created, now or later; nothing starts it.
                    let _ = self.engine.remove(&location.name, Removal::UnlessRunning).await;
                }
                return Err(refused_create(fault, request));
            }
        };
        let dropped =
            created.warnings.iter().find(|w| w.to_ascii_lowercase().contains("discarded"));
        if let Some(warning) = dropped {
            self.withdraw(&created.id).await;
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the engine cannot keep a limit of the job",
            )
            .caused_by(warning.clone()));
        }
        let refusal = self.commands.refusal(&self.engine, attempt, image, &created.id);
        let (refusal, ()) = tokio::join!(refusal, self.attach(request, &created.id));
        if let Some(refusal) = refusal {
            self.withdraw(&created.id).await;
            return Err(refusal);
        }
        request.context.events.emit(Event::Scheduled);
        Ok(Some(created.id))
    }

    /// Attaches to the output of the container `id`, if this process will read it.
    async fn attach(&self, request: &LaunchRequest<'_>, id: &str) {
        if request.context.read_output {
            let attempt = &request.attempt.id;
            let snapshot = self.informer.subscribe(attempt);
            let tty = request.attempt.spec.tty;
            self.attachments.open(&self.engine, attempt, id, snapshot, tty).await;
        }
    }

    /// Removes a container that was created and not started. If the removal fails, the container
    /// stays behind, but is never started.
    async fn withdraw(&self, id: &str) {
        if let Err(fault) = self.engine.remove(id, Removal::UnlessRunning).await {
            tracing::warn!(container = id, ?fault, "failed to remove an unstarted container");
        }
    }

    /// The commit: from here on the job may run.
    async fn start(&self, request: &LaunchRequest<'_>, id: &str) -> Launched {
        if let Err(error) = interrupted(request.context, request.deadline) {
            self.withdraw(id).await;
            return Err(LaunchError::Refused(error));
        }
        let started = timeout_at(request.deadline, self.engine.start(id)).await;
        if !matches!(started, Ok(Ok(()))) {
            drop(self.attachments.take(&request.attempt.id));
        }
        match started {
            Ok(Ok(())) => Ok(self.started(request, id).await),
            Ok(Err(Fault::Unreached(error))) => Err(LaunchError::Refused(error)),
            Ok(Err(Fault::Unanswered(error))) => Err(LaunchError::Indeterminate(error)),
            Err(_) => Err(LaunchError::Indeterminate(late())),
            Ok(Err(Fault::Answered { status, message })) => {
                self.start_refused(request, id, status, message).await
            }
        }
    }

    /// Handles the engine's answer that it did not start the container. No other process starts it.
    ///
    /// The answer alone proves nothing: a plugin of the engine may refuse it after the start. Nor does
    /// the removal of a container that has ended. So this looks first, and whatever is not proven is
    /// left to be settled.
    async fn start_refused(
        &self,
        request: &LaunchRequest<'_>,
        id: &str,
        status: u16,
        message: String,
    ) -> Launched {
        if refusal::is_gone(status, &message, id) {
            return self.existing(request).await.unwrap_or_else(|| {
                Err(LaunchError::Refused(Error::new(
                    ErrorKind::Unavailable,
                    "the container was removed before it started: the attempt was settled, \
                     cancelled, or taken over by another launch",
                )))
            });
        }
        let location = &request.location;
        let kind = refusal::kind(Step::Start, status, &message);
        let error = Error::new(kind, "failed to start the container")
            .with("status", status)
            .with("container", &location.name)
            .caused_by(message);
        let found = self.engine.inspect(id).await;
        let found = found.ok().flatten().and_then(|found| read_container(&found, location));
        let Some(container) = found else { return Err(LaunchError::Indeterminate(error)) };
        if let Some(started) = self.under_way(location, &container) {
            return Ok(started);
        }
        match self.remove_unstarted(location, &container).await {
            Ok(true) => Err(LaunchError::Refused(error)),
            Ok(false) | Err(_) => Err(LaunchError::Indeterminate(error)),
        }
    }

    async fn started(&self, request: &LaunchRequest<'_>, id: &str) -> Started {
        let mut snapshot = self.informer.subscribe(&request.attempt.id);
        let shows = snapshot.wait_for(|s| s.started && s.id.as_deref() == Some(id));
        let at = match timeout(START_SHOWS, shows).await {
            Ok(Ok(snapshot)) => snapshot.started_at,
            _ => None,
        };
        Started::new(request.location.handle(&self.name), at, Some(request.image.report.clone()))
    }

    /// What already has the attempt's name. `None`: the name is free again.
    async fn existing(&self, request: &LaunchRequest<'_>) -> Option<Launched> {
        let location = &request.location;
        let refuse = |kind, what: &'static str| {
            let error = Error::new(kind, what).with("container", &location.name);
            Some(Err(LaunchError::Refused(error)))
        };
        match find_by_name(&self.engine, location).await {
            Ok(Found::Nothing) => None,
            Ok(Found::Fenced) => refuse(
                ErrorKind::Unavailable,
                "the attempt is fenced: it was settled as never started, and never may",
            ),
            Ok(Found::Taken) => refuse(
                ErrorKind::Unavailable,
                "the container's name is taken by one that is not Longshore's",
            ),
            Ok(Found::Container(container)) => match self.under_way(location, &container) {
                Some(started) => Some(Ok(started)),
                // Being removed: the name is free soon.
                None if matches!(container.phase, Phase::Lost(_)) => None,
                None => self.take_over(request, &container).await,
            },
            // Another launch may have started it.
            Err(fault) => Some(Err(indeterminate(fault, location))),
        }
    }

    /// Takes over a container that another launch created: waits for its start, and then removes
    /// it, which prevents its creator from starting it.
    async fn take_over(
        &self,
        request: &LaunchRequest<'_>,
        container: &Container,
    ) -> Option<Launched> {
        let location = &request.location;
        let mut snapshot = self.informer.subscribe(&location.attempt);
        let until = request.deadline.min(Instant::now() + TAKE_OVER);
        let started = snapshot.wait_for(|s| s.started || s.is_over());
        tokio::select! {
            _ = timeout_at(until, started) => {}
            () = request.context.cancel.cancelled() => {}
        }
        if let Some(launched) = self.started_meanwhile(location).await {
            return Some(launched);
        }
        match self.remove_unstarted(location, container).await {
            Ok(true) => None,
            Ok(false) => Some(self.started_meanwhile(location).await.unwrap_or_else(|| {
                let error = Error::new(
                    ErrorKind::Unavailable,
                    "another client removed the container that another launch had created",
                );
                Err(LaunchError::Indeterminate(error.with("container", &location.name)))
            })),
            Err(fault) => Some(Err(indeterminate(fault, location))),
        }
    }

    /// The attempt, if another launch has started it. `None`: its container does not exist, or is
    /// only created.
    async fn started_meanwhile(&self, location: &Location) -> Option<Launched> {
        match self.find(location).await {
            Ok(Found::Container(container)) => self.under_way(location, &container).map(Ok),
            Ok(Found::Nothing | Found::Fenced | Found::Taken) => None,
            Err(fault) => Some(Err(indeterminate(fault, location))),
        }
    }

    fn under_way(&self, location: &Location, container: &Container) -> Option<Started> {
        let at = match &container.phase {
            Phase::Created { .. } | Phase::Lost(_) => return None,
            Phase::Running { started_at } | Phase::Restarted { started_at, .. } => *started_at,
            Phase::Ended(death) => death.started_at,
        };
        Some(Started::new(location.handle(&self.name), at, Some(container.facts.image.clone())))
    }
}

fn indeterminate(fault: Fault, location: &Location) -> LaunchError {
    let error = fault.into_error("failed to look for the attempt");
    LaunchError::Indeterminate(error.with("container", &location.name))
}

/// Why the engine did not create the container.
fn refused_create(fault: Fault, request: &LaunchRequest<'_>) -> Error {
    let what = "failed to create the container";
    let error = match fault {
        Fault::Answered { status, message } => {
            let kind = refusal::kind(Step::Create, status, &message);
            Error::new(kind, what).with("status", status).caused_by(message)
        }
        fault => fault.into_error(what),
    };
    error.with("container", &request.location.name)
}

fn is_no_such_image(fault: &Fault) -> bool {
    matches!(fault, Fault::Answered { status: 404, message } if message.contains("No such image"))
}

fn interrupted(context: &LaunchContext, deadline: Instant) -> Result<()> {
    if context.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    if Instant::now() >= deadline {
        return Err(late());
    }
    Ok(())
}
