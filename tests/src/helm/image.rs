//! The command's image, built from the repository's own Dockerfile by a real engine.
//!
//! It is built with a different base image: its `cargo` returns the program that was built for the
//! tests, with the libraries that it needs. Everything else is as in the Dockerfile.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bollard::Docker;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptionsBuilder,
};
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::time::timeout;

use crate::bench::runtime;
use crate::check::same;
use crate::lab::Lab;
use crate::programs;

/// How long building and pushing may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Returns the image, pushed to the lab's registry. The first call builds it.
pub(crate) fn image(lab: &Lab) -> Result<String> {
    static IMAGE: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let made = || make(lab).map_err(|error| format!("failed to build the image: {error:#}"));
    IMAGE.get_or_init(made).clone().map_err(|error| anyhow!(error))
}

fn make(lab: &Lab) -> Result<String> {
    let base = lab.image.as_deref().context("LONGSHORE_LAB_IMAGE is not set")?;
    let (registry, _) = base.split_once('/').context("the lab's image names no registry")?;
    let repository = format!("{registry}/longshore-e2e/helm-{}", std::process::id());
    let (builder, image) = (format!("{repository}-builder:1"), format!("{repository}:1"));
    let host = lab.docker_host.as_deref().unwrap_or_default();
    runtime()?.block_on(async {
        let docker = Docker::connect_with_host(host)?.negotiate_version().await?;
        let mut stages = Vec::new();
        let made = async {
            build(&docker, &builder, builder_context(base)?, &[]).await?;
            let log = build(&docker, &image, context()?, &[("BUILDER", &builder)]).await?;
            stages.extend(built(&log));
            check(&docker, &image).await?;
            push(&docker, &image).await
        };
        let made = timeout(PATIENCE, made).await;
        // The registry has the image. Removing one stage may also have removed another.
        for name in [image.clone()].into_iter().chain(stages.into_iter().rev()).chain([builder]) {
            let force = RemoveImageOptionsBuilder::default().force(true).build();
            let _ = docker.remove_image(&name, Some(force), None).await;
        }
        made.with_context(|| format!("it took longer than {PATIENCE:?}"))?
    })?;
    Ok(image)
}

/// A replacement for the toolchain that accepts only the commands of the Dockerfile.
const CARGO: &str = r#"#!/bin/sh
set -e
test "$*" = "build --locked --release --package longshore-cli --target lab --target-dir /build"
test "$RUSTFLAGS" = "-C target-feature=+crt-static"
mkdir -p /build/lab/release /image
mv /prebuilt/longshore /build/lab/release/longshore
cp -a /prebuilt/libraries/. /image/
"#;
const RUSTC: &str = "#!/bin/sh\ntest \"$*\" = '--print host-tuple' && echo lab\n";

/// Returns the context of the builder image.
fn builder_context(base: &str) -> Result<Bytes> {
    let mut archive = Archive::new();
    archive.add("Dockerfile", format!("FROM {base}\nCOPY . /\n").as_bytes(), 0o644)?;
    archive.add("usr/local/bin/cargo", CARGO.as_bytes(), 0o755)?;
    archive.add("usr/local/bin/rustc", RUSTC.as_bytes(), 0o755)?;
    let program = programs::longshore()?;
    archive.add("prebuilt/longshore", &stripped(&program)?, 0o755)?;
    for library in libraries(&program)? {
        let place = Path::new("prebuilt/libraries").join(library.strip_prefix("/")?);
        archive.add(&place.to_string_lossy(), &fs::read(&library)?, 0o755)?;
    }
    archive.finish()
}

/// Returns the context of the Dockerfile; what it compiles does not matter here.
fn context() -> Result<Bytes> {
    let mut archive = Archive::new();
    for name in ["Dockerfile", "Cargo.toml"] {
        archive.add(name, &fs::read(programs::checkout().join(name))?, 0o644)?;
    }
    archive.finish()
}

struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn add(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(content.len())?);
        header.set_mode(mode);
        Ok(self.0.append_data(&mut header, name, content)?)
    }

    fn finish(self) -> Result<Bytes> {
        Ok(self.0.into_inner()?.into())
    }
}

/// Returns the program without debug information, which is most of a debug build.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let out = tempfile::NamedTempFile::new()?;
    let status = Command::new("strip").arg("-o").arg(out.path()).arg(program).status();
    ensure!(status.context("failed to run strip")?.success(), "strip has failed");
    Ok(fs::read(out.path())?)
}

/// Returns the paths of the shared libraries of `program` and of its loader.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("failed to run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `libc.so.6 => /lib/libc.so.6 (0x…)`, or the loader's own path alone.
    let path = |line: &str| {
        let place = line.rsplit("=>").next()?.split_whitespace().next()?;
        place.starts_with('/').then(|| PathBuf::from(place))
    };
    Ok(text.lines().filter_map(path).collect())
}

/// Returns the intermediate images that the engine reports, one for each step.
fn built(log: &str) -> Vec<String> {
    let id = |line: &str| {
        let id = line.strip_prefix(" ---> ")?;
        (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
    };
    log.lines().filter_map(id).collect()
}

/// Builds the image `name`, and returns the output of the engine.
async fn build(
    docker: &Docker,
    name: &str,
    context: Bytes,
    args: &[(&str, &str)],
) -> Result<String> {
    let args: HashMap<&str, &str> = args.iter().copied().collect();
    let options =
        BuildImageOptionsBuilder::default().t(name).rm(true).forcerm(true).buildargs(&args).build();
    let body = Some(bollard::body_full(context));
    let mut said = docker.build_image(options, None, body);
    let mut log = String::new();
    loop {
        match said.try_next().await {
            Ok(Some(step)) => {
                log.push_str(&step.stream.unwrap_or_default());
                if let Some(error) = step.error_detail {
                    bail!("failed to build {name}: {error:?}: {log}");
                }
            }
            Ok(None) => return Ok(log),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to build {name}: {log}"));
            }
        }
    }
}

/// Checks that the image is as the chart and its README describe it.
async fn check(docker: &Docker, name: &str) -> Result<()> {
    let config = docker.inspect_image(name).await?.config.context("it has no configuration")?;
    same("the user", config.user.as_deref(), Some("65532:65532"))?;
    same("the entry point", config.entrypoint, Some(vec!["longshore".to_owned()]))
}

async fn push(docker: &Docker, name: &str) -> Result<()> {
    let (repository, tag) = name.rsplit_once(':').context("the image has no tag")?;
    let options = PushImageOptionsBuilder::default().tag(tag).build();
    let mut said = Box::pin(docker.push_image(repository, Some(options), None));
    while let Some(step) = said.try_next().await.context("failed to push the image")? {
        if let Some(error) = step.error_detail {
            bail!("failed to push the image: {error:?}");
        }
    }
    Ok(())
}
