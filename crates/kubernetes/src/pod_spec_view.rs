//! The parts of a Pod that admission or another client may change, and a comparison of them. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::names;

/// The parts of a Pod's specification that decide what runs, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodSpecView {
    /// `restartPolicy`.
    restart_policy: String,
    /// The scheduler that places it.
    pub(crate) scheduler: String,
    /// The containers, in order.
    containers: Vec<ContainerSpecView>,
    /// The init containers, in order.
    init: Vec<ContainerSpecView>,
}

/// The parts of a container's specification that decide what runs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerSpecView {
    /// Its name.
    name: String,
    /// Its image.
    pub(crate) image: String,
    /// A hash of its command and arguments, which may be long.
    program: u64,
    /// Whether it is an init container that runs beside the others (a native sidecar).
    sidecar: bool,
}

impl From<&PodSpec> for PodSpecView {
    fn from(spec: &PodSpec) -> Self {
        Self {
            restart_policy: spec.restart_policy.clone().unwrap_or_else(|| "Always".to_owned()),
            scheduler: spec.scheduler_name.clone().unwrap_or_default(),
            containers: spec.containers.iter().map(ContainerSpecView::from).collect(),
            init: spec.init_containers.iter().flatten().map(ContainerSpecView::from).collect(),
        }
    }
}

impl From<&Container> for ContainerSpecView {
    fn from(container: &Container) -> Self {
        let mut hasher = DefaultHasher::new();
        (&container.command, &container.args).hash(&mut hasher);
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            program: hasher.finish(),
            sidecar: container.restart_policy.as_deref() == Some("Always"),
        }
    }
}

impl PodSpecView {
    /// Returns the name of the container that runs the job: `job`, or the only container if
    /// admission renamed it. `None` if no container can be identified.
    pub(crate) fn job_container(&self) -> Option<&str> {
        self.job().or(self.renamed()).map(|container| container.name.as_str())
    }

    /// Returns the container with the job's name.
    pub(crate) fn job(&self) -> Option<&ContainerSpecView> {
        self.containers.iter().find(|c| c.name == names::CONTAINER)
    }

    fn renamed(&self) -> Option<&ContainerSpecView> {
        match self.containers.as_slice() {
            [only] if only.name != names::CONTAINER => Some(only),
            _ => None,
        }
    }

    /// Returns whether the kubelet never restarts a container of the Pod.
    pub(crate) fn never_restarts(&self) -> bool {
        self.restart_policy == "Never"
    }

    /// Returns what differs between this template and `pod`, as a text; `None` if nothing does.
    pub(crate) fn difference(&self, pod: &Self) -> Option<String> {
        let mut found = self.altered(pod);
        found.extend(self.added(pod));
        joined(&found)
    }

    /// Like [`difference`](Self::difference), but ignores containers that were only added.
    pub(crate) fn alteration(&self, pod: &Self) -> Option<String> {
        joined(&self.altered(pod))
    }

    fn altered(&self, pod: &Self) -> Vec<String> {
        let mut found = Vec::new();
        match (self.job(), pod.job(), pod.renamed()) {
            (Some(_), None, Some(now)) => {
                found.push(format!("container `{}` is now `{}`", names::CONTAINER, now.name));
            }
            (Some(_), None, None) => {
                found.push(format!("container `{}` is gone", names::CONTAINER));
            }
            (Some(was), Some(now), _) => {
                if was.image != now.image {
                    found.push(format!("the image of container `job` is now `{}`", now.image));
                }
                if was.program != now.program {
                    found.push("the command of container `job` was changed".to_owned());
                }
            }
            (None, _, _) => {}
        }
        if self.restart_policy != pod.restart_policy {
            found.push(format!("restartPolicy is now {}", pod.restart_policy));
        }
        found
    }

    fn added(&self, pod: &Self) -> Vec<String> {
        let known = |list: &[ContainerSpecView], name: &str| list.iter().any(|c| c.name == name);
        let renamed = pod.job().is_none().then(|| pod.renamed()).flatten();
        let beside = pod.containers.iter().filter(|c| !known(&self.containers, &c.name));
        let beside = beside
            .filter(|c| renamed.is_none_or(|renamed| renamed.name != c.name))
            .map(|c| format!("container `{}` was added", c.name));
        let before = pod.init.iter().filter(|c| !known(&self.init, &c.name)).map(|c| {
            let kind = if c.sidecar { "sidecar" } else { "init container" };
            format!("{kind} `{}` was added", c.name)
        });
        beside.chain(before).collect()
    }
}

fn joined(parts: &[String]) -> Option<String> {
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(spec: Value) -> PodSpecView {
        PodSpecView::from(&serde_json::from_value::<PodSpec>(spec).unwrap())
    }

    fn submitted() -> PodSpecView {
        view(json!({
            "restartPolicy": "Never",
            "containers": [{"name": "job", "image": "r/x:1", "command": ["true"]}],
        }))
    }

    #[test]
    fn what_admission_changed_is_named() {
        assert_eq!(submitted().difference(&submitted()), None);
        for (pod, expected) in [
            (
                json!({"restartPolicy": "Never", "containers": [
                    {"name": "x", "image": "r/x:1", "command": ["true"]}]}),
                "container `job` is now `x`",
            ),
            (
                json!({"restartPolicy": "Never", "containers": [
                    {"name": "x", "image": "r/x:1"}, {"name": "y", "image": "r/x:1"}]}),
                "container `job` is gone, container `x` was added, container `y` was added",
            ),
            (
                json!({"restartPolicy": "OnFailure", "containers": [
                    {"name": "job", "image": "mirror/x:1", "command": ["false"]}]}),
                "the image of container `job` is now `mirror/x:1`, the command of container `job` \
                 was changed, restartPolicy is now OnFailure",
            ),
            (
                json!({"restartPolicy": "Never",
                    "initContainers": [
                        {"name": "proxy", "restartPolicy": "Always"}, {"name": "setup"}],
                    "containers": [
                        {"name": "job", "image": "r/x:1", "command": ["true"]}, {"name": "log"}]}),
                "container `log` was added, sidecar `proxy` was added, init container `setup` was \
                 added",
            ),
        ] {
            assert_eq!(submitted().difference(&view(pod)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_renamed_container_is_the_jobs_only_where_it_is_alone() {
        let one = view(json!({"containers": [{"name": "x"}]}));
        assert_eq!(one.job_container(), Some("x"));
        let two = view(json!({"containers": [{"name": "x"}, {"name": "y"}]}));
        assert_eq!(two.job_container(), None);
        let beside = view(json!({"containers": [{"name": "x"}, {"name": "job"}]}));
        assert_eq!(beside.job_container(), Some("job"));
    }
}
