//! Builds programs from their Go modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::graph::Done;
use super::layout::{Lab, make_dir, short_hash, source};
use super::shell;

/// Programs that one call of the Go command builds.
pub(crate) struct Build {
    name: &'static str,
    /// The folder of tests/lab with the go.mod.
    folder: &'static str,
    /// The module that the version is taken from.
    module: &'static str,
    packages: &'static [&'static str],
    /// Flags for the linker; `{version}` is replaced by the version of `module`.
    link: &'static str,
    /// If set, build with C and with these build tags.
    c_tags: Option<&'static str>,
    /// The folder of the built programs.
    out: &'static str,
}

pub(crate) const KUBERNETES: Build = Build {
    name: "kubernetes",
    folder: "",
    module: "k8s.io/kubernetes",
    packages: &[
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubectl",
        "k8s.io/kubernetes/cmd/kubelet",
    ],
    link: "-X k8s.io/component-base/version.gitVersion={version}",
    c_tags: None,
    out: "",
};

pub(crate) const TOXIPROXY: Build = Build {
    name: "toxiproxy",
    folder: "toxiproxy",
    module: "github.com/Shopify/toxiproxy/v2",
    packages: &["github.com/Shopify/toxiproxy/v2/cmd/server"],
    link: "-X github.com/Shopify/toxiproxy/v2.Version={version}",
    c_tags: None,
    out: "toxiproxy",
};

pub(crate) const ENGINE: Build = Build {
    name: "engine",
    folder: "engine",
    module: "github.com/moby/moby/v2",
    packages: &[
        "github.com/moby/moby/v2/cmd/dockerd",
        "github.com/moby/moby/v2/cmd/docker-proxy",
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ],
    // The engine's version is not the version of its module: the module has it
    // in releases/versions.yaml.
    link: "-X github.com/moby/moby/v2/dockerversion.Version=29.8.1-dev",
    c_tags: None,
    out: "engine",
};

pub(crate) const HELM: Build = Build {
    name: "helm",
    folder: "helm",
    module: "helm.sh/helm/v3",
    packages: &["helm.sh/helm/v3/cmd/helm"],
    // The cluster's version, for rendering and linting without a cluster.
    link: "-X helm.sh/helm/v3/internal/version.version={version} \
           -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 \
           -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34 \
           -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 \
           -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=34",
    c_tags: None,
    out: "helm",
};

/// runc needs C for the code that enters a container's namespaces.
pub(crate) const RUNC: Build = Build {
    name: "runc",
    folder: "engine",
    module: "github.com/opencontainers/runc",
    packages: &["github.com/opencontainers/runc"],
    link: "",
    c_tags: Some("seccomp"),
    out: "engine",
};

/// Builds the programs of `builds`, unless they were built from the same module
/// with the same flags. The first time takes some minutes; later builds use Go's
/// own cache.
pub(crate) fn ensure(lab: &Lab, builds: &[Build]) -> Result<Done> {
    let mut built = 0;
    for build in builds {
        built += build.ensure(lab)?;
    }
    if built == 0 {
        return Ok(Done::Already);
    }
    Ok(Done::Changed(format!("built {built} programs")))
}

impl Build {
    /// Builds the programs if needed, and returns how many were built.
    fn ensure(&self, lab: &Lab) -> Result<usize> {
        let (module, sums) = (self.read("go.mod")?, self.read("go.sum")?);
        let flags = self.flags(&module)?;
        let parts = [module.as_bytes(), sums.as_bytes()].into_iter();
        let parts: Vec<&[u8]> = parts.chain(flags.iter().map(String::as_bytes)).collect();
        let recipe = short_hash(&parts);
        let stamp = lab.bin(&format!(".{}-stamp", self.name));
        let out = lab.bin(self.out);
        let exists = |package: &&str| out.join(program(package)).exists();
        let found = fs::read_to_string(&stamp).is_ok_and(|found| found == recipe);
        if found && self.packages.iter().all(exists) {
            return Ok(0);
        }
        make_dir(&out)?;
        // Removed first, so that an incomplete build has no stamp.
        let _ = fs::remove_file(&stamp);
        self.run(&out, &flags)?;
        lab.write(&stamp, recipe)?;
        Ok(self.packages.len())
    }

    fn flags(&self, go_mod: &str) -> Result<Vec<String>> {
        let version = required(go_mod, self.module).with_context(|| {
            format!("failed to find {} in {}/go.mod", self.module, self.source().display())
        })?;
        let link = format!("-s -w {}", self.link.replace("{version}", &version));
        let mut flags = ["-trimpath", "-buildvcs=false", "-ldflags", link.trim_end()].to_vec();
        if let Some(tags) = self.c_tags {
            flags.extend(["-tags", tags]);
        }
        Ok(flags.into_iter().map(String::from).collect())
    }

    fn run(&self, out: &Path, flags: &[String]) -> Result<()> {
        let Some(go) = find_go() else {
            bail!("failed to find the go command, which builds {}", self.name);
        };
        let mut command = Command::new(go);
        command
            .arg("build")
            .args(flags)
            .arg("-o")
            // With a slash at the end, Go treats it as a folder even for one program.
            .arg(out.join(""))
            .args(self.packages)
            .current_dir(self.source())
            .env("CGO_ENABLED", if self.c_tags.is_some() { "1" } else { "0" });
        shell::capture(&mut command).map(drop)
    }

    fn source(&self) -> PathBuf {
        source().join(self.folder)
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.source().join(name);
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    }
}

/// Returns the name that Go gives a program, which comes from its package.
fn program(package: &str) -> &str {
    package.rsplit('/').next().unwrap_or(package)
}

/// Finds the go command. Unlike Debian's programs, it is where the developer installed it.
fn find_go() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let installed = PathBuf::from("/usr/local/go/bin");
    std::env::split_paths(&path).chain([installed]).map(|dir| dir.join("go")).find(|go| go.exists())
}

/// Returns the version of `module` that a go.mod requires.
fn required(text: &str, module: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.trim();
        let mut words = line.strip_prefix("require ").unwrap_or(line).split_ascii_whitespace();
        (words.next()? == module).then(|| words.next().map(String::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_version_is_found_in_both_forms() {
        let text = "module a\n\nrequire b v1\n\nrequire (\n\tbb v2\n\tc v3 // indirect\n)\n";
        assert_eq!(required(text, "b").as_deref(), Some("v1"));
        assert_eq!(required(text, "c").as_deref(), Some("v3"));
        assert_eq!(required(text, "d"), None);
    }

    #[test]
    fn each_build_finds_its_module() {
        for build in [KUBERNETES, TOXIPROXY, ENGINE, RUNC, HELM] {
            let flags = build.flags(&build.read("go.mod").unwrap()).unwrap();
            assert!(!flags[3].contains('{') && flags[3].starts_with("-s -w"), "{flags:?}");
        }
    }

    #[test]
    fn each_package_is_pinned_by_a_tools_file() {
        for build in [KUBERNETES, TOXIPROXY, ENGINE, RUNC, HELM] {
            let tools = build.read("tools.go").unwrap();
            for package in build.packages {
                assert!(tools.contains(&format!("{package}\"")), "{package}");
            }
        }
    }
}
