//! Runs the credential plug-in of a kubeconfig
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).
//!
//! kube would run it without a time limit, read an answer of any length, let it read our standard
//! input, and repeat its output and environment in an error, with the secrets in them.

use std::io::{self, IsTerminal};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kube::config::{AuthInfo, AuthProviderConfig, ExecConfig, ExecInteractiveMode};
use longshore_core::{Error, ErrorKind, HumanDuration, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::credential::Credential;

/// The maximum size of an answer: a certificate with its chain and key has some KiB.
const LARGEST_ANSWER: usize = 256 * 1024;
/// How much of an error message is read, in bytes, and shown, in characters.
const LARGEST_COMPLAINT: usize = 8 * 1024;
const LONGEST_COMPLAINT: usize = 300;
/// How long to continue reading after the plug-in has ended: a process that it left behind may keep
/// its output open.
const LINGER: Duration = Duration::from_millis(500);

/// Returns the plug-in whose answer would identify `user`.
///
/// A user with another login needs none, as in kube.
pub(crate) fn of(user: &AuthInfo) -> Option<&ExecConfig> {
    let other = user.auth_provider.is_some()
        || user.token.is_some()
        || user.token_file.is_some()
        || (user.username.is_some() && user.password.is_some());
    user.exec.as_ref().filter(|_| !other)
}

/// Checks that no program of an `auth-provider` would have to run: kube does not limit it.
///
/// # Errors
/// `Unavailable` for the `gcp` provider with a command, which kubectl 1.26 has removed.
pub(crate) fn ensure_supported(user: &AuthInfo) -> Result<()> {
    let command = |it: &AuthProviderConfig| it.config.contains_key("cmd-path");
    if !user.auth_provider.as_ref().is_some_and(command) {
        return Ok(());
    }
    let message = "the kubeconfig's auth-provider with a `cmd-path` is not supported: use a plug-in \
                   under `exec`, such as gke-gcloud-auth-plugin";
    Err(Error::new(ErrorKind::Unavailable, message))
}

/// Runs `plugin`, at most for `limit`, and returns the credential that it prints.
///
/// It may use the terminal if there is one, unless its `interactiveMode` is `Never`. It never reads
/// a pipe or a file that is our standard input, as that belongs to the job.
///
/// # Errors
/// `Unavailable` if it does not start, fails, hangs or prints an unusable answer. The error contains
/// neither its answer nor its environment.
pub(crate) async fn ask(plugin: &ExecConfig, limit: Duration) -> Result<Credential> {
    let name = plugin.command.as_deref().unwrap_or_default();
    let failed = |why: String| {
        let message = "failed to get a credential from the kubeconfig's plug-in";
        Error::new(ErrorKind::Unavailable, message).with("plugin", name).caused_by(why)
    };
    let interactive =
        plugin.interactive_mode != Some(ExecInteractiveMode::Never) && io::stdin().is_terminal();
    if plugin.interactive_mode == Some(ExecInteractiveMode::Always) && !interactive {
        return Err(failed("it needs a terminal (interactiveMode: Always)".to_owned()));
    }
    let mut running = Plugin::start(plugin, interactive).map_err(|error| {
        let hint = plugin.install_hint.as_deref().map(one_line).unwrap_or_default();
        let absent = error.kind() == io::ErrorKind::NotFound && !hint.is_empty();
        failed(if absent { format!("{error}: {hint}") } else { error.to_string() })
    })?;
    let Ok(heard) = timeout(limit, running.listen()).await else {
        running.end().await;
        return Err(failed(format!("it did not answer within {}", HumanDuration::from(limit))));
    };
    let heard = heard.map_err(|error| failed(error.to_string()))?;
    if heard.answer.len() > LARGEST_ANSWER {
        return Err(failed(format!("its answer is larger than {} KiB", LARGEST_ANSWER / 1024)));
    }
    if !heard.status.success() {
        let complaint = one_line(&String::from_utf8_lossy(&heard.complaint));
        let colon = if complaint.is_empty() { "" } else { ": " };
        return Err(failed(format!("it failed ({}){colon}{complaint}", heard.status)));
    }
    Credential::read(&heard.answer).map_err(|why| failed(why.to_string()))
}

/// What a plug-in printed, and how it ended.
struct Heard {
    status: ExitStatus,
    answer: Vec<u8>,
    complaint: Vec<u8>,
}

/// A running plug-in. Dropping it ends it.
struct Plugin {
    child: Child,
    /// Whether it leads a process group of its own.
    leads: bool,
}

impl Plugin {
    fn start(plugin: &ExecConfig, interactive: bool) -> io::Result<Self> {
        let mut command = Command::new(plugin.command.as_deref().unwrap_or_default());
        command.args(plugin.args.iter().flatten());
        command.env("KUBERNETES_EXEC_INFO", information(plugin, interactive).to_string());
        for variable in plugin.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        command.stdout(Stdio::piped()).kill_on_drop(true);
        if interactive {
            // In a group of its own, it could not read the terminal.
            command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        }
        Ok(Self { child: command.spawn()?, leads: !interactive })
    }

    /// Reads its whole output, until it ends.
    async fn listen(&mut self) -> io::Result<Heard> {
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let status = {
            let pipes = async {
                tokio::join!(
                    // One byte more than allowed reveals an answer that is too long, and closes the
                    // pipe.
                    hear(out, &mut answer, LARGEST_ANSWER + 1, false),
                    hear(err, &mut complaint, LARGEST_COMPLAINT, true),
                )
            };
            tokio::pin!(pipes);
            let mut open = true;
            let status = loop {
                tokio::select! {
                    status = self.child.wait() => break status?,
                    _ = &mut pipes, if open => open = false,
                }
            };
            if open {
                let _ = timeout(LINGER, pipes).await;
            }
            status
        };
        Ok(Heard { status, answer, complaint })
    }

    /// Kills it and the processes that it started.
    async fn end(&mut self) {
        self.kill();
        let _ = timeout(LINGER, self.child.wait()).await;
    }

    fn kill(&self) {
        // The id is present only until the plug-in has been waited for. Until then no other process
        // can have the same id.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let _ = match id {
            Some(id) if self.leads => kill_process_group(id, Signal::KILL),
            Some(id) => kill_process(id, Signal::KILL),
            None => Ok(()),
        };
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns what the plug-in may know of us, for the variable `KUBERNETES_EXEC_INFO`.
fn information(plugin: &ExecConfig, interactive: bool) -> serde_json::Value {
    let mut spec = json!({"interactive": interactive});
    if plugin.provide_cluster_info {
        spec["cluster"] = json!(plugin.cluster);
    }
    json!({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec})
}

/// Reads at most `most` bytes from `pipe` into `heard`.
///
/// If `all` is set, reads and discards the rest, so that the plug-in does not block. If the future is
/// dropped, `heard` keeps what was read.
async fn hear(pipe: Option<impl AsyncRead + Unpin>, heard: &mut Vec<u8>, most: usize, all: bool) {
    let Some(mut pipe) = pipe else { return };
    let mut part = [0; 4096];
    loop {
        let Ok(read @ 1..) = pipe.read(&mut part).await else { return };
        let kept = read.min(most - heard.len());
        heard.extend_from_slice(&part[..kept]);
        if heard.len() == most && !all {
            return;
        }
    }
}

fn one_line(text: &str) -> String {
    let printable = text.replace(char::is_control, " ");
    let line = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_COMPLAINT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
