//! Takes the lab down and leaves nothing behind.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::component;
use super::layout::Lab;
use super::shell::say;
use super::{cgroup, clean, network, process, up};

/// Stops what the lab started, and removes what these processes created on the
/// machine. The registry's images, certificates, volume and logs stay for the
/// next start, unless `purge` is set.
///
/// # Errors
/// If something cannot be stopped or removed. The rest is taken down as far as
/// possible.
pub fn down(lab: &Lab, purge: bool) -> Result<()> {
    let begun = Instant::now();
    let _lock = lab.lock()?;
    for component in component::all().into_iter().rev() {
        match component::end(lab, component, false) {
            Ok(true) => say!("stopped {}", component.name()),
            Ok(false) => {}
            // The sweep below tries again, and the check at the end reports leftovers.
            Err(error) => say!("{error:#}"),
        }
        if component.name() == "kubelet" && is_alone(lab) {
            end_containers()?;
        }
    }
    sweep(lab)?;
    clean::remove_data(lab, purge)?;
    let left = leftovers(lab)?;
    if !left.is_empty() {
        bail!("failed to take the lab down completely; left are {}", left.join(", "));
    }
    say!(
        "the lab is down ({:.1} s): no process, mount, bridge or control group is left",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Removes what no record covers: processes that the lab's processes started,
/// containers, and what all of them created.
pub(crate) fn sweep(lab: &Lab) -> Result<()> {
    let alone = is_alone(lab);
    if alone {
        end_containers()?;
    }
    for process in process::of_lab(lab.root()) {
        say!("killing the leftover {} ({})", process::command_name(process.pid), process.pid);
        process.kill()?;
    }
    clean::unmount(lab)?;
    if alone {
        // Containers that started while their engine was still running.
        end_containers()?;
        for bridge in network::BRIDGES {
            network::remove(bridge)?;
        }
        cgroup::remove()?;
        clean::remove_traces(lab)?;
    }
    Ok(())
}

/// Returns whether no other lab is up: only the last lab removes what labs share.
fn is_alone(lab: &Lab) -> bool {
    up::others(lab).is_empty()
}

fn end_containers() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let processes = cgroup::processes()?;
        if processes.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("failed to end the containers' processes {processes:?}");
        }
        for pid in processes {
            // A process that has ended meanwhile needs no kill.
            if let Ok(identity) = process::Identity::of(pid)
                && identity.is_alive()
            {
                identity.kill()?;
            }
        }
    }
}

fn leftovers(lab: &Lab) -> Result<Vec<String>> {
    let mut left: Vec<String> = process::of_lab(lab.root())
        .iter()
        .map(|process| format!("process {} ({})", process.pid, process::command_name(process.pid)))
        .collect();
    left.extend(clean::mounts(lab)?.iter().map(|mount| format!("mount {}", mount.display())));
    if is_alone(lab) {
        let bridges = network::BRIDGES.iter().filter(|bridge| network::exists(bridge.name));
        left.extend(bridges.map(|bridge| format!("bridge {}", bridge.name)));
        left.extend(cgroup::processes()?.iter().map(|pid| format!("container process {pid}")));
    }
    Ok(left)
}
