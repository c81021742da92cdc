//! What a process uses, from `/proc`. `process` is its folder there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Returns the number in the line of `text` that begins with `key`.
fn number(text: &str, key: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {key}"))?.parse()?)
}

/// Returns the proportional set size, in KiB.
pub(crate) fn pss(process: &Path) -> Result<u64> {
    number(&read(&process.join("smaps_rollup"))?, "Pss:")
}

/// Returns how many file descriptors are open.
pub(crate) fn descriptors(process: &Path) -> Result<usize> {
    Ok(fs::read_dir(process.join("fd"))?.count())
}

/// Returns how often threads that exist now have begun to run.
pub(crate) fn wakeups(process: &Path) -> Result<u64> {
    let mut count = 0;
    for thread in fs::read_dir(process.join("task"))? {
        let status = read(&thread?.path().join("status"))?;
        count += number(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(count)
}

/// Returns the time on a processor, of all threads.
pub(crate) fn cpu(process: &Path) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(process.join("task"))? {
        nanos += number(&read(&thread?.path().join("schedstat"))?, "")?;
    }
    Ok(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_run_and_uses_something() {
        let own = Path::new("/proc/self");
        assert!(pss(own).unwrap() > 100);
        assert!(descriptors(own).unwrap() >= 3);
        let before = (wakeups(own).unwrap(), cpu(own).unwrap());
        std::thread::spawn(|| {}).join().unwrap();
        assert!(wakeups(own).unwrap() > 0 && before.1 > Duration::ZERO);
        assert!(cpu(own).unwrap() >= before.1);
    }
}
