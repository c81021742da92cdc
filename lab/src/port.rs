//! Finds the process that uses a port.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};

use super::process;

/// Fails with the name of the process that uses `address`, if it is in use. An
/// address that the machine does not have (yet) is free.
pub(crate) fn check_free(address: SocketAddr, wanted_by: &str) -> Result<()> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!(
                "failed to start {wanted_by}: {address} is in use by {}",
                describe(address.port())
            )
        }
        _ => Ok(()),
    }
}

/// Returns whether a process accepts connections on `address`.
pub(crate) fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

fn describe(port: u16) -> String {
    let Some(pid) = holder(port) else {
        return "a process that this user may not see".to_owned();
    };
    let name = process::command_name(pid);
    match process::lab_of(pid) {
        Some(lab) => format!(
            "another lab, {} (process {pid}, {name}): take it down with `cargo xtask lab down --dir {}` or use `up --replace`",
            lab.display(),
            lab.display()
        ),
        None => format!("process {pid} ({name}), which does not belong to the lab"),
    }
}

/// Returns the process that listens on `port`.
pub(crate) fn holder(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    process::process_ids().find(|pid| has_any(*pid, &sockets))
}

/// Returns the inodes of the sockets that listen on `port`, from a table that the
/// kernel prints: `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`.
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, hex) = fields.get(1)?.rsplit_once(':')?;
        let found = u16::from_str_radix(hex, 16).ok()?;
        (found == port && *fields.get(3)? == LISTEN).then(|| fields.get(9)?.parse().ok())?
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn has_any(pid: u32, sockets: &[String]) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0
   1: 0100007F:1388 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4343 1 0
";

    #[test]
    fn a_connection_does_not_listen() {
        assert_eq!(listening(TABLE, 5000), [4242]);
        assert_eq!(listening(TABLE, 40000), Vec::<u64>::new());
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        // No other process connects from this address; a connection would also use a port.
        let listener = TcpListener::bind("127.88.77.66:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = check_free(address, "registry").unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(listener);
        check_free(address, "registry").unwrap();
    }
}
