//! Gives memory back to the system while a job runs.
//!
//! What a supervisor does for hours is wait, and it needs few pages for that. The start of a job has used
//! many more: those of the program and its libraries count as memory of each process that has them mapped.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;

use nix::libc;

/// More than a line of `/proc/PID/smaps` usually has.
const BUFFER_BYTES: usize = 512;

/// Gives back what this process does not need at the moment. Pages of files are read again when they
/// are used again, usually from the page cache.
#[inline(never)]
pub(super) fn release() {
    let read = File::open("/proc/self/smaps").and_then(|smaps| {
        unchanged(BufReader::with_capacity(BUFFER_BYTES, smaps)).collect::<io::Result<Vec<_>>>()
    });
    trim_heap();
    // Without that file, the pages stay.
    read.into_iter().flatten().for_each(drop_pages);
}

/// Returns the mappings that this process may not write to and that have only pages of files, from the
/// content of `/proc/PID/smaps` (proc_pid_smaps(5)). One whose addresses the loader has fixed has pages
/// of its own.
fn unchanged(smaps: impl BufRead) -> impl Iterator<Item = io::Result<Range<usize>>> {
    // The addresses, and how many of the two numbers that must be zero were.
    let mut mapping: Option<(Range<usize>, u32)> = None;
    smaps.lines().filter_map(move |line| {
        let line = match line {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let mut fields = line.split_ascii_whitespace();
        let first = fields.next()?;
        match (first, fields.next()) {
            ("Anonymous:" | "Swap:", Some("0")) => mapping.iter_mut().for_each(|it| it.1 += 1),
            // The last field.
            ("VmFlags:", _) => return mapping.take().filter(|it| it.1 == 2).map(|it| Ok(it.0)),
            (_, Some(access)) if !first.ends_with(':') => {
                let inode = fields.nth(2);
                let is_file = inode.is_some_and(|inode| inode != "0");
                let may_be = is_file && ["r--p", "r-xp"].contains(&access);
                mapping = range(first).filter(|_| may_be).map(|range| (range, 0));
            }
            _ => {}
        }
        None
    })
}

fn range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[expect(unsafe_code, reason = "no library can know that these pages are those of a file")]
fn drop_pages(mapping: Range<usize>) {
    // SAFETY: these are addresses of a mapping that has only pages of a file, since this process has
    // changed none (`unchanged`), has one thread, and may not write to it. So each page has the same
    // content when it is read again: madvise(2). If that fails, they stay.
    unsafe { libc::madvise(mapping.start as *mut _, mapping.len(), libc::MADV_DONTNEED) };
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no library offers it")]
fn trim_heap() {
    // SAFETY: it only gives back memory that is not allocated: malloc_trim(3).
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
const fn trim_heap() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mapping of `/proc/PID/smaps`.
    fn mapping(line: &str, anonymous: u32, swap: u32) -> String {
        format!(
            "{line}\nSize: 4 kB\nAnonymous: {anonymous} kB\nSwap: {swap} kB\nSwapPss: 0 kB\n\
             VmFlags: rd mr mw me\n"
        )
    }

    #[test]
    fn only_a_mapping_with_no_page_but_those_of_its_file_is_given_back() {
        let file = "fe:00 77 /usr/lib/a b.so";
        let smaps = [
            mapping(&format!("1000-2000 r-xp 00000000 {file}"), 0, 0),
            mapping(&format!("2000-4000 r--p 00001000 {file}"), 0, 0),
            // With addresses that the loader has fixed, of which some may be swapped out.
            mapping(&format!("4000-5000 r--p 00003000 {file}"), 4, 0),
            mapping(&format!("5000-6000 r--p 00004000 {file}"), 0, 4),
            mapping(&format!("6000-7000 rw-p 00005000 {file}"), 0, 0),
            mapping("7000-8000 r--p 00000000 00:00 0 [vvar]", 0, 0),
            mapping("8000-9000 r-xp 00000000 00:00 0", 0, 0),
            format!("9000-a000 r-xp 00000000 {file}\nAnonymous: 0 kB\nVmFlags: rd\n"),
        ]
        .concat();
        let found: io::Result<Vec<_>> = unchanged(smaps.as_bytes()).collect();
        assert_eq!(found.unwrap(), [0x1000..0x2000, 0x2000..0x4000]);
    }
}
