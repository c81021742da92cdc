//! What other clients of a Docker engine do to a job's container, and what an engine refuses.

use anyhow::{Context, ensure};
use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerUpdateBody, NetworkDisconnectRequest,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RenameContainerOptionsBuilder,
    RestartContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use rustix::process::{Pid, Signal, kill_process};

use super::engine::Engine;
use super::situation::{ENGINES, Expected, Situation, Starts, ends, exits, lost, on, refused};
use super::stage::{Stage, WAITS};
use crate::check::Checked;
use crate::running::Ran;

const RESTARTED: Expected = lost(&["signal 15", "restart"]).started(Starts::ByOthers);
const AGAIN: Expected = exits(5).started(Starts::ByOthers);
const CONFIG: Expected = refused("Rejected", 125, &["ContainerConfig"]);
const NO_NETWORK: Expected = refused("NotRun", 125, &["Unsupported", "no-such-network"]);
const TOO_MANY_CPUS: Expected = refused("NotRun", 125, &["Unsupported", "CPU"]);
const PAUSED: Expected = ends("Cancelled", 143, &[]);

pub(super) const SITUATIONS: &[Situation] = &[
    on(ENGINES, "docker stop", stop, lost(&["signal 15"])),
    on(ENGINES, "docker kill", |s| kill(s, "KILL"), lost(&["signal 9"])),
    on(ENGINES, "docker kill --signal TERM", |s| kill(s, "TERM"), lost(&["signal 15"])),
    on(ENGINES, "docker kill --signal ABRT", aborted, lost(&["signal 6"])),
    on(ENGINES, "docker kill --signal USR1, which it handles", notified, exits(3)),
    on(ENGINES, "docker pause and unpause", pause, exits(5)),
    on(ENGINES, "docker pause, and then a cancel", paused_cancel, PAUSED),
    on(ENGINES, "docker restart", restart, RESTARTED),
    on(ENGINES, "docker rename", rename, exits(5)),
    on(ENGINES, "docker update --restart always", always, AGAIN),
    on(ENGINES, "docker update --memory", memory, exits(5)),
    on(ENGINES, "docker rm --force", remove, lost(&["signal 9"])),
    on(ENGINES, "docker stop and docker rm", stop_and_remove, lost(&["signal 15"])),
    on(ENGINES, "docker network disconnect", disconnect, exits(5)),
    on(ENGINES, "docker rmi --force of its image", remove_image, exits(5)),
    on(ENGINES, "its process is killed on the host", killed_on_host, exits(137)),
    on(ENGINES, "a stranger's container has its labels", forged, exits(5)),
    on(ENGINES, "its image names an unknown user", unknown_user, CONFIG),
    on(ENGINES, "its memory limit is 64Ki", tiny_memory, CONFIG),
    on(ENGINES, "its CPU limit is above the machine's", many_cpus, TOO_MANY_CPUS),
    on(ENGINES, "its network does not exist", no_network, NO_NETWORK),
];

/// Starts a job, lets `accident` happen to its container, and returns how the command ended.
fn during(stage: &mut Stage, accident: impl FnOnce(&Engine) -> Checked) -> Checked<Ran> {
    let running = stage.waiting()?;
    accident(&Engine::of(stage)?)?;
    stage.finish(running)
}

/// As [`during`], for an accident that does not end the job, which then ends with 5.
fn survives(stage: &mut Stage, accident: impl FnOnce(&Engine) -> Checked) -> Checked<Ran> {
    let running = stage.waiting()?;
    accident(&Engine::of(stage)?)?;
    stage.let_go(running)
}

fn stop(stage: &mut Stage) -> Checked<Ran> {
    let options = StopContainerOptionsBuilder::default().t(20).build();
    during(stage, |it| it.ask(|d, id| async move { d.stop_container(&id, Some(options)).await }))
}

fn kill(stage: &mut Stage, signal: &str) -> Checked<Ran> {
    during(stage, |it| send(it, signal))
}

fn send(engine: &Engine, signal: &str) -> Checked {
    let options = KillContainerOptionsBuilder::default().signal(signal).build();
    engine.ask(|d, id| async move { d.kill_container(&id, Some(options)).await })
}

/// The kernel does not deliver it to the init, but its event is the same as if it did.
fn aborted(stage: &mut Stage) -> Checked<Ran> {
    survives(stage, |it| send(it, "ABRT"))
}

fn notified(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.start(&[], &format!("trap 'exit 3' USR1; {WAITS}"))?;
    send(&Engine::of(stage)?, "USR1")?;
    stage.finish(running)
}

fn pause(stage: &mut Stage) -> Checked<Ran> {
    survives(stage, |it| {
        it.ask(|d, id| async move { d.pause_container(&id).await })?;
        it.ask(|d, id| async move { d.unpause_container(&id).await })
    })
}

fn paused_cancel(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    Engine::of(stage)?.ask(|d, id| async move { d.pause_container(&id).await })?;
    let id = stage.id()?;
    stage.bench.longshore()?.args(["cancel", &id, "--grace", "1s"]).run()?;
    stage.finish(running)
}

fn restart(stage: &mut Stage) -> Checked<Ran> {
    let options = RestartContainerOptionsBuilder::default().t(20).build();
    during(stage, |it| it.ask(|d, id| async move { d.restart_container(&id, Some(options)).await }))
}

fn rename(stage: &mut Stage) -> Checked<Ran> {
    let name = format!("renamed-{}", stage.mark);
    let options = RenameContainerOptionsBuilder::default().name(&name).build();
    survives(stage, |it| it.ask(|d, id| async move { d.rename_container(&id, options).await }))
}

/// The engine starts the container again after the job's end, which is its first.
fn always(stage: &mut Stage) -> Checked<Ran> {
    let policy =
        RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
    let body = ContainerUpdateBody { restart_policy: Some(policy), ..Default::default() };
    survives(stage, |it| it.ask(|d, id| async move { d.update_container(&id, body).await }))
}

fn memory(stage: &mut Stage) -> Checked<Ran> {
    let limit = Some(64 << 20);
    let body = ContainerUpdateBody { memory: limit, memory_swap: limit, ..Default::default() };
    survives(stage, |it| it.ask(|d, id| async move { d.update_container(&id, body).await }))
}

fn remove(stage: &mut Stage) -> Checked<Ran> {
    during(stage, |it| it.ask(|d, id| async move { force(&d, &id).await }))
}

async fn force(docker: &bollard::Docker, id: &str) -> Result<(), bollard::errors::Error> {
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(id, Some(options)).await
}

fn stop_and_remove(stage: &mut Stage) -> Checked<Ran> {
    during(stage, |it| {
        let options = StopContainerOptionsBuilder::default().t(20).build();
        it.ask(|d, id| async move { d.stop_container(&id, Some(options)).await })?;
        match it.ask(|d, id| async move { force(&d, &id).await }) {
            // Longshore removes it too, once it has seen the end.
            Err(error) if format!("{error:#}").contains("o such container") => Ok(()),
            Err(error) if format!("{error:#}").contains("already in progress") => Ok(()),
            other => other,
        }
    })
}

fn disconnect(stage: &mut Stage) -> Checked<Ran> {
    survives(stage, |it| {
        let container = it.id.clone();
        let request = NetworkDisconnectRequest { container, force: Some(true) };
        it.ask(|d, _| async move { d.disconnect_network("bridge", request).await })
    })
}

/// The image is this row's own: other rows use the lab's.
fn remove_image(stage: &mut Stage) -> Checked<Ran> {
    let image = stage.bench.push("1", "removed while it is in use")?.image.to_string();
    let command = stage.with_image(&image, &[], WAITS)?;
    let running = stage.started(command)?;
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    Engine::of(stage)?
        .ask(|d, _| async move { d.remove_image(&image, Some(options), None).await })?;
    stage.let_go(running)
}

/// As the kernel does where the machine runs out of memory. The engine sends no signal of its own.
fn killed_on_host(stage: &mut Stage) -> Checked<Ran> {
    during(stage, |it| {
        let state = it.ask(|d, id| async move { d.inspect_container(&id, None).await })?.state;
        let pid = state.and_then(|state| state.pid).context("it has no process")?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("it does not run")?;
        Ok(kill_process(pid, Signal::KILL)?)
    })
}

/// `gc` leaves a container alone that only has the labels of the job's.
fn forged(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    let engine = Engine::of(stage)?;
    let genuine = engine.ask(|d, id| async move { d.inspect_container(&id, None).await })?;
    let body = ContainerCreateBody {
        image: Some(stage.bench.image()?.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        labels: genuine.config.and_then(|config| config.labels),
        ..ContainerCreateBody::default()
    };
    let name = format!("stranger-{}", stage.mark);
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    engine.ask(|d, _| async move { d.create_container(Some(options), body).await })?;
    let ran = stage.let_go(running)?;
    let gc = stage.bench.longshore()?.args(["gc", "--older-than", "0s"]).run()?;
    let removed = engine.ask(|d, _| async move { force(&d, &name).await });
    gc.exits(0)?;
    removed.context("gc has removed a stranger's container")?;
    Ok(ran)
}

fn unknown_user(stage: &mut Stage) -> Checked<Ran> {
    // The engine has no image yet that no job has used.
    stage.bench.run(&[], "true")?.exits(0)?;
    let engine = Engine::connect(stage)?;
    let base = stage.bench.image()?.to_owned();
    let (name, mark) = (format!("base-{}", stage.mark), stage.mark.clone());
    let image = engine.ask(|d, _| async move {
        let body = ContainerCreateBody { image: Some(base), ..ContainerCreateBody::default() };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        d.create_container(Some(options), body).await?;
        let options = CommitContainerOptionsBuilder::default();
        let options = options.container(&name).repo(&mark).tag("1").changes("USER nosuch").build();
        d.commit_container(options, ContainerConfig::default()).await?;
        force(&d, &name).await?;
        Ok(format!("{mark}:1"))
    })?;
    let command = stage.with_image(&image, &[], "exit 0")?;
    let ran = stage.run(command);
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    engine.ask(|d, _| async move { d.remove_image(&image, Some(options), None).await })?;
    let ran = ran?;
    ensure!(ran.stderr.contains("nosuch"), "it does not name the user: {}", ran.stderr);
    Ok(ran)
}

fn limited(stage: &mut Stage, limit: &str) -> Checked<Ran> {
    let limits = stage.file(&format!("[resources.limits]\n{limit}\n"))?;
    let command = stage.command(&[&limits], "exit 0")?;
    stage.run(command)
}

fn tiny_memory(stage: &mut Stage) -> Checked<Ran> {
    limited(stage, "memory = '64Ki'")
}

fn many_cpus(stage: &mut Stage) -> Checked<Ran> {
    limited(stage, "cpu = '4096'")
}

fn no_network(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.command(&[], "exit 0")?;
    stage.run(command.env("JOB_DOCKER_NETWORK", "no-such-network"))
}
