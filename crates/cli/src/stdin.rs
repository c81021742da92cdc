//! What a job gets as stdin.
//!
//! Without options, a pipe, a socket or a file that is this command's stdin reaches the job. A
//! terminal does only with `--interactive`, because the job would take what is typed for the shell.

use std::fs::File;
use std::io::{self, Cursor, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use futures::{StreamExt, stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{SeekFrom, makedev, seek};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use crate::error::CliError;
use crate::job_args::JobArgs;
use crate::streams;

/// How much is read at once: what a pipe holds by default (pipe(7)).
const BUFFER_BYTES: usize = 64 << 10;

/// What a job gets as stdin.
#[derive(Debug)]
pub struct Input {
    file: File,
    /// Whether it is the stdin of this command, and no option asks for it.
    pub inherited: bool,
}

impl Input {
    /// Returns the stdin for the job of `args`, which has a terminal if `tty`, or `None` if the job has
    /// none.
    ///
    /// # Errors
    /// If the file of `--stdin` cannot be read, or if stdin is both the job file and the job's.
    pub fn choose(args: &JobArgs, tty: bool) -> Result<Option<Self>, CliError> {
        if let Some(path) = &args.stdin {
            return open(path);
        }
        if tty {
            // It gets what is typed.
            return Ok(None);
        }
        let is_job_file = args.file.as_deref() == Some(Path::new("-"));
        if is_job_file && args.interactive {
            return Err(CliError::usage("stdin is the job file: it cannot be the job's stdin too"));
        }
        if is_job_file {
            return Ok(None);
        }
        let Ok(stdin) = io::stdin().as_fd().try_clone_to_owned() else { return Ok(None) };
        let wanted = if args.interactive { !is_null(&stdin) } else { has_input(&stdin) };
        Ok(wanted.then(|| Self { file: stdin.into(), inherited: !args.interactive }))
    }

    /// Returns the stdin of this command, a terminal too, or `None` if it has none.
    pub fn own() -> Option<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned().ok()?;
        let wanted = stdin.is_terminal() || has_input(&stdin);
        wanted.then(|| Self { file: stdin.into(), inherited: true })
    }

    /// Returns the file itself.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Returns what the job gets. Nothing is read before it is polled.
    pub fn reader(self) -> impl AsyncRead + Send + Unpin + 'static {
        reader(self.file)
    }
}

/// Whether this command's stdin has input that a detached job does not get.
pub fn has_unused_input() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    let ready = poll(&mut fds, Some(&Timespec::default())).is_ok_and(|count| count > 0);
    let [fd] = fds;
    ready
        && fd.revents().contains(PollFlags::IN)
        && stdin.as_fd().try_clone_to_owned().is_ok_and(|stdin| has_input(&stdin))
}

/// Returns what `file` has, as an asynchronous reader.
///
/// A thread of its own reads, because a pipe or a terminal may give nothing for as long as it likes,
/// and may be shared with other programs, which would notice if it became non-blocking. The runtime
/// does not wait for that thread.
pub fn reader(file: File) -> impl AsyncRead + Send + Unpin + 'static {
    let chunks = stream::unfold(Chunks::Unread(file), |chunks| async {
        let mut receiver = match chunks {
            Chunks::Unread(file) => match start(file) {
                Ok(receiver) => receiver,
                Err(error) => return Some((Err(error), Chunks::Read(mpsc::channel(1).1))),
            },
            Chunks::Read(receiver) => receiver,
        };
        let chunk = receiver.recv().await?;
        Some((chunk, Chunks::Read(receiver)))
    });
    StreamReader::new(chunks.boxed())
}

type Chunk = io::Result<Cursor<Vec<u8>>>;

enum Chunks {
    Unread(File),
    Read(mpsc::Receiver<Chunk>),
}

/// Starts to read `file`. The thread is at most two chunks ahead of the receiver.
fn start(file: File) -> io::Result<mpsc::Receiver<Chunk>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        loop {
            let mut bytes = vec![0; BUFFER_BYTES];
            let chunk = match streams::read(&file, &mut bytes) {
                Ok(0) => return,
                Ok(count) => {
                    bytes.truncate(count);
                    Ok(Cursor::new(bytes))
                }
                Err(error) => Err(error),
            };
            let failed = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Opens the file of `--stdin`. Returns `None` for `/dev/null`: a job without a stdin sees the same.
fn open(path: &Path) -> Result<Option<Input>, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        CliError::usage(format!("--stdin {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(failed(&"it is a directory"));
    }
    let fd = OwnedFd::from(file);
    Ok((!is_null(&fd)).then(|| Input { file: fd.into(), inherited: false }))
}

/// Whether `fd` is a pipe, a socket or a file that may have input.
fn has_input(fd: &OwnedFd) -> bool {
    let Ok(metadata) = metadata(fd) else { return false };
    let kind = metadata.file_type();
    if kind.is_file() {
        // A position that is unknown is not the end.
        return seek(fd, SeekFrom::Current(0)).unwrap_or_default() < metadata.len();
    }
    if kind.is_fifo() {
        return !is_hung_up(fd);
    }
    kind.is_socket() || (kind.is_char_device() && !fd.is_terminal() && !is_null(fd))
}

fn metadata(fd: &OwnedFd) -> io::Result<std::fs::Metadata> {
    File::from(fd.try_clone()?).metadata()
}

/// Whether `fd` is `/dev/null`.
fn is_null(fd: &OwnedFd) -> bool {
    metadata(fd).is_ok_and(|it| it.file_type().is_char_device() && it.rdev() == makedev(1, 3))
}

/// Whether the pipe `fd` is empty, and no process can write to it.
fn is_hung_up(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let polled = poll(&mut fds, Some(&Timespec::default()));
    let [fd] = fds;
    polled.is_ok() && fd.revents() == PollFlags::HUP
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use tokio::io::AsyncReadExt;

    use super::*;

    fn has(file: impl Into<OwnedFd>) -> bool {
        has_input(&file.into())
    }

    #[test]
    fn a_pipe_and_a_file_reach_the_job_until_they_are_at_their_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        assert!(has(reader.try_clone().unwrap()), "it may be written to later");
        writer.write_all(b"x").unwrap();
        drop(writer);
        assert!(has(reader.try_clone().unwrap()));
        (&reader).read_exact(&mut [0]).unwrap();
        assert!(!has(reader));
        let mut file = tempfile::tempfile().unwrap();
        assert!(!has(file.try_clone().unwrap()));
        file.write_all(b"list\n").unwrap();
        file.rewind().unwrap();
        assert!(has(file.try_clone().unwrap()));
        file.seek(io::SeekFrom::End(0)).unwrap();
        assert!(!has(file));
    }

    #[test]
    fn null_and_a_folder_are_no_stdin_and_a_device_is_one() {
        for (path, expected) in [("/dev/null", false), ("/", false), ("/dev/zero", true)] {
            assert_eq!(has(File::open(path).unwrap()), expected, "{path}");
        }
        assert!(open(Path::new("/dev/null")).unwrap().is_none());
        let refused = open(Path::new("/")).unwrap_err().to_string();
        assert!(refused.contains("--stdin /: it is a directory"), "{refused}");
    }

    #[tokio::test]
    async fn nothing_is_read_before_the_job_wants_it_and_all_of_it_then() {
        let (read, mut write) = io::pipe().unwrap();
        let mut reader = reader(File::from(OwnedFd::from(read.try_clone().unwrap())));
        write.write_all(b"data").unwrap();
        drop(write);
        assert!(has(read), "it is still in the pipe");
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "data");
    }
}
