//! The fork server: forks a supervisor for each connection that it receives.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;

use nix::libc;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Forks a supervisor for each connection that arrives by `runner`, until its other end is closed.
/// Returns `None` then, and in each supervisor its connection, with what this needs of the stack free
/// again.
#[inline(never)]
pub(super) fn fork_each(runner: UnixStream) -> io::Result<Option<UnixStream>> {
    while let Some(connection) = receive(&runner)? {
        // If that fails, the runner sees that its connection is closed.
        if let Ok(Process::Child) = fork() {
            return Ok(Some(connection));
        }
    }
    Ok(None)
}

/// Returns the next connection, or `None` at the end.
fn receive(runner: &UnixStream) -> io::Result<Option<UnixStream>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let buffer = &mut [IoSliceMut::new(&mut byte)];
        match recvmsg(runner, buffer, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) if received.bytes == 0 => return Ok(None),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        // Without a descriptor to spare, the kernel delivers the byte alone.
        if let Some(descriptor) = descriptor {
            return Ok(Some(descriptor.into()));
        }
    }
}

enum Process {
    Parent,
    Child,
}

/// Forks this process. The parent of the new one is the parent of this one, which is thus told about
/// its end by `SIGCHLD`, and reaps it.
#[expect(unsafe_code, reason = "no library has a fork with this flag")]
fn fork() -> io::Result<Process> {
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
    // The order differs on this architecture: clone(2).
    let (first, second) = if cfg!(target_arch = "s390x") { (0, flags) } else { (flags, 0) };
    let none: libc::c_long = 0;
    // SAFETY: without CLONE_VM and with no stack given, the new process goes on here with a copy of
    // all memory, as after fork(2). This process has one thread, since `init` is called before any
    // other is started, so no lock is held by a thread that the copy lacks. The handlers of
    // pthread_atfork(3) are not run: they guard against other threads. The C library's record of
    // the thread's ID, which is not updated either, serves to tell threads of one process apart.
    match unsafe { libc::syscall(libc::SYS_clone, first, second, none, none, none) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Process::Child),
        _ => Ok(Process::Parent),
    }
}
