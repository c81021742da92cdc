//! `logs`, a great deal of them.

use std::sync::Arc;

use longshore_core::{LogPosition, LogStream};

use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, check, same};
use crate::output::Reader;

cases! { "volume":
    a_hundred_mebibytes_come_whole_and_are_not_held_in_memory x 20,
    a_line_of_ten_mebibytes_comes_whole x 8,
}

const MIB: u64 = 1 << 20;
/// What other cases may use beside it, and what a pipeline may hold; far below the output.
const HELD: u64 = 64 * MIB;

async fn a_hundred_mebibytes_come_whole_and_are_not_held_in_memory(bench: Arc<Bench>) -> Checked {
    let last = 1_100_000;
    let before = resident();
    let run = bench.start_script(&format!("seq 1 {last} | sed 's/$/{REST}/'")).await?;
    let mut reader = run.reader(LogPosition::START, true);
    let mut expected = Numbers::default();
    let mut most = 0;
    while let Some((stream, bytes)) = reader.next().await? {
        same("the stream", &stream, &LogStream::Stdout)?;
        let at = reader.position().stdout;
        check(expected.continues_with(&bytes), || {
            format!("other bytes than were written before {at}")
        })?;
        most = most.max(resident());
    }
    check(expected.bytes > 100 * MIB, || format!("only {} bytes came", expected.bytes))?;
    same("the last number", &expected.whole_lines, &last)?;
    let held = most.saturating_sub(before);
    check(held < HELD, || format!("{} MiB were held in memory", held / MIB))?;
    let outcome = run.end().await?.outcome;
    check(outcome.is_success(), || format!("the job {outcome}"))
}

async fn a_line_of_ten_mebibytes_comes_whole(bench: Arc<Bench>) -> Checked {
    let script = "head -c 10485760 /dev/zero | tr '\\000' x; echo; echo next";
    let run = bench.start_script(script).await?;
    let mut reader: Reader<_> = run.reader(LogPosition::START, true);
    let output = reader.rest().await?.stdout;
    let (line, rest) = output.split_at(output.len().min(10 << 20));
    check(line.iter().all(|byte| *byte == b'x'), || "other bytes within the line".to_owned())?;
    same(
        "what follows the line",
        &String::from_utf8_lossy(rest).into_owned(),
        &"\nnext\n".to_owned(),
    )
}

/// How many bytes of memory this process holds; 0 where that cannot be asked.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What follows the number in each line: lines as long as a program's usually are. Backends keep
/// a record for each line.
const REST: &str =
    " and then some text so that each of the lines is about as long as those of a real program";

/// What `seq` writes with [`REST`] after each number, to be compared as it comes.
struct Numbers {
    digits: Vec<u8>,
    line: Vec<u8>,
    at: usize,
    whole_lines: u64,
    bytes: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        let (digits, line) = (b"1".to_vec(), line(b"1"));
        Self { digits, line, at: 0, whole_lines: 0, bytes: 0 }
    }
}

impl Numbers {
    fn continues_with(&mut self, bytes: &[u8]) -> bool {
        self.bytes += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = &self.line[self.at..];
            let length = wanted.len().min(rest.len());
            if wanted[..length] != rest[..length] {
                return false;
            }
            self.at += length;
            rest = &rest[length..];
            if self.at == self.line.len() {
                self.at = 0;
                self.whole_lines += 1;
                count_up(&mut self.digits);
                self.line = line(&self.digits);
            }
        }
        true
    }
}

fn line(digits: &[u8]) -> Vec<u8> {
    [digits, REST.as_bytes(), b"\n"].concat()
}

/// The next number in decimal.
fn count_up(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_lines_are_compared_across_pieces() {
        let text: String = (1..=11).map(|n| format!("{n}{REST}\n")).collect();
        let (first, second) = text.as_bytes().split_at(9 * (REST.len() + 2) + 1);
        let mut numbers = Numbers::default();
        assert!(numbers.continues_with(first));
        assert!(numbers.continues_with(second));
        assert_eq!((numbers.whole_lines, numbers.bytes), (11, text.len() as u64));
        assert!(!numbers.continues_with(b"13"));
    }
}
