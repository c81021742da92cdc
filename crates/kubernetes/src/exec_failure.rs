//! Commands that the runtime could not execute after it had started their container.
//!
//! runc looks for the command, starts the container, and then executes the command
//! (`libcontainer/standard_init_linux.go`). If that fails, for example because a script's interpreter
//! does not exist, runc's init writes one line to the container's output and exits with 255. The
//! kubelet reports a container that ran and ended.

use k8s_openapi::api::core::v1::Container;
use kube::api::LogParams;
use longshore_core::{Outcome, RejectReason, StartError, start_error};

use crate::backend::Backend;
use crate::location::Location;
use crate::pod_view::PodView;

/// The exit code of runc's init.
const FAILED: i32 = 255;
/// More than the one line that runc's init writes.
const LINES: i64 = 2;
const BYTES: i64 = 64 * 1024;

/// Returns the outcome of a command that was never executed, if `outcome` is that of runc's init.
/// Without the Pod or its output, nothing shows that.
pub(crate) async fn exec_failure(
    backend: &Backend,
    location: &Location,
    pod: &PodView,
    outcome: &Outcome,
) -> Option<Outcome> {
    if !matches!(outcome, Outcome::Exited { code: FAILED, .. }) {
        return None;
    }
    let cluster = backend.cluster_of(location).await.ok()?;
    let found = cluster.pod_named(location, &pod.name).await.ok()??;
    let mut containers = found.spec?.containers.into_iter();
    let program = program(containers.find(|it| it.name == pod.job_container())?)?;
    let params = LogParams {
        container: Some(pod.job_container().to_owned()),
        tail_lines: Some(LINES),
        limit_bytes: Some(BYTES),
        ..<_>::default()
    };
    let pods = cluster.pods(location);
    let reading = pods.logs(&pod.name, &params);
    let output = cluster.ask("failed to read the job's output", reading).await.ok()?;
    let message = output.trim().to_owned();
    Some(Outcome::Rejected { reason: refusal(&message, &program)?, message })
}

/// Returns the program that the container runs, unless only its image says so.
fn program(container: Container) -> Option<String> {
    let argv = container.command.filter(|command| !command.is_empty()).or(container.args)?;
    argv.into_iter().next()
}

/// Returns why runc's init could not execute `program`, if its message is all of the `output`. A
/// message about another program may be the job's own, for example that of a container client.
fn refusal(output: &str, program: &str) -> Option<RejectReason> {
    let (path, _) = output.strip_prefix("exec ")?.rsplit_once(": ")?;
    let name = path.rsplit('/').next();
    let is_own = path == program || (!program.contains('/') && name == Some(program));
    match start_error(output) {
        StartError::Job(reason) if is_own && !output.contains('\n') => Some(reason),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::RejectReason::{CommandNotExecutable, CommandNotFound};
    use super::*;

    #[test]
    fn only_what_runc_says_about_the_jobs_own_program_is_a_refusal() {
        let missing = "exec /job/input/program: no such file or directory";
        assert_eq!(refusal(missing, "/job/input/program"), Some(CommandNotFound));
        let format = "exec /job/input/program: exec format error";
        assert_eq!(refusal(format, "/job/input/program"), Some(CommandNotExecutable));
        let found = "exec /usr/bin/tool: no such file or directory";
        assert_eq!(refusal(found, "tool"), Some(CommandNotFound));
        for (output, program) in [
            (missing, "/usr/bin/docker"),
            (missing, "docker"),
            (found, "bin/tool"),
            ("exec /usr/bin/tool: it did not work", "tool"),
            ("hello\nexec /usr/bin/tool: no such file or directory", "tool"),
            ("exec /usr/bin/tool: no such file or directory\nexec tool", "tool"),
            ("/usr/bin/tool: no such file or directory", "tool"),
            ("", "tool"),
        ] {
            assert_eq!(refusal(output, program), None, "{output:?}");
        }
    }

    #[test]
    fn the_program_is_the_command_or_else_the_first_argument() {
        let words = |list: &[&str]| Some(list.iter().map(|it| (*it).to_owned()).collect());
        let of = |command: Option<Vec<String>>, args: Option<Vec<String>>| {
            program(Container { command, args, ..Container::default() })
        };
        assert_eq!(of(words(&["a", "b"]), words(&["c"])).as_deref(), Some("a"));
        assert_eq!(of(words(&[]), words(&["c"])).as_deref(), Some("c"));
        assert_eq!(of(None, words(&["c"])).as_deref(), Some("c"));
        assert_eq!(of(None, None), None);
    }
}
