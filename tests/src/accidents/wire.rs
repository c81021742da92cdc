//! The connection between the command and a server, which can be made worse at any time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use parking_lot::{Mutex, MutexGuard};
use rustix::net::sockopt::set_socket_linger;

/// The address of a server.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    fn connect(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(address) => Socket::Tcp(TcpStream::connect(address)?),
            Self::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        })
    }
}

/// What is wrong with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Each piece takes so long.
    Slow(Duration),
    /// Answers come with so many bytes every 10 ms.
    Narrow(usize),
    /// Answers come in pieces of so many bytes.
    Sliced(usize),
    /// The piece that the client sends as number `at` does not arrive, and its connection is reset.
    LoseRequest {
        at: usize,
    },
    /// The piece that the client sends as number `at` arrives, but its answer does not, and its
    /// connection is reset.
    LoseAnswer {
        at: usize,
    },
    /// Nothing arrives in either direction.
    Hole,
    /// New connections are reset.
    Closed,
}

/// An address that forwards to a server: a port, or a socket in `folder` for a server that has one.
pub(super) struct Wire {
    pub(super) address: Address,
    shared: Arc<Shared>,
}

struct Shared {
    server: Address,
    fault: Mutex<Fault>,
    /// The pieces that clients have sent.
    sent: AtomicUsize,
    /// Whether the fault that loses one piece has happened.
    lost: AtomicBool,
    ended: AtomicBool,
    links: Mutex<Vec<Link>>,
}

/// One connection: both its ends.
struct Link {
    client: Socket,
    server: Socket,
    /// Whether the next answer is lost.
    doomed: Arc<AtomicBool>,
}

impl Wire {
    pub(super) fn new(server: Address, folder: &Path, fault: Fault) -> Result<Self> {
        let listener = Listener::new(&server, folder)?;
        let address = listener.address()?;
        let shared = Arc::new(Shared {
            server,
            fault: Mutex::new(fault),
            sent: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            links: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || listener.serve(&own));
        Ok(Self { address, shared })
    }

    /// Changes what is wrong, for all connections.
    pub(super) fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
    }

    /// Resets all connections that are open now.
    pub(super) fn reset(&self) {
        lock(&self.shared.links).drain(..).for_each(|link| link.reset());
    }

    /// Returns whether the fault that loses one piece has happened.
    pub(super) fn has_lost(&self) -> bool {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // With this last connection, the thread notices that it is over.
        let _ = self.address.connect();
        self.reset();
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    fn new(server: &Address, folder: &Path) -> io::Result<Self> {
        Ok(match server {
            Address::Tcp(_) => Self::Tcp(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?),
            Address::Unix(_) => {
                let path = folder.join("wire.sock");
                Self::Unix(UnixListener::bind(&path)?, path)
            }
        })
    }

    fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(listener) => Address::Tcp(listener.local_addr()?),
            Self::Unix(_, path) => Address::Unix(path.clone()),
        })
    }

    fn accept(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(listener) => Socket::Tcp(listener.accept()?.0),
            Self::Unix(listener, _) => Socket::Unix(listener.accept()?.0),
        })
    }

    /// Forwards connections until the wire is dropped.
    fn serve(self, shared: &Arc<Shared>) {
        while let Ok(client) = self.accept() {
            if shared.ended.load(Ordering::SeqCst) {
                return;
            }
            // If the server refuses, so does this address.
            let _ = connect(client, shared);
        }
    }
}

fn connect(client: Socket, shared: &Arc<Shared>) -> io::Result<()> {
    if *lock(&shared.fault) == Fault::Closed {
        client.reset();
        return Ok(());
    }
    if let Socket::Tcp(stream) = &client {
        stream.set_nodelay(true)?;
    }
    let server = shared.server.connect()?;
    let doomed = Arc::new(AtomicBool::new(false));
    let link = || {
        let (client, server) = (client.try_clone()?, server.try_clone()?);
        io::Result::Ok(Link { client, server, doomed: Arc::clone(&doomed) })
    };
    let (up, down) = (link()?, link()?);
    lock(&shared.links).push(link()?);
    let (shared_up, shared_down) = (Arc::clone(shared), Arc::clone(shared));
    thread::spawn(move || up.send(&shared_up));
    thread::spawn(move || down.answer(&shared_down));
    Ok(())
}

impl Link {
    /// Closes both ends at once.
    fn reset(&self) {
        self.client.reset();
        self.server.reset();
    }

    /// Passes on what the client sends.
    fn send(mut self, shared: &Shared) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = self.client.read(&mut buffer) {
            let number = shared.sent.fetch_add(1, Ordering::SeqCst) + 1;
            let fault = *lock(&shared.fault);
            match fault {
                Fault::LoseRequest { at } if at == number => {
                    shared.lost.store(true, Ordering::SeqCst);
                    return self.reset();
                }
                Fault::LoseAnswer { at } if at == number => {
                    self.doomed.store(true, Ordering::SeqCst);
                }
                Fault::Slow(delay) => thread::sleep(delay),
                Fault::Hole => continue,
                _ => {}
            }
            if self.server.write_all(&buffer[..count]).is_err() {
                return self.reset();
            }
        }
        let _ = self.server.shutdown(Shutdown::Write);
    }

    /// Passes on what the server answers.
    fn answer(mut self, shared: &Shared) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = self.server.read(&mut buffer) {
            if self.doomed.load(Ordering::SeqCst) {
                shared.lost.store(true, Ordering::SeqCst);
                return self.reset();
            }
            let fault = *lock(&shared.fault);
            if self.pass_on(&buffer[..count], fault).is_err() {
                return self.reset();
            }
        }
        let _ = self.client.shutdown(Shutdown::Write);
    }

    fn pass_on(&mut self, piece: &[u8], fault: Fault) -> io::Result<()> {
        // The delays are the fault; nothing is waited for.
        match fault {
            Fault::Hole => Ok(()),
            Fault::Slow(delay) => {
                thread::sleep(delay);
                self.client.write_all(piece)
            }
            Fault::Narrow(rate) => piece.chunks(rate).try_for_each(|part| {
                thread::sleep(Duration::from_millis(10));
                self.client.write_all(part)
            }),
            Fault::Sliced(size) => {
                piece.chunks(size).try_for_each(|part| self.client.write_all(part))
            }
            _ => self.client.write_all(piece),
        }
    }
}

/// One end of a connection.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    /// Closes it at once: with a reset, where the protocol has one.
    fn reset(&self) {
        // The other end may have closed it already.
        if let Self::Tcp(stream) = self {
            let _ = set_socket_linger(stream, Some(Duration::ZERO));
        }
        let _ = self.shutdown(Shutdown::Both);
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
