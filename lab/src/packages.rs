//! The Debian packages that the lab needs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::component::Group;
use super::graph::Done;
use super::shell;

/// A file that shows whether a package is installed.
struct Need {
    file: &'static str,
    package: &'static str,
    groups: &'static [Group],
}

const NEEDS: [Need; 17] = {
    use Group::{Docker, Docker29, Helm, Kubernetes, Registry};
    [
        Need { file: "dockerd", package: "docker.io", groups: &[Docker] },
        Need { file: "docker-init", package: "tini", groups: &[Docker, Docker29] },
        Need { file: "docker-registry", package: "docker-registry", groups: &[Registry] },
        Need { file: "/bin/busybox", package: "busybox-static", groups: &[Registry] },
        Need { file: "htpasswd", package: "apache2-utils", groups: &[Registry] },
        Need { file: "tar", package: "tar", groups: &[Registry] },
        Need { file: "gzip", package: "gzip", groups: &[Registry] },
        Need { file: "etcd", package: "etcd-server", groups: &[Kubernetes] },
        Need { file: "openssl", package: "openssl", groups: &[Registry, Kubernetes] },
        Need {
            file: "/usr/lib/cni/bridge",
            package: "containernetworking-plugins",
            groups: &[Kubernetes],
        },
        // For the first engine, and for its client `ctr`.
        Need { file: "containerd", package: "containerd", groups: &[Docker, Kubernetes] },
        Need { file: "runc", package: "runc", groups: &[Docker, Kubernetes] },
        Need { file: "ip", package: "iproute2", groups: &[Docker, Docker29, Kubernetes] },
        // A C compiler is not listed: Rust cannot build anything without one either.
        Need {
            file: "/usr/include/seccomp.h",
            package: "libseccomp-dev",
            groups: &[Docker29, Kubernetes],
        },
        // For commands whose clock is not the server's.
        Need { file: "faketime", package: "faketime", groups: &[Docker, Docker29, Kubernetes] },
        Need { file: "socat", package: "socat", groups: &[Helm] },
        Need { file: "pkg-config", package: "pkg-config", groups: &[Docker29, Kubernetes] },
    ]
};

/// Installs the packages that `groups` lack.
pub(crate) fn ensure(groups: &[Group]) -> Result<Done> {
    let missing = missing(groups);
    if missing.is_empty() {
        return Ok(Done::Already);
    }
    let names = missing.join(" ");
    if shell::find("apt-get").is_none() {
        bail!(
            "failed to find the files of Debian's packages {names}, and there is no apt-get to install them"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "failed to install Debian's packages {names}: this needs root; run `apt-get install {names}` as root, or the lab as root"
        );
    }
    let _policy = NoServices::begin()?;
    apt(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    let install: Vec<&str> = install.into_iter().chain(missing).collect();
    apt(&install)?;
    Ok(Done::Changed(format!("installed {names}")))
}

fn missing(groups: &[Group]) -> Vec<&'static str> {
    NEEDS
        .iter()
        .filter(|need| need.groups.iter().any(|group| groups.contains(group)))
        .filter(|need| !is_present(need.file))
        .map(|need| need.package)
        .collect()
}

fn is_present(file: &str) -> bool {
    match file {
        "/bin/busybox" => fs::read(file).is_ok_and(|program| is_static(&program)),
        path if path.starts_with('/') => Path::new(path).exists(),
        program => shell::find(program).is_some(),
    }
}

/// Returns whether a program is static: it then names no loader of shared libraries.
fn is_static(program: &[u8]) -> bool {
    let loader = b"/ld-linux";
    !program.windows(loader.len()).any(|window| window == loader)
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet", "-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    shell::capture(&mut command).map(drop)
}

/// Prevents installed packages from starting services until it is dropped: the
/// lab must not start an engine on the default socket.
struct NoServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("failed to write {POLICY}"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            // An error cannot be reported here.
            let _ = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        assert!(is_static(b"\x7fELF..."));
        assert!(!is_static(b"\x7fELF.../lib64/ld-linux-x86-64.so.2\0"));
    }

    #[test]
    fn what_a_group_runs_is_needed_for_it() {
        let packages = |group| {
            let needs = NEEDS.iter().filter(|need| need.groups.contains(&group));
            needs.map(|need| need.package).collect::<Vec<_>>()
        };
        assert!(packages(Group::Docker).contains(&"docker.io"));
        assert!(packages(Group::Docker29).contains(&"libseccomp-dev"));
        assert!(!packages(Group::Docker29).contains(&"docker.io"));
        assert!(packages(Group::Registry).contains(&"apache2-utils"));
        assert!(packages(Group::Toxiproxy).is_empty());
    }
}
