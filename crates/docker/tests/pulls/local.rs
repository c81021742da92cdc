//! The images on an engine, by name and digest.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, RemoveImageOptions,
    TagImageOptionsBuilder,
};
use bytes::Bytes;
use futures::TryStreamExt;
use longshore_core::{
    ErrorKind, ImageReason, ImageRef, JobId, LocalImage, PullPolicy, Runner, RunnerName,
};
use longshore_docker::{DockerConfig, DockerRunner};
use serde_json::json;

use super::http::{ask, body_of};
use super::proxy::Proxy;
use super::shop::{Shop, Tried, unavailable, within, words};
use crate::support::Lab;
use crate::{Checked, PATIENCE, output};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.oci.image.manifest.v1+json";

pub(crate) async fn a_tag_that_moves_between_resolve_and_create_changes_nothing(
    lab: Lab,
) -> Checked {
    let shop = Shop::open(lab).await?;
    let moved = Arc::new(AtomicBool::new(false));
    let (registry, repository, done) =
        (shop.registry.clone(), shop.repository.clone(), Arc::clone(&moved));
    let (docker, image) = (shop.lab.docker.clone(), shop.pushed.image.clone());
    let proxy = Proxy::start(move |line| {
        let is_create = line.contains("/containers/create");
        let (registry, repository, done) = (registry.clone(), repository.clone(), done.clone());
        let (docker, image) = (docker.clone(), image.clone());
        async move {
            if is_create && !done.load(Ordering::SeqCst) {
                let pushed = registry.push(&repository, "1", "another").await;
                let pulled = pull(&docker, &image).await;
                done.store(pushed.is_ok() && pulled.is_ok(), Ordering::SeqCst);
            }
        }
    })?;
    let (runner, digest) = (proxy.runner(), shop.pushed.digest.as_str());
    let image = &shop.pushed.image;
    let told = (Some(digest), true);
    shop.runs(&runner, image, PullPolicy::Always, &shop.repository, told).await?;
    assert!(moved.load(Ordering::SeqCst), "the tag has moved");
    let now = shop.registry.push(&shop.repository, "1", "another").await.map_err(words)?;
    let here = shop.lab.runner().local_image(image).await?;
    assert_eq!(here, LocalImage::Present { digest: Some(now.digest.clone()) });
    for image in [image, &image.pinned(digest)?, &image.pinned(&now.digest)?] {
        shop.forget(image).await?;
    }
    // With the containerd store an image that lost its tag is found by its id alone.
    let id = shop.lab.docker.remove_image(digest, None::<RemoveImageOptions>, None);
    let _gone_already = id.await;
    shop.registry.delete(&now).await.map_err(words)?;
    shop.close().await
}

async fn pull(docker: &bollard::Docker, image: &ImageRef) -> Tried<()> {
    let options = CreateImageOptionsBuilder::default().from_image(image.as_str()).build();
    docker.create_image(Some(options), None, None).try_collect::<Vec<_>>().await?;
    Ok(())
}

pub(crate) async fn an_image_that_was_loaded_or_imported_runs_and_has_no_digest(
    lab: Lab,
) -> Checked {
    let shop = Shop::open(lab).await?;
    let (runner, docker) = (shop.lab.runner(), shop.lab.docker.clone());
    let told = (Some(shop.pushed.digest.as_str()), true);
    shop.runs(&runner, &shop.pushed.image, PullPolicy::Always, &shop.repository, told).await?;
    let name = format!("docker-{}", JobId::random());
    for (how, image) in [("loaded", format!("loaded/{name}:1")), ("imported", name.clone())] {
        match how {
            "loaded" => load(&docker, &shop.pushed.image, &image).await?,
            _ => import(&docker, &shop.pushed.image, &image).await?,
        }
        // By its short name and by its full one.
        let full = match how {
            "loaded" => format!("docker.io/{image}"),
            _ => format!("docker.io/library/{image}:latest"),
        };
        for (image, policy) in [
            (&image, PullPolicy::Never),
            (&image, PullPolicy::IfNotPresent),
            (&full, PullPolicy::Never),
        ] {
            let image: ImageRef = image.parse()?;
            shop.runs(&runner, &image, policy, &shop.repository, (None, false)).await?;
            let found = runner.local_image(&image).await?;
            assert_eq!(found, LocalImage::Present { digest: None }, "{how} {image}");
        }
        shop.forget(&image.parse()?).await?;
    }
    shop.forget(&shop.pushed.image).await?;
    shop.close().await
}

/// `docker tag`, `docker save`, `docker rmi`, `docker load`.
async fn load(docker: &bollard::Docker, from: &ImageRef, name: &str) -> Tried<()> {
    let (repo, tag) = name.split_once(':').ok_or("no tag")?;
    let options = TagImageOptionsBuilder::default().repo(repo).tag(tag).build();
    docker.tag_image(from.as_str(), Some(options)).await?;
    let archive: Vec<Bytes> = docker.export_image(name).try_collect().await?;
    docker.remove_image(name, None::<RemoveImageOptions>, None).await?;
    let options = bollard::query_parameters::ImportImageOptionsBuilder::default().build();
    let archive = bollard::body_full(archive.concat().into());
    docker.import_image(options, archive, None).try_collect::<Vec<_>>().await?;
    Ok(())
}

/// `docker export` and `docker import`.
async fn import(docker: &bollard::Docker, from: &ImageRef, name: &str) -> Tried<()> {
    let container = format!("import-{}", JobId::random());
    let options = CreateContainerOptionsBuilder::default().name(&container).build();
    let body = ContainerCreateBody {
        image: Some(from.to_string()),
        cmd: Some(vec!["true".to_owned()]),
        labels: Some(HashMap::new()),
        ..ContainerCreateBody::default()
    };
    docker.create_container(Some(options), body).await?;
    let archive: Vec<Bytes> = docker.export_container(&container).try_collect().await?;
    docker.remove_container(&container, None).await?;
    let options = CreateImageOptionsBuilder::default().from_src("-").repo(name).tag("latest");
    let archive = bollard::body_full(archive.concat().into());
    docker.create_image(Some(options.build()), Some(archive), None).try_collect::<Vec<_>>().await?;
    Ok(())
}

pub(crate) async fn a_multi_architecture_image_has_the_digest_of_its_index(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    let (image, digest) = push_index(&shop).await?;
    let index = Some(digest.as_str());
    let (always, never) = (PullPolicy::Always, PullPolicy::Never);
    shop.runs(&runner, &image, always, &shop.repository, (index, true)).await?;
    shop.runs(&runner, &image, never, &shop.repository, (index, false)).await?;
    let here = LocalImage::Present { digest: Some(digest.clone()) };
    assert_eq!(runner.local_image(&image).await?, here);
    // With a tag and a digest the digest counts, whatever the tag.
    let both: ImageRef =
        format!("{}:no-such-tag@{digest}", image.as_str().trim_end_matches(":multi")).parse()?;
    shop.runs(&runner, &both, PullPolicy::IfNotPresent, &shop.repository, (index, false)).await?;
    shop.runs(&runner, &both, always, &shop.repository, (index, true)).await?;
    for image in [&image, &image.pinned(&digest)?] {
        shop.forget(image).await?;
    }
    shop.close().await
}

/// An index of the pushed image and of one for another platform, under the tag `multi`.
async fn push_index(shop: &Shop) -> Tried<(ImageRef, String)> {
    let host = shop.registry.base().registry();
    let path = |reference: &str| format!("/v2/{}/manifests/{reference}", shop.repository);
    let other = shop.registry.push(&shop.repository, "other", "other").await.map_err(words)?;
    let system = shop.lab.docker.version().await?;
    let mut manifests = Vec::new();
    for (digest, architecture) in
        [(&other.digest, "s390x"), (&shop.pushed.digest, system.arch.as_deref().unwrap_or("amd64"))]
    {
        let answer = ask(host, "GET", &path(digest), &[("Accept", MANIFESTS)], b"").await?;
        let manifest: serde_json::Value = serde_json::from_slice(body_of(&answer))?;
        manifests.push(json!({
            "mediaType": manifest["mediaType"], "size": body_of(&answer).len(), "digest": digest,
            "platform": {"architecture": architecture, "os": "linux"},
        }));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    let index = serde_json::to_vec(&index)?;
    let answer = ask(host, "PUT", &path("multi"), &[("Content-Type", INDEX)], &index).await?;
    let answer = String::from_utf8(answer)?;
    let digest = answer
        .lines()
        .find_map(|line| line.strip_prefix("Docker-Content-Digest: "))
        .ok_or_else(|| format!("the registry took no index: {answer}"))?;
    Ok((shop.registry.image(&shop.repository, "multi").map_err(words)?, digest.trim().to_owned()))
}

pub(crate) async fn an_engine_tells_what_it_has_and_asks_no_registry(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    assert_eq!(runner.local_image(&shop.image).await?, LocalImage::Absent);
    let attempt = shop.attempt(&shop.image, PullPolicy::Never);
    let launched = runner.launch(&attempt, &within(PATIENCE)).await;
    unavailable(launched, ImageReason::NotPresent);
    assert_eq!(shop.faulty.log(), [""; 0]);

    let attempt = shop.attempt(&shop.image, PullPolicy::IfNotPresent);
    let started = runner.launch(&attempt, &within(PATIENCE)).await?;
    assert_eq!(output(&runner, &started.handle).await?, shop.repository);
    runner.remove(&started.handle).await?;
    let asked = shop.faulty.log().len();
    let digest = Some(shop.pushed.digest.clone());
    assert_eq!(runner.local_image(&shop.image).await?, LocalImage::Present { digest });
    assert_eq!(shop.faulty.log().len(), asked);

    let mut config = DockerConfig::default();
    config.host = Some("unix:///nowhere/docker.sock".to_owned());
    let away = DockerRunner::new(RunnerName::docker(), config);
    let error = away.local_image(&shop.image).await.err().ok_or("it is there")?;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    shop.close().await
}
