//! Reports to people and tests what is up.

use std::process::Command;

use anyhow::Result;

use super::component::{self, Component, Group};
use super::existing::{DOCKER29_HOST, Existing};
use super::layout::{CLAIM, Lab, NAMESPACE};
use super::process::PATH;
use super::shell::say;
use super::{docker, images, login, registry, shell, state, toxiproxy};

/// Returns the variables with which tests find the lab. A part that is not up has none.
///
/// # Errors
/// If the lab's state cannot be read.
pub fn environment(lab: &Lab) -> Result<Vec<(&'static str, String)>> {
    let existing = Existing::load(lab)?;
    let mut found = vec![("LONGSHORE_LAB_DIR", text(lab.root()))];
    if let Some(host) = existing.docker_host {
        found.push(("DOCKER_HOST", host));
    } else if has(lab, Group::Docker)? {
        found.push(("DOCKER_HOST", docker::DEBIAN.host(lab)));
    }
    if let Some(host) = existing.docker29_host {
        found.push((DOCKER29_HOST, host));
    } else if has(lab, Group::Docker29)? {
        found.push((DOCKER29_HOST, docker::CURRENT.host(lab)));
    }
    if has(lab, Group::Registry)? {
        found.push(("LONGSHORE_LAB_REGISTRY", registry::OPEN.host.to_owned()));
        found.push(("LONGSHORE_LAB_REGISTRY_LOG", text(&lab.log(registry::OPEN.name()))));
        found.push(("LONGSHORE_LAB_IMAGE", images::busybox()));
        found.push(("LONGSHORE_LAB_PAUSE_IMAGE", images::pause()));
        found.extend(private_registry(lab));
    }
    if let Some(kubeconfig) = existing.kubeconfig {
        found.push(("KUBECONFIG", kubeconfig));
    } else if has(lab, Group::Kubernetes)? {
        found.push(("KUBECONFIG", text(&lab.kubeconfig())));
        found.push(("LONGSHORE_LAB_KUBECTL", text(&lab.bin("kubectl"))));
        found.push(("LONGSHORE_LAB_NAMESPACE", NAMESPACE.to_owned()));
        found.push(("LONGSHORE_LAB_CLAIM", CLAIM.to_owned()));
        found.push(("LONGSHORE_LAB_VOLUME", text(&lab.volume())));
        found.push(("LONGSHORE_LAB_AUDIT_LOG", text(&lab.log("audit"))));
    }
    if has(lab, Group::Toxiproxy)? {
        found.push(("LONGSHORE_LAB_TOXIPROXY", toxiproxy::endpoint()));
    }
    if has(lab, Group::Helm)? {
        found.push(("LONGSHORE_LAB_HELM", text(&lab.bin("helm/helm"))));
    }
    Ok(found)
}

fn private_registry(lab: &Lab) -> [(&'static str, String); 5] {
    let registry = &registry::PRIVATE;
    [
        ("LONGSHORE_LAB_PRIVATE_REGISTRY", registry.host.to_owned()),
        ("LONGSHORE_LAB_PRIVATE_REGISTRY_USER", login::USER.to_owned()),
        ("LONGSHORE_LAB_PRIVATE_REGISTRY_PASSWORD_FILE", text(&login::password_file(lab))),
        ("LONGSHORE_LAB_PRIVATE_REGISTRY_LOG", text(&lab.log(registry.name()))),
        ("LONGSHORE_LAB_PRIVATE_IMAGE", images::private_busybox()),
    ]
}

/// Returns whether any part of the lab itself is up. Existing backends from
/// outside do not count.
///
/// # Errors
/// If the lab's state cannot be read.
pub fn is_up(lab: &Lab) -> Result<bool> {
    for group in Group::ALL {
        if has(lab, group)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Prints [`environment`] for a shell to evaluate.
///
/// # Errors
/// If the lab's state cannot be read.
pub fn print_env(lab: &Lab) -> Result<()> {
    for (name, value) in environment(lab)? {
        say!("export {name}={}", quote(&value));
    }
    Ok(())
}

/// Prints a line for each component.
///
/// # Errors
/// If the lab's state cannot be read.
pub fn status(lab: &Lab) -> Result<()> {
    say!("{:<20} {:<10} {:>8}  {:<12} ENDPOINT", "COMPONENT", "STATE", "PID", "VERSION");
    for component in component::all() {
        let (state, pid) = match state::running(lab, component.name())? {
            None => ("down", "-".to_owned()),
            Some(record) if component.ready(lab).is_ok() => ("up", record.identity.pid.to_string()),
            Some(record) => ("not ready", record.identity.pid.to_string()),
        };
        let (name, endpoint) = (component.name(), component.endpoint(lab));
        say!("{name:<20} {state:<10} {pid:>8}  {:<12} {endpoint}", version(lab, component));
    }
    Ok(())
}

/// Returns whether any component of `group` runs. A part is still up while a test
/// has stopped one of its components.
fn has(lab: &Lab, group: Group) -> Result<bool> {
    for component in component::all().iter().filter(|it| it.group() == group) {
        if state::running(lab, component.name())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn version(lab: &Lab, component: &dyn Component) -> String {
    let mut command = Command::new(component.program(lab));
    command.arg("--version").env("PATH", PATH);
    let said = shell::capture(&mut command).unwrap_or_default();
    parse_version(&said).unwrap_or("-").to_owned()
}

/// Returns the first word that looks like a version, without build metadata.
fn parse_version(said: &str) -> Option<&str> {
    let word = said.split([' ', '\n', ',']).find(|word| {
        let digits = word.trim_start_matches('v');
        digits.contains('.') && digits.starts_with(|first: char| first.is_ascii_digit())
    })?;
    word.split(['+', '~']).next()
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

fn quote(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/:._-=@%+".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::super::process::Identity;
    use super::*;

    #[test]
    fn a_lab_is_up_when_any_part_of_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(Some(dir.path().join("lab"))).unwrap();
        let given = Existing { docker_host: Some("unix:///x".into()), ..Existing::default() };
        given.save(&lab).unwrap();
        assert!(!is_up(&lab).unwrap());
        for name in ["docker29", "toxiproxy"] {
            let identity = Identity::of(std::process::id()).unwrap();
            state::save(&lab, &state::Record { name: name.into(), identity }).unwrap();
            assert!(is_up(&lab).unwrap(), "{name}");
            state::forget(&lab, name).unwrap();
        }
    }

    #[test]
    fn a_value_is_one_word_of_the_shell() {
        assert_eq!(quote("unix:///a/b.sock"), "unix:///a/b.sock");
        assert_eq!(quote("a b'c"), r"'a b'\''c'");
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let said = "Docker version 20.10.24+dfsg1, build 5d6db84";
        assert_eq!(parse_version(said), Some("20.10.24"));
        assert_eq!(parse_version("Kubernetes v1.34.4\n"), Some("v1.34.4"));
        assert_eq!(parse_version("etcd Version: 3.4.23\nGit SHA: x"), Some("3.4.23"));
        let said = "docker-registry github.com/docker/distribution 2.8.2+ds1";
        assert_eq!(parse_version(said), Some("2.8.2"));
        assert_eq!(parse_version(""), None);
    }
}
