//! Whether a container's command exists and can be executed.
//!
//! The container's first process is an init, which discovers a missing command only after the
//! start, too late for a refusal. So the runner looks for the command's file in the created
//! container. The content of an image never changes, so the answer is cached: a job whose command
//! is known costs no request.

use std::collections::HashSet;

use futures::{StreamExt, stream};
use longshore_core::{Attempt, Error, ErrorKind, JobDirectoryView, RejectReason};
use parking_lot::Mutex;

use crate::client::{Answer, Engine};
use crate::image::Image;

/// How many commands are cached.
const REMEMBERED: usize = 4096;
/// Directories in which most commands are, the likeliest first. In many images `/bin` is `/usr/bin`.
/// The engine mounts the container's file system for each look, so the runner looks there first.
const LIKELY: [&str; 3] = ["/bin", "/usr/local/bin", "/usr/bin"];
/// In how many of the other directories of a search path the runner looks at once.
const AT_ONCE: usize = 4;
/// Go's `fs.ModeDir`, `fs.ModeSymlink`, and any of the three permissions to execute.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const EXECUTE: u32 = 0o111;

/// The commands that are known to exist: image, command, search path, working directory.
#[derive(Debug, Default)]
pub(crate) struct Commands(Mutex<HashSet<[String; 4]>>);

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Missing,
    Folder,
    NotExecutable,
    Executable,
}

impl Commands {
    /// Why the command of `attempt` can never run in the created container `id`, if that is
    /// certain. A request that the engine does not answer is not a reason.
    pub(crate) async fn refusal(
        &self,
        engine: &Engine,
        attempt: &Attempt,
        image: &Image,
        id: &str,
    ) -> Option<Error> {
        let lookup = Lookup::new(attempt, image)?;
        let key =
            [image.id.clone(), lookup.program.clone(), lookup.path.clone(), lookup.folder.clone()];
        if self.0.lock().contains(&key) {
            return None;
        }
        match lookup.ask(engine, id).await.ok()? {
            File::Executable => {
                let mut known = self.0.lock();
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(key);
                None
            }
            File::Missing => Some(rejected(
                RejectReason::CommandNotFound,
                "the image has no such command",
                &lookup.program,
            )),
            File::Folder => Some(rejected(
                RejectReason::CommandNotExecutable,
                "the command is a folder",
                &lookup.program,
            )),
            File::NotExecutable => Some(rejected(
                RejectReason::CommandNotExecutable,
                "the command's file lacks the permission to execute it",
                &lookup.program,
            )),
        }
    }
}

fn rejected(reason: RejectReason, what: &'static str, program: &str) -> Error {
    Error::new(ErrorKind::Rejected(reason), what).with("command", program)
}

/// Where a command is looked for, as `execvp` does it.
#[derive(Debug, PartialEq, Eq)]
struct Lookup {
    program: String,
    path: String,
    folder: String,
}

impl Lookup {
    /// `None` where the command is in the job directory, whose content may change.
    fn new(attempt: &Attempt, image: &Image) -> Option<Self> {
        let job = &*attempt.spec;
        let way = job.container.as_ref()?;
        let view = JobDirectoryView::in_container(job);
        let own_arguments = if way.command.is_empty() { &image.command[..] } else { &[] };
        let argv = [
            if way.command.is_empty() {
                image.entrypoint.clone()
            } else {
                view.expand(&way.command)
            },
            if way.args.is_empty() { own_arguments.to_vec() } else { view.expand(&way.args) },
        ];
        let program = argv.into_iter().flatten().next().filter(|program| !program.is_empty())?;
        let folder = way.working_dir.clone().unwrap_or_else(|| image.working_dir.clone());
        let path = job.env.get("PATH").cloned().unwrap_or_else(|| image.path.clone());
        let inside = format!("{}/", JobDirectoryView::IN_CONTAINER);
        let in_job_directory = |directory: &str| {
            job.job_directory.is_some() && format!("{directory}/").starts_with(&inside)
        };
        if in_job_directory(&program)
            || in_job_directory(&folder)
            || path.split(':').any(in_job_directory)
        {
            return None;
        }
        Some(Self { program, path, folder })
    }

    fn candidates(&self) -> Vec<String> {
        if self.program.starts_with('/') {
            return vec![self.program.clone()];
        }
        let folder = if self.folder.is_empty() { "/" } else { &self.folder };
        if self.program.contains('/') {
            return vec![format!("{}/{}", folder.trim_end_matches('/'), self.program)];
        }
        let within = |directory: &str| {
            let directory = if directory.is_empty() { folder } else { directory };
            format!("{}/{}", directory.trim_end_matches('/'), self.program)
        };
        self.path.split(':').map(within).collect()
    }

    /// The candidates in likely directories, in the order to look there, and the other ones. The
    /// command exists if any of them is executable, so their order in the path does not matter.
    fn by_likelihood(&self) -> (Vec<String>, Vec<String>) {
        let rank = |path: &String| {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            LIKELY.iter().position(|likely| *likely == directory).unwrap_or(LIKELY.len())
        };
        let mut candidates = self.candidates();
        candidates.sort_by_key(rank);
        candidates.dedup();
        candidates.into_iter().partition(|path| rank(path) < LIKELY.len())
    }

    async fn ask(&self, engine: &Engine, id: &str) -> Answer<File> {
        let mut best = File::Missing;
        let (likely, others) = self.by_likelihood();
        let looks = likely.into_iter().map(|path| stat(engine, id, path));
        let likely = stream::iter(looks).buffered(1);
        let looks = others.into_iter().map(|path| stat(engine, id, path));
        let mut looks = likely.chain(stream::iter(looks).buffered(AT_ONCE));
        while let Some(found) = looks.next().await {
            match found? {
                File::Executable => return Ok(File::Executable),
                File::Missing => {}
                found => best = found,
            }
        }
        Ok(best)
    }
}

/// Looks at a file of the container, and at its target if it is a symbolic link: the engine
/// resolves a chain of links completely.
async fn stat(engine: &Engine, id: &str, mut path: String) -> Answer<File> {
    for _ in 0..2 {
        let Some(found) = engine.stat(id, &path).await? else { return Ok(File::Missing) };
        if found.mode & SYMLINK != 0 && !found.link_target.is_empty() {
            path = found.link_target;
            continue;
        }
        return Ok(match found.mode {
            mode if mode & DIRECTORY != 0 => File::Folder,
            mode if mode & EXECUTE != 0 => File::Executable,
            _ => File::NotExecutable,
        });
    }
    Ok(File::Missing)
}

#[cfg(test)]
mod tests {
    use longshore_core::{ImageReport, InstallationId, JobId, JobSpec, PullPolicy};

    use super::*;

    fn lookup(change: impl FnOnce(&mut JobSpec)) -> Option<Lookup> {
        let mut job = JobSpec::container("a".parse().unwrap());
        change(&mut job);
        let image = Image {
            id: "sha256:0".to_owned(),
            user: String::new(),
            entrypoint: vec!["entry".to_owned()],
            command: vec!["own".to_owned()],
            path: "/bin:/usr/bin".to_owned(),
            working_dir: "/srv".to_owned(),
            reserved_labels: Vec::new(),
            report: ImageReport::new("a", PullPolicy::Never),
        };
        Lookup::new(&Attempt::new(InstallationId::random(), JobId::random(), 1, job), &image)
    }

    #[test]
    fn a_command_is_looked_for_as_execvp_does() {
        let set = |command: &'static str| {
            move |job: &mut JobSpec| {
                job.container.as_mut().unwrap().command = vec![command.to_owned()];
            }
        };
        for (command, candidates) in [
            ("sh", vec!["/bin/sh", "/usr/bin/sh"]),
            ("/x/y", vec!["/x/y"]),
            ("./run", vec!["/srv/./run"]),
        ] {
            assert_eq!(lookup(set(command)).unwrap().candidates(), candidates);
        }
        assert_eq!(lookup(|_| ()).unwrap().program, "entry", "the image's own");
    }

    /// `true` of a busybox took seven requests.
    #[test]
    fn a_command_is_looked_for_first_where_most_commands_are() {
        let path = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let lookup =
            Lookup { program: "sh".to_owned(), path: path.to_owned(), folder: String::new() };
        let (likely, others) = lookup.by_likelihood();
        assert_eq!(likely, ["/bin/sh", "/usr/local/bin/sh", "/usr/bin/sh"]);
        assert_eq!(others, ["/usr/local/sbin/sh", "/usr/sbin/sh", "/sbin/sh"]);
    }

    #[test]
    fn a_command_in_the_job_directory_is_not_looked_for() {
        let found = lookup(|job| {
            job.job_directory = Some("/srv/j".into());
            job.container.as_mut().unwrap().command = vec!["{jobDir}/input/run".to_owned()];
        });
        assert_eq!(found, None);
    }
}
