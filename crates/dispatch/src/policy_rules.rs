//! The rules of a policy for jobs of strangers.

use std::net::IpAddr;
use std::path::{Component, Path};

use longshore_core::{ImageRef, JobSpec, Network, PullPolicies, RegistryLogin, SecretSource};

use crate::spec_policy::{PolicyViolation, SpecPolicy};
use crate::volumes;

type Checked = Result<(), PolicyViolation>;

impl SpecPolicy {
    /// Checks that `spec` asks only for what this policy allows. Only looks at the file system if
    /// `spec` names an allowed job directory.
    ///
    /// [`Dispatcher::submit`](crate::Dispatcher::submit) does this itself for a
    /// [submission with a policy](crate::Submission::policy). Call this before
    /// [`plan`](crate::Dispatcher::plan) and
    /// [`look_at_image`](crate::Dispatcher::look_at_image), which also act on the spec.
    ///
    /// # Errors
    /// The first violation, with its rule and field.
    pub fn check(&self, spec: &JobSpec) -> Result<(), PolicyViolation> {
        // The tests list the fields, so that none is forgotten.
        name(spec)?;
        image(self, spec)?;
        if spec.process.is_some() && !self.processes {
            let reason = "a local process can read the files of the service";
            return Err(PolicyViolation::new("processes", "process", reason));
        }
        labels(self, spec)?;
        secret_env(self, spec)?;
        host_paths(self, spec)?;
        limits(self, spec)?;
        times(self, spec)?;
        security(self, spec)?;
        if spec.network != Network::None && !self.network {
            let reason = "the job must set `network: none`";
            return Err(PolicyViolation::new("network", "network", reason));
        }
        let named = spec.image_pull_policy.iter().flat_map(PullPolicies::iter);
        for pull in named {
            one_of(&self.pull_policies, &pull, "pullPolicies", "imagePullPolicy")?;
        }
        for (index, login) in spec.registries.iter().enumerate() {
            registry_login(self, index, login)?;
        }
        for runner in spec.runners.iter().flatten() {
            if !self.allows_runner(runner) {
                let reason = format!("`{runner}` is not among the allowed runners");
                return Err(PolicyViolation::new("runners", "runners", reason));
            }
        }
        // Last, because it looks at the file system.
        spec.job_directory.as_deref().map_or(Ok(()), |directory| job_directory(self, directory))
    }
}

/// Control characters could forge lines in a log, or command a terminal.
fn name(spec: &JobSpec) -> Checked {
    if spec.name.as_deref().is_some_and(|name| name.contains(char::is_control)) {
        return Err(PolicyViolation::new("name", "name", "it has a control character"));
    }
    Ok(())
}

fn image(policy: &SpecPolicy, spec: &JobSpec) -> Checked {
    let Some(container) = &spec.container else { return Ok(()) };
    let image = &container.image;
    let refused = |rule, reason: String| Err(PolicyViolation::new(rule, "container.image", reason));
    let registry = image.registry();
    match &policy.registries {
        Some(allowed) if !allowed.iter().any(|it| it == registry) => {
            return refused(
                "registries",
                format!("`{registry}` is not among the allowed registries"),
            );
        }
        None if !is_public(registry) && !is_listed(policy, image) => {
            return refused("registries", format!("`{registry}` is not a public name"));
        }
        _ => {}
    }
    if policy.images.is_some() && !is_listed(policy, image) {
        return refused("images", format!("`{image}` matches no allowed image"));
    }
    Ok(())
}

fn is_listed(policy: &SpecPolicy, image: &ImageRef) -> bool {
    policy.images.iter().flatten().any(|glob| glob.matches(image))
}

/// Whether `registry` (`HOST[:PORT]`) has a name that the public DNS may know.
fn is_public(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => registry,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let last = bare.rsplit('.').next().unwrap_or_default();
    // A last part that begins with a digit is an address, in one of its many forms.
    let is_address =
        bare.parse::<IpAddr>().is_ok() || last.starts_with(|c: char| c.is_ascii_digit());
    let is_private = ["localhost", "local", "internal", "localdomain"]
        .iter()
        .any(|name| last.eq_ignore_ascii_case(name));
    bare.contains('.') && !is_address && !is_private
}

fn labels(policy: &SpecPolicy, spec: &JobSpec) -> Checked {
    let allowed = |key: &str| {
        policy.labels.iter().any(|rule| match rule.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == rule,
        })
    };
    match spec.labels.keys().find(|key| !allowed(key)) {
        Some(key) => {
            let reason = "its key is not among the allowed labels";
            Err(PolicyViolation::new("labels", format!("labels.{key}"), reason))
        }
        None => Ok(()),
    }
}

fn secret_env(policy: &SpecPolicy, spec: &JobSpec) -> Checked {
    for (name, source) in &spec.secret_env {
        let field = format!("secretEnv.{name}");
        match source {
            SecretSource::File(path) => secret_file(policy, path, &field)?,
            SecretSource::Env(variable) => {
                one_of(&policy.secret_variables, variable, "secretVariables", &field)?;
            }
            SecretSource::SecretKeyRef { name, .. } => {
                one_of(&policy.kubernetes_secrets, name, "kubernetesSecrets", &field)?;
            }
            // A source that is added later is refused until there is a rule for it.
            _ => {
                let reason = "no rule allows this source";
                return Err(PolicyViolation::new("secretFiles", field, reason));
            }
        }
    }
    Ok(())
}

fn secret_file(policy: &SpecPolicy, path: &Path, field: &str) -> Checked {
    // Compared as text: a `Path` ignores a repeated `/` and a `.`.
    if policy.secret_files.iter().any(|allowed| allowed.as_os_str() == path.as_os_str()) {
        return Ok(());
    }
    let reason = format!("`{}` is not among the allowed files", path.display());
    Err(PolicyViolation::new("secretFiles", field, reason))
}

fn registry_login(policy: &SpecPolicy, index: usize, login: &RegistryLogin) -> Checked {
    let field = |key: &str| format!("registries[{index}].{key}");
    if let Some(path) = &login.password_file {
        secret_file(policy, path, &field("passwordFile"))?;
    }
    if let Some(variable) = &login.password_env {
        one_of(&policy.secret_variables, variable, "secretVariables", &field("passwordEnv"))?;
    }
    if let Some(helper) = &login.credential_helper {
        let field = field("credentialHelper");
        one_of(&policy.credential_helpers, helper, "credentialHelpers", &field)?;
    }
    Ok(())
}

fn host_paths(policy: &SpecPolicy, spec: &JobSpec) -> Checked {
    let Some((index, path)) = volumes::beyond(spec, &policy.host_paths) else { return Ok(()) };
    let reason = format!("`{}` is not below an allowed folder", path.display());
    Err(PolicyViolation::new("hostPaths", format!("volumes[{index}].hostPath"), reason))
}

fn one_of<T: PartialEq + std::fmt::Display>(
    allowed: &[T],
    wanted: &T,
    rule: &'static str,
    field: &str,
) -> Checked {
    if allowed.contains(wanted) {
        return Ok(());
    }
    Err(PolicyViolation::new(rule, field, format!("`{wanted}` is not allowed")))
}

fn limits(policy: &SpecPolicy, spec: &JobSpec) -> Checked {
    let limits = &spec.resources.limits;
    at_most(limits.cpu, policy.max_cpu, "maxCpu", "resources.limits.cpu")?;
    at_most(limits.memory, policy.max_memory, "maxMemory", "resources.limits.memory")?;
    at_most(limits.pids, policy.max_pids, "maxPids", "resources.limits.pids")?;
    let gpus = Some(limits.gpus.unwrap_or_default());
    at_most(gpus, Some(policy.max_gpus), "maxGpus", "resources.limits.gpus")
}

fn times(policy: &SpecPolicy, spec: &JobSpec) -> Checked {
    at_most(spec.timeout, policy.max_timeout, "maxTimeout", "timeout")?;
    let grace = Some(spec.effective_grace_period());
    at_most(grace, policy.max_grace_period, "maxGracePeriod", "gracePeriod")
}

fn at_most<T: PartialOrd + std::fmt::Display>(
    wanted: Option<T>,
    most: Option<T>,
    rule: &'static str,
    field: &str,
) -> Checked {
    let reason = match (wanted, most) {
        (_, None) => return Ok(()),
        (None, Some(most)) => format!("the job must set it, to {most} at most"),
        (Some(wanted), Some(most)) if wanted > most => format!("{wanted} is more than {most}"),
        (Some(_), Some(_)) => return Ok(()),
    };
    Err(PolicyViolation::new(rule, field, reason))
}

fn security(policy: &SpecPolicy, spec: &JobSpec) -> Checked {
    let widest = policy.security_profile;
    let refused =
        |field: String, reason: String| Err(PolicyViolation::new("securityProfile", field, reason));
    let profile = spec.security_profile.unwrap_or_default();
    if profile > widest {
        let reason = format!("{profile} is wider than {widest}: the job must set {widest}");
        return refused("securityProfile".to_owned(), reason);
    }
    match spec.security_context.beyond(widest) {
        Some(beyond) => {
            let (key, value) = beyond.split_once(": ").unwrap_or((&beyond, ""));
            refused(format!("securityContext.{key}"), format!("`{value}` is beyond {widest}"))
        }
        None => Ok(()),
    }
}

/// Checks that `directory` and its folders are where they seem to be. A job that could write to the
/// folder around it could replace them later, so that folder must be the service's own.
fn job_directory(policy: &SpecPolicy, directory: &Path) -> Checked {
    let refused =
        |reason: String| Err(PolicyViolation::new("jobDirectories", "jobDirectory", reason));
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let root = policy.job_directories.iter().find(|root| directory.parent() == Some(root));
    let Some(root) = root.filter(|_| directory.components().all(plain)) else {
        let reason = format!("`{}` is not directly in an allowed folder", directory.display());
        return refused(reason);
    };
    let found = || -> std::io::Result<bool> {
        let real = root.canonicalize()?.join(directory.file_name().unwrap_or_default());
        Ok(directory.canonicalize()? == real
            && directory.join("input").canonicalize()? == real.join("input")
            && directory.join("output").canonicalize()? == real.join("output"))
    };
    match found() {
        Ok(true) => Ok(()),
        Ok(false) => refused("it leads to another folder through a symbolic link".to_owned()),
        // Not the system's own words, which would tell what exists.
        Err(_) => refused("it does not exist with the folders input and output".to_owned()),
    }
}
