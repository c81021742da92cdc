//! The page docs/operating.md: each of its commands is run, and has the output that the page shows.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::{Case, Need};
use super::kubernetes_only::changed;
use crate::bench::Bench;
use crate::check::{Checked, same, until};
use crate::helm::Site;
use crate::page::{Section, replace};
use crate::programs;

/// How long all commands of a section may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Declares a case for each section of the page, and one for each block that is not run.
macro_rules! sections {
    (run { $($name:ident: $title:literal,)* } not_run { $($block:ident: $reason:literal,)* }) => {
        const TITLES: &[&str] = &[$($title),*];
        const REASONS: &[&str] = &[$($reason),*];

        pub(crate) const CASES: &[Case] = &[
            $(Case {
                group: "operating page",
                sentence: stringify!($name),
                needs: &[Need::DockerCommand, Need::PrivateRegistry],
                body: |bench| section(bench, $title),
            },)*
            $(Case {
                group: "operating page",
                sentence: stringify!($block),
                needs: &[Need::Elsewhere($reason)],
                body: |_| anyhow::bail!("it is not run"),
            },)*
            Case {
                group: "operating page",
                sentence: "every_section_has_a_case_and_every_metric_exists",
                needs: &[],
                body: every_section_has_a_case_and_every_metric_exists,
            },
            Case {
                group: "operating page",
                sentence: "a_job_of_the_command_costs_what_the_page_says",
                needs: &[Need::AuditLog],
                body: a_job_of_the_command_costs_what_the_page_says,
            },
        ];
    };
}

sections! {
    run {
        what_to_watch: "What to watch",
        from_a_job_to_its_pod_and_back: "From a job to its Pod, and back",
        a_command_in_a_running_job: "A command in a running job",
        logs: "Logs",
        retention: "Retention",
        upgrades: "Upgrades",
        teams_and_namespaces: "Teams and namespaces",
        backup_and_loss_of_the_state_directory: "Backup and loss of the state directory",
        disaster_drills: "Disaster drills",
        without_internet: "Without internet",
        private_registries: "Private registries",
    }
    not_run {
        a_restart_of_the_engine: "it stops an engine that other tests use",
        images_from_the_internet: "it needs the internet",
    }
}

fn page() -> Result<String> {
    let path = programs::checkout().join("docs/operating.md");
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn section(bench: &Bench, title: &str) -> Checked {
    let sections = Section::all(&page()?)?;
    let section = sections.iter().find(|it| it.title == title).context("no such section")?;
    let site = Site::new(bench)?;
    let folder = bench.folders.root().join("page");
    fs::create_dir(&folder)?;
    symlink(programs::checkout().join("conf"), folder.join("conf"))?;
    let replaced = replaced(&site)?;
    let script = section.write(&folder, &replaced)?;
    // The page shows the default state directory; the bench looks for its own.
    let state = bench.folders.home().join(".local/state");
    fs::create_dir_all(&state)?;
    symlink(state.join("longshore"), bench.folders.state())?;

    let kubeconfig = bench.folders.file("kubeconfig", kubeconfig(&site)?)?;
    let docker = bench.lab.docker_host.as_deref().context("no engine")?;
    let shell = bench.program("/bin/bash".as_ref())?.without("JOB_STATEDIRECTORY");
    let shell = shell.env("PATH", path(bench)?).env("DOCKER_HOST", docker);
    let shell = shell.env("KUBECONFIG", kubeconfig).current_dir(&folder);
    let ran = shell.args(["-e", script]).spawn()?.finish_within(PATIENCE);
    // A section that fails half-way leaves its other namespace.
    let team = replace("team-a", &replaced);
    site.kubectl(&["delete", "namespace", &team, "--ignore-not-found", "--wait=false"])?;
    let ran = ran?;
    section.check(&ran.text(), &replaced)?;
    ensure!(ran.code() == Some(0), "it ends with {:?}:\n{}", ran.code(), ran.text());
    Ok(())
}

/// Returns the names on the page, and those of the lab in their place.
fn replaced(site: &Site<'_>) -> Result<Vec<(&'static str, String)>> {
    let text = |name| env::var(name).with_context(|| format!("set {name}"));
    Ok(vec![
        ("registry.example.org", text("LONGSHORE_LAB_REGISTRY")?),
        ("harbor.example.org", text("LONGSHORE_LAB_PRIVATE_REGISTRY")?),
        ("robot$longshore", text("LONGSHORE_LAB_PRIVATE_REGISTRY_USER")?),
        ("/run/secrets/harbor", text("LONGSHORE_LAB_PRIVATE_REGISTRY_PASSWORD_FILE")?),
        ("team-a", format!("{}-team-a", site.namespace)),
    ])
}

/// Returns the lab's kubeconfig with the case's namespace.
fn kubeconfig(site: &Site<'_>) -> Result<String> {
    let text = site.kubectl(&["config", "view", "--raw", "--flatten", "--output=json"])?;
    let mut config: Value = serde_json::from_str(&text)?;
    for context in config["contexts"].as_array_mut().context("no contexts")? {
        context["context"]["namespace"] = json!(site.namespace);
    }
    Ok(config.to_string())
}

/// Returns a `PATH` that begins with the programs of the page.
fn path(bench: &Bench) -> Result<String> {
    let folder = bench.folders.root().join("bin");
    fs::create_dir(&folder)?;
    symlink(programs::longshore()?, folder.join("longshore"))?;
    symlink(bench.lab.kubectl.as_deref().context("no kubectl")?, folder.join("kubectl"))?;
    symlink(bench.lab.helm.as_deref().context("no helm")?, folder.join("helm"))?;
    Ok(format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default()))
}

fn every_section_has_a_case_and_every_metric_exists(_: &Bench) -> Checked {
    let page = page()?;
    let sections = Section::all(&page)?;
    let found: Vec<_> = sections.iter().map(|section| section.title.as_str()).collect();
    same("the sections with commands", found, TITLES)?;
    let reasons: BTreeSet<_> =
        sections.iter().flat_map(|it| &it.not_run).map(String::as_str).collect();
    same("the blocks that are not run", reasons, REASONS.iter().copied().collect())?;
    let metrics = fs::read_to_string(programs::checkout().join("docs/metrics.md"))?;
    let names = page.split('`').filter(|word| word.starts_with("longshore_"));
    let names: Vec<_> = names.collect();
    ensure!(!names.is_empty(), "the page names no metric");
    let known = |name: &&str| metrics.contains(&format!("| `{name}` |"));
    let unknown: Vec<_> = names.into_iter().filter(|name| !known(name)).collect();
    ensure!(unknown.is_empty(), "not in docs/metrics.md: {unknown:?}");
    Ok(())
}

fn a_job_of_the_command_costs_what_the_page_says(bench: &Bench) -> Checked {
    let page = page()?;
    let row = page.lines().find(|line| line.starts_with("| `longshore run`, one process"));
    // The first of several, such as `8, or 7 within half a minute of another`.
    let cell = row.and_then(|row| row.split('|').nth(2)).context("no row")?.trim();
    let said: usize = cell.split(',').next().unwrap_or(cell).parse()?;
    let site = Site::new(bench)?;
    let role = programs::checkout().join("crates/kubernetes/role.yaml");
    site.kubectl(&["create", "serviceaccount", "counted"])?;
    site.kubectl(&["create", "--filename", &role.to_string_lossy()])?;
    let roles = site.get(&["roles"])?;
    let role = roles.first().and_then(|role| role["metadata"]["name"].as_str());
    let account = format!("{}:counted", site.namespace);
    let (role, account_flag) =
        (format!("--role={}", role.context("no role")?), format!("--serviceaccount={account}"));
    site.kubectl(&["create", "rolebinding", "counted", &role, &account_flag])?;
    let token = site.kubectl(&["create", "token", "counted"])?;
    let kubeconfig = changed(bench, |_, user| *user = json!({"token": token.trim()}))?;
    let job = bench.job(&[], &["true"])?.env("KUBECONFIG", kubeconfig);
    let job = job.env("JOB_KUBERNETES_NAMESPACE", &site.namespace);
    // The claim is in another namespace.
    job.without("JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME").run()?.exits(0)?;

    let log = env::var("LONGSHORE_LAB_AUDIT_LOG")?;
    let requests = until(Duration::from_secs(30), "the last request in the audit log", || {
        let requests = requests(&fs::read_to_string(&log)?, &account);
        Ok(requests.iter().any(|it| it.starts_with("delete jobs")).then_some(requests))
    })?;
    let count = requests.len();
    ensure!(count <= said && count + 2 >= said, "the page says {said}: {requests:#?}");
    Ok(())
}

/// Returns the requests of a service account in an audit log.
fn requests(log: &str, account: &str) -> Vec<String> {
    let own = log.lines().filter(|line| line.contains(account));
    let mut seen = BTreeSet::new();
    own.filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["user"]["username"].as_str().is_some_and(|it| it.ends_with(account)))
        .filter(|event| seen.insert(event["auditID"].to_string()))
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let verb = text(&event["verb"]);
            format!(
                "{verb} {} {}",
                text(&event["objectRef"]["resource"]),
                text(&event["requestURI"])
            )
        })
        .collect()
}
