//! The protocol between a runner and its supervisor, over a socket pair.
//!
//! A frame is its length as four bytes, little-endian, followed by that many bytes. A request is two
//! frames: the request as JSON, and the environment as `NAME=VALUE` with NUL after each. Environment
//! and arguments are sent only this way, so that no secret is in an argv or a file.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use longshore_core::{AttemptId, InstallationId, JobId, RunnerName, TerminalSize};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::cgroup::GroupPlan;
use crate::limits::JobLimits;
use crate::record::{Begin, Refusal};

/// More than the kernel accepts as arguments and environment of a process: 6 MiB (execve(2)).
pub(crate) const MAX_FRAME: usize = 16 << 20;

/// What a program sends when it has become a supervisor, after whatever it has printed before. Its pid
/// follows, as four bytes, little-endian.
pub(crate) const GREETING: &[u8] = b"\0longshore-supervisor\0";

/// A job to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartRequest {
    pub(crate) attempt: AttemptId,
    pub(crate) job: JobId,
    pub(crate) installation: InstallationId,
    pub(crate) runner: RunnerName,
    /// The state directory, in which the attempt's directory is created.
    pub(crate) state_directory: PathBuf,
    pub(crate) argv: Vec<String>,
    pub(crate) working_dir: PathBuf,
    pub(crate) job_directory: Option<PathBuf>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) grace_ms: u64,
    pub(crate) fsync: bool,
    /// The bound on the kept output in bytes. `None`: no bound.
    pub(crate) log_max_bytes: Option<u64>,
    /// The resource limits of the job that it inherits.
    pub(crate) limits: JobLimits,
    /// The cgroups of the job.
    pub(crate) cgroups: Vec<GroupPlan>,
    /// Whether the job has a stdin.
    pub(crate) stdin: bool,
    /// Whether the job has a terminal.
    pub(crate) tty: bool,
    /// The size of that terminal, if it is known.
    pub(crate) terminal_size: Option<TerminalSize>,
}

/// The answer of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Answer {
    /// The job runs. `Drained` follows.
    Started(Begin),
    /// The attempt was already started or fenced; the supervisor is free.
    Taken,
    /// The job cannot be started; the supervisor is free.
    Refused(Refusal),
    /// The job and everything that it started is gone, and its end is recorded; the supervisor is
    /// free.
    Drained,
}

/// A variable of the environment and its value. Has no `Debug`: the value may be a secret.
pub(crate) type Environment = Vec<(OsString, OsString)>;

/// Encodes a request and its environment.
pub(crate) fn encode_request(
    request: &StartRequest,
    environment: &Environment,
) -> io::Result<Vec<u8>> {
    let mut block = Vec::new();
    for (name, value) in environment {
        block.extend_from_slice(name.as_bytes());
        block.push(b'=');
        block.extend_from_slice(value.as_bytes());
        block.push(0);
    }
    let mut bytes = encode(&serde_json::to_vec(request)?)?;
    bytes.extend(encode(&block)?);
    Ok(bytes)
}

fn encode(payload: &[u8]) -> io::Result<Vec<u8>> {
    let too_long =
        || io::Error::new(io::ErrorKind::InvalidInput, "arguments or environment too long");
    if payload.len() > MAX_FRAME {
        return Err(too_long());
    }
    let length = u32::try_from(payload.len()).map_err(|_| too_long())?;
    Ok([&length.to_le_bytes()[..], payload].concat())
}

/// Returns the next request, or `None` at the end of the connection.
///
/// What it needs of the stack is free again while the job runs.
#[inline(never)]
pub(crate) fn read_request(
    socket: &mut impl Read,
) -> io::Result<Option<(StartRequest, Environment)>> {
    let Some(request) = read_frame(socket)? else { return Ok(None) };
    let Some(block) = read_frame(socket)? else { return Ok(None) };
    Ok(Some((decode(&request)?, decode_environment(&block))))
}

fn decode_environment(block: &[u8]) -> Environment {
    let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let variables = block.split(|b| *b == 0).filter(|variable| !variable.is_empty());
    variables
        .filter_map(|variable| {
            // A name may begin with `=`: not that of a job's variable, but that of an inherited
            // one.
            let at = variable.iter().skip(1).position(|b| *b == b'=')? + 1;
            Some((owned(&variable[..at]), owned(&variable[at + 1..])))
        })
        .collect()
}

fn read_frame(socket: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut payload = vec![0; checked_length(length)?];
    socket.read_exact(&mut payload)?;
    Ok(Some(payload))
}

fn checked_length(length: [u8; 4]) -> io::Result<usize> {
    usize::try_from(u32::from_le_bytes(length))
        .ok()
        .filter(|length| *length <= MAX_FRAME)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"))
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(payload)?)
}

/// Sends `answer` in one write.
pub(crate) fn write_answer(socket: &mut impl Write, answer: &impl Serialize) -> io::Result<()> {
    socket.write_all(&encode(&serde_json::to_vec(answer)?)?)
}

/// Returns the next answer. Not cancel safe: a future dropped midway would tear the frame.
pub(crate) async fn read_answer<T: DeserializeOwned>(
    socket: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).await?;
    let mut payload = vec![0; checked_length(length)?];
    socket.read_exact(&mut payload).await?;
    decode(&payload)
}

/// Returns the value of `name` in `environment`.
pub(crate) fn lookup<'a>(environment: &'a Environment, name: &str) -> Option<&'a OsStr> {
    environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_os_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> StartRequest {
        StartRequest {
            attempt: "job-1".parse().unwrap(),
            job: "job".parse().unwrap(),
            installation: "here".parse().unwrap(),
            runner: RunnerName::process(),
            state_directory: "/s".into(),
            argv: vec!["true".into()],
            working_dir: "/".into(),
            job_directory: None,
            timeout_ms: Some(5),
            grace_ms: 10,
            fsync: false,
            log_max_bytes: None,
            limits: crate::limits::of_jobs(),
            cgroups: Vec::new(),
            stdin: true,
            tty: true,
            terminal_size: Some(TerminalSize::new(80, 24)),
        }
    }

    #[test]
    fn a_request_arrives_with_its_environment_byte_for_byte() {
        let odd = OsString::from_vec(vec![0xff, b'=', b'\n']);
        let environment = vec![("A".into(), odd), ("EMPTY".into(), OsString::new())];
        let bytes = encode_request(&request(), &environment).unwrap();
        let mut socket = bytes.as_slice();
        assert_eq!(read_request(&mut socket).unwrap(), Some((request(), environment)));
        assert_eq!(read_request(&mut socket).unwrap(), None);
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_memory_is_taken() {
        assert!(read_request(&mut &u32::MAX.to_le_bytes()[..]).is_err());
    }
}
