//! Gives a job its stdin.

use std::io::{self, ErrorKind as IoErrorKind};
use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Error, ErrorKind, JobStdin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::attempt_client::{AttemptClient, CALL};
use crate::input::{INTERRUPTED, Incomplete, Input, Source};
use crate::job_event::JobEvent;

/// How much is read at once: what a pipe holds by default (pipe(7)). Nothing else is in memory.
const BUFFER_BYTES: usize = 64 << 10;

/// How long after a failed write the end of the job may be reported. The job has then closed the
/// connection by its end, and needed no more input.
const END: Duration = Duration::from_secs(5);

/// Gives an attempt its stdin, and keeps why the attempt may have received only a part of it.
///
/// What is kept counts when the job has ended: a job need not read its stdin.
pub(crate) struct Feed<'a> {
    client: &'a AttemptClient,
    incomplete: Incomplete,
}

impl<'a> Feed<'a> {
    /// Does `work`, and meanwhile gives the job its stdin as `input` says. Returns also why the job
    /// may have received only a part of it.
    pub(crate) async fn during<T>(
        client: &'a AttemptClient,
        input: Input,
        work: impl Future<Output = T>,
    ) -> (T, Option<String>) {
        let incomplete = match &input {
            Input::Beside(incomplete) => Arc::clone(incomplete),
            _ => Incomplete::default(),
        };
        let feed = Self { client, incomplete };
        let done = meanwhile(work, feed.feed(input)).await;
        let incomplete = feed.incomplete.lock().clone();
        (done, incomplete)
    }

    async fn feed(&self, input: Input) {
        match input {
            Input::Nobody | Input::Beside(_) | Input::Terminal(_) => {}
            Input::Interrupted => {
                self.keep(INTERRUPTED);
                self.give_none().await;
            }
            Input::Later => {
                self.keep("no process has attached to the job to give it");
                self.give_none().await;
            }
            Input::Here(source) => match self.open().await {
                Ok(stdin) => {
                    self.incomplete.lock().take();
                    self.copy(source.into_inner(), stdin).await;
                }
                Err(error) => self.fail(&error.to_string()),
            },
        }
    }

    /// Gives the job end of file, as it may wait for input. If another process has opened the stdin,
    /// the end of that process does the same.
    async fn give_none(&self) {
        if let Ok(mut stdin) = self.open().await {
            let _ = stdin.shutdown().await;
        }
    }

    /// Opens the stdin. Retries while the backend is out of reach.
    async fn open(&self) -> Result<JobStdin, Error> {
        let mut backoff = self.client.backoff();
        loop {
            match open(self.client).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    self.client.trouble(&error);
                    self.keep(&error.to_string());
                    sleep(backoff.next_pause()).await;
                }
                opened => return opened,
            }
        }
    }

    /// Copies `source` to `stdin`, as fast as the job reads, and gives the job end of file.
    async fn copy(&self, mut source: Source, mut stdin: JobStdin) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let written = loop {
            match source.read(&mut buffer).await {
                Ok(0) => break stdin.shutdown().await,
                Ok(count) => {
                    let written = write(&mut stdin, buffer.get(..count).unwrap_or_default()).await;
                    if written.is_err() {
                        break written;
                    }
                }
                Err(error) if error.kind() == IoErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail(&format!("failed to read it: {error}"));
                    break stdin.shutdown().await;
                }
            }
        };
        drop(stdin);
        match written {
            Ok(()) => {}
            // The job wants no more.
            Err(error) if error.kind() == IoErrorKind::BrokenPipe => {}
            Err(error) => {
                sleep(END).await;
                self.fail(&format!("failed to pass it on: {error}"));
            }
        }
    }

    fn keep(&self, reason: &str) {
        *self.incomplete.lock() = Some(reason.to_owned());
    }

    fn fail(&self, reason: &str) {
        self.keep(reason);
        let message = format!("the job may have received only a part of its stdin: {reason}");
        self.client.sink.send(JobEvent::Warning { message });
    }
}

/// The open stdin of a job that this process does not follow yet, and what it receives.
pub(crate) struct Late {
    client: AttemptClient,
    stdin: JobStdin,
    source: Source,
    incomplete: Incomplete,
}

impl Late {
    /// Opens the stdin of an attempt.
    pub(crate) async fn open(client: AttemptClient, source: Source) -> Result<Self, Error> {
        let stdin = open(&client).await?;
        Ok(Self { client, stdin, source, incomplete: Incomplete::default() })
    }

    /// Returns where this keeps why the job may have received only a part of its stdin.
    pub(crate) fn incomplete(&self) -> Incomplete {
        Arc::clone(&self.incomplete)
    }

    /// Gives the job its stdin until `work` is done, which is when the job has ended.
    pub(crate) async fn until(self, work: impl Future<Output = ()>) {
        let feed = Feed { client: &self.client, incomplete: self.incomplete };
        meanwhile(work, feed.copy(self.source, self.stdin)).await;
    }
}

/// Does `work`, and `feed` meanwhile.
async fn meanwhile<T>(work: impl Future<Output = T>, feed: impl Future<Output = ()>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        () = feed => work.await,
    }
}

/// Opens the stdin of an attempt.
async fn open(client: &AttemptClient) -> Result<JobStdin, Error> {
    match timeout(CALL, client.runner.stdin(&client.handle)).await {
        Ok(opened) => opened.map_err(|error| error.on(client.runner.name())),
        Err(_) => Err(client.error("no answer to the opening of stdin")),
    }
}

async fn write(stdin: &mut JobStdin, bytes: &[u8]) -> io::Result<()> {
    stdin.write_all(bytes).await?;
    stdin.flush().await
}
