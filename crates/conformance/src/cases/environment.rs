//! A job's environment, arguments, working directory and standard input.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{plan, with_command};
use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, check, same, same_bytes};

cases! { "environment":
    values_arrive_exactly,
    a_long_value_arrives_whole,
    the_hosts_environment_does_not_leak,
    a_secret_arrives,
    arguments_arrive_exactly,
    the_working_directory_is_the_one_asked_for,
    standard_input_is_empty,
}

/// Texts that a shell, Kubernetes' `$(X)` expansion, YAML or a careless copy would change.
const TRICKY: [&str; 16] = [
    "",
    " leading and trailing ",
    "$(HOME)",
    "$$(HOME)",
    "$(TRICKY_1)",
    "$HOME ${HOME} $$",
    "$(",
    "'single' \"double\" `back`",
    "back\\slash \\n \\\\",
    "line one\nline two\n",
    "tab\there, return\rhere",
    "grüße, 日本語, 🚢",
    "%s %d 100%",
    "{\"json\": [1, null]}",
    "a=b=c",
    "*?[x] ; | & < > # !",
];

async fn values_arrive_exactly(bench: Arc<Bench>) -> Checked {
    let names: Vec<String> = (0..TRICKY.len()).map(|n| format!("TRICKY_{n}")).collect();
    let shown: String = names.iter().map(|name| format!(" \"${{{name}-unset}}\"")).collect();
    let mut spec = bench.fixture().job(&format!("printf '%s\\000'{shown}"));
    let values = TRICKY.iter().map(|&value| value.to_owned());
    spec.env = names.into_iter().zip(values).collect();
    let output = bench.run(spec).await?.output.stdout;
    same_texts("the variables", &output, &TRICKY)
}

fn same_texts(what: &str, seen: &[u8], expected: &[&str]) -> Checked {
    let expected: String = expected.iter().map(|text| format!("{text}\0")).collect();
    same_bytes(what, seen, expected.as_bytes())
}

async fn a_long_value_arrives_whole(bench: Arc<Bench>) -> Checked {
    let value = "0123456789abcdef".repeat(4096);
    let mut spec = bench.fixture().job("printf '%s' \"$LONG\"");
    spec.env.insert("LONG".to_owned(), value.clone());
    same_bytes("the value", &bench.run(spec).await?.output.stdout, value.as_bytes())
}

/// Variables that a runner or a shell may set or pass on.
const OFTEN_SET: [&str; 13] = [
    "PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "SHLVL",
    "_", "HOSTNAME",
];

async fn the_hosts_environment_does_not_leak(bench: Arc<Bench>) -> Checked {
    let own = |name: &str| OFTEN_SET.contains(&name) || name.starts_with("LC_");
    let host: BTreeMap<String, String> =
        std::env::vars().filter(|(name, value)| !own(name) && !value.is_empty()).collect();
    // `cargo test` and similar commands set CARGO_MANIFEST_DIR.
    check(!host.is_empty(), || {
        "run the suite by cargo: it needs an environment to leak".to_owned()
    })?;
    let output = bench.run_script("env").await?.output.text();
    let leaked: Vec<&str> = output
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, value)| {
            host.get(*name).is_some_and(|held| held.lines().next() == Some(value))
        })
        .map(|(name, _)| name)
        .collect();
    check(leaked.is_empty(), || format!("the job sees the host's {leaked:?}"))
}

async fn a_secret_arrives(bench: Arc<Bench>) -> Checked {
    let attempt = plan::with_secret(&bench, "printf '%s' \"$TOKEN\"");
    let output = bench.launch(&attempt).await?.finish().await?.output.stdout;
    check(output == plan::secret().as_bytes(), || {
        format!("the job saw {} bytes, and not the secret", output.len())
    })
}

async fn arguments_arrive_exactly(bench: Arc<Bench>) -> Checked {
    let script = "for a in \"$@\"; do printf '%s\\000' \"$a\"; done";
    let mut args = vec![script, "name"];
    args.extend(TRICKY);
    let mut spec = with_command(&bench, &["sh", "-c"], &args);
    spec.env.insert("TRICKY_1".to_owned(), "expanded".to_owned());
    same_texts("the arguments", &bench.run(spec).await?.output.stdout, &TRICKY)
}

async fn the_working_directory_is_the_one_asked_for(bench: Arc<Bench>) -> Checked {
    let mut spec = bench.fixture().job("pwd");
    let folder = Some("/tmp".to_owned());
    if let Some(container) = &mut spec.container {
        container.working_dir.clone_from(&folder);
    }
    if let Some(process) = &mut spec.process {
        process.working_dir = folder;
    }
    same("pwd", &bench.run(spec).await?.output.text(), &"/tmp\n".to_owned())
}

async fn standard_input_is_empty(bench: Arc<Bench>) -> Checked {
    let output = bench.run_script("cat; echo over").await?.output.text();
    same("the output", &output, &"over\n".to_owned())
}
