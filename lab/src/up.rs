//! Brings the lab up: one graph of steps and components.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};

use super::component::{self, Component, Group};
use super::down::{self, down};
use super::existing::Existing;
use super::graph::{self, Done, Finished, Step};
use super::layout::Lab;
use super::shell::say;
use super::{build, certificates, cluster, images, packages, port, process, state};

/// The options of `up`.
#[derive(Debug, Clone, Default)]
pub struct UpOptions {
    /// The parts to bring up; all if empty.
    pub only: Vec<Group>,
    /// Use the Docker and Kubernetes that `DOCKER_HOST` and `KUBECONFIG` name.
    pub use_existing: bool,
    /// Take down the lab of another checkout first.
    pub replace: bool,
}

/// Brings the lab up, and prints a line for each step. Components that are up
/// stay as they are.
///
/// # Errors
/// If a step fails. The steps that do not need it still run.
pub fn up(lab: &Lab, options: &UpOptions) -> Result<()> {
    let begun = Instant::now();
    let _lock = lab.lock()?;
    let existing =
        if options.use_existing { Existing::from_environment(lab) } else { Existing::default() };
    existing.save(lab)?;
    let groups = groups(&options.only, &existing);
    let components: Vec<_> = component::all()
        .into_iter()
        .filter(|component| groups.contains(&component.group()))
        .collect();
    check_root(&components)?;
    give_way(options.replace, lab)?;
    prepare(lab, &components)?;
    graph::run(steps(lab, &groups, &components), &print)?;
    say!("the lab is up ({:.1} s): eval \"$(cargo xtask lab env)\"", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Returns the groups of `only`, or all, and those that they require, without existing backends.
fn groups(only: &[Group], existing: &Existing) -> Vec<Group> {
    let wanted = |group: &Group| {
        let named = only.is_empty() || only.contains(group);
        let needs = |it: &Group| it.brings().contains(group) && !existing.has(*it);
        (named || only.iter().any(needs)) && !existing.has(*group)
    };
    Group::ALL.into_iter().filter(wanted).collect()
}

fn check_root(components: &[&dyn Component]) -> Result<()> {
    let names: Vec<_> =
        components.iter().filter(|it| it.needs_root()).map(|it| it.name()).collect();
    if names.is_empty() || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!(
        "failed to start {}: they need root. Run as root, or set DOCKER_HOST and KUBECONFIG to your own backends and use --use-existing, or bring up the rest with --only registry",
        names.join(", ")
    )
}

/// Handles other labs on this machine: two labs would conflict over ports, bridges and the control
/// group.
fn give_way(replace: bool, lab: &Lab) -> Result<()> {
    for other in others(lab) {
        if !replace {
            let other = other.display();
            bail!(
                "another lab, {other}, is up on this machine: take it down with `cargo xtask lab down --dir {other}`, or use `up --replace`"
            );
        }
        down(&Lab::open(Some(other))?, false)?;
    }
    Ok(())
}

/// Returns the folders of the other labs that run on this machine.
pub(crate) fn others(lab: &Lab) -> Vec<PathBuf> {
    let mut found: Vec<_> = process::process_ids().filter_map(process::lab_of).collect();
    found.sort_unstable();
    found.dedup();
    found.retain(|root| root != lab.root());
    found
}

/// Reports obstacles before the long steps, and cleans up for the components that
/// will be started.
fn prepare(lab: &Lab, components: &[&dyn Component]) -> Result<()> {
    let mut stopped = Vec::new();
    for component in component::all() {
        if state::running(lab, component.name())?.is_none() {
            stopped.push(component.name());
        }
    }
    if stopped.len() == component::all().len() && !process::of_lab(lab.root()).is_empty() {
        say!("removing the leftovers of an unrecorded lab of this checkout");
        down::sweep(lab)?;
    }
    for component in components.iter().filter(|it| stopped.contains(&it.name())) {
        for address in component.addresses() {
            port::check_free(address, component.name())?;
        }
        // A log covers one run of the component.
        let _ = std::fs::remove_file(lab.log(component.name()));
    }
    Ok(())
}

fn steps<'a>(
    lab: &'a Lab,
    groups: &'a [Group],
    components: &[&'static dyn Component],
) -> Vec<Step<'a>> {
    let mut steps = vec![step("packages", &[], || packages::ensure(groups))];
    for component in components.iter().copied() {
        let start = move || component::ensure(lab, component);
        steps.push(step(component.name(), component.needs(), start));
    }
    if groups.contains(&Group::Registry) {
        steps.push(step("images", &["registry"], || images::ensure(lab)));
        let private = || images::ensure_private(lab);
        steps.push(step("private images", &["registry-private"], private));
    }
    if groups.contains(&Group::Kubernetes) {
        let node = ["kubelet", "controller-manager", "scheduler"];
        steps.push(step("build", &["packages"], || build::ensure(lab, &[build::KUBERNETES])));
        steps.push(step("certificates", &["packages"], || certificates::ensure(lab)));
        steps.push(step("pause image", &["images", "containerd"], || images::preload_pause(lab)));
        steps.push(step("node", &node, || cluster::await_node(lab)));
        steps.push(step("volume", &["controller-manager"], || cluster::ensure_volume(lab)));
    }
    steps.extend(further_builds(lab, groups));
    steps
}

/// Returns the other builds. They run one after the other, and after that of Kubernetes, because a
/// build uses every core.
fn further_builds<'a>(lab: &'a Lab, groups: &[Group]) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    if groups.contains(&Group::Toxiproxy) {
        let build = || build::ensure(lab, &[build::TOXIPROXY]);
        steps.push(step("build toxiproxy", &["build"], build));
    }
    if groups.contains(&Group::Docker29) || groups.contains(&Group::Kubernetes) {
        let build = || build::ensure(lab, &[build::RUNC, build::ENGINE]);
        let needs = &["packages", "build", "build toxiproxy"];
        steps.push(step("build engine", needs, build));
    }
    if groups.contains(&Group::Helm) {
        let build = || build::ensure(lab, &[build::HELM]);
        let needs = &["build", "build toxiproxy", "build engine"];
        steps.push(step("build helm", needs, build));
    }
    steps
}

fn step<'a>(
    name: &'static str,
    needs: &[&'static str],
    run: impl FnOnce() -> Result<Done> + Send + 'a,
) -> Step<'a> {
    Step { name, needs: needs.to_vec(), run: Box::new(run) }
}

fn print(finished: &Finished<'_>) {
    let what = match finished.result {
        Ok(Done::Already) => "up to date".to_owned(),
        Ok(Done::Changed(what)) => what.clone(),
        Err(error) => format!("FAILED: {error:#}"),
    };
    say!("{:<20} {:>7.2} s  {what}", finished.name, finished.took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_brings_the_registry_along() {
        let found = groups(&[Group::Kubernetes], &Existing::default());
        assert_eq!(found, [Group::Registry, Group::Kubernetes]);
        let found = groups(&[Group::Helm], &Existing::default());
        assert_eq!(found, [Group::Registry, Group::Kubernetes, Group::Helm]);
        assert_eq!(groups(&[Group::Docker], &Existing::default()), [Group::Docker]);
        assert_eq!(groups(&[], &Existing::default()), Group::ALL);
    }

    #[test]
    fn what_is_given_is_not_started() {
        let existing = Existing { docker_host: Some("unix:///x".into()), ..Existing::default() };
        let rest = [Group::Registry, Group::Kubernetes, Group::Toxiproxy, Group::Helm];
        assert_eq!(groups(&[], &existing), rest);
        assert!(groups(&[Group::Docker], &existing).is_empty());
        let existing = Existing { kubeconfig: Some("/x".into()), ..Existing::default() };
        assert!(groups(&[Group::Helm], &existing).is_empty());
    }
}
