//! Takes the lab down and leaves nothing behind.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::component;
use super::layout::Lab;
use super::shell::say;
use super::{cgroup, clean, network, process, up};

/// Stops what the lab started and removes what that made on the machine. The
/// registry's images, certificates, volume and logs stay for the next time,
/// unless `purge`.
///
/// # Errors
/// When something cannot be stopped or removed; the rest is taken down all the
/// same as far as possible.
pub fn down(lab: &Lab, purge: bool) -> Result<()> {
    let begun = Instant::now();
    let _lock = lab.lock()?;
    for component in component::all().into_iter().rev() {
        match component::end(lab, component, false) {
            Ok(true) => say!("stopped {}", component.name()),
            Ok(false) => {}
            // The sweep below is another chance, and the end tells.
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
        bail!("failed to take the lab down wholly; left are {}", left.join(", "));
    }
    say!(
        "the lab is down ({:.1} s): no process, mount, bridge or control group is left",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Removes what no record tells of: the processes that ours have started, the
/// containers, and what all of them have made.
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
        // Those that came up while their engine was still there.
        end_containers()?;
        for bridge in network::BRIDGES {
            network::remove(bridge)?;
        }
        cgroup::remove()?;
        clean::remove_traces(lab)?;
    }
    Ok(())
}

/// What the labs of a machine share is touched only by the last one.
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
            // One that has ended meanwhile is as wanted.
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
