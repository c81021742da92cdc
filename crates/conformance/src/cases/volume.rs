//! `logs`, a great deal of them.

use std::sync::Arc;

use longshore_core::{Capability, LogChunk, LogPosition, LogStream};

use crate::Failure;
use crate::bench::Bench;
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, check, same};
use crate::output::Reader;

cases! { "volume":
    a_hundred_mebibytes_come_whole_and_are_not_held_in_memory [Can(Capability::KeepAllLogs)] x 20,
    what_is_lost_of_much_output_is_marked x 20,
    a_line_of_ten_mebibytes_comes_whole x 8,
}

const MIB: u64 = 1 << 20;
/// What other cases may use beside it, and what a pipeline may hold; far below the output.
const HELD: u64 = 64 * MIB;
/// How many lines make a hundred mebibytes.
const LINES: u64 = 1_100_000;

async fn a_hundred_mebibytes_come_whole_and_are_not_held_in_memory(bench: Arc<Bench>) -> Checked {
    let (numbers, gaps) = read_much(&bench).await?;
    same("gaps", &gaps, &0)?;
    check(numbers.bytes > 100 * MIB, || format!("only {} bytes came", numbers.bytes))
}

async fn what_is_lost_of_much_output_is_marked(bench: Arc<Bench>) -> Checked {
    read_much(&bench).await?;
    Ok(())
}

/// Follows a job that writes numbered lines as fast as it can. All of them must come, but for
/// those at a gap, and the last one in any case.
async fn read_much(bench: &Bench) -> Checked<(Numbers, u64)> {
    let before = resident();
    let run = bench.start_script(&format!("seq 1 {LINES} | sed 's/$/{REST}/'")).await?;
    let mut reader = run.reader(LogPosition::START, true);
    let mut numbers = Numbers::default();
    let (mut most, mut gaps) = (0, 0);
    while let Some(chunk) = reader.next_or_gap().await? {
        match chunk {
            LogChunk::Data { stream, bytes, .. } => {
                same("the stream", &stream, &LogStream::Stdout)?;
                numbers.take(&bytes)?;
            }
            _ => {
                gaps += 1;
                numbers.gap()?;
            }
        }
        most = most.max(resident());
    }
    same("the last number", &numbers.last, &LINES)?;
    check(numbers.at == 0, || "the last line is cut".to_owned())?;
    let held = most.saturating_sub(before);
    check(held < HELD, || format!("{} MiB were held in memory", held / MIB))?;
    let outcome = run.end().await?.outcome;
    check(outcome.is_success(), || format!("the job {outcome}"))?;
    Ok((numbers, gaps))
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
    /// The number of the last line that came whole.
    last: u64,
    /// The line that is coming.
    line: Vec<u8>,
    /// How much of it has come.
    at: usize,
    /// After a gap: the digits, as far as they have come, of the number that it goes on with.
    after_gap: Option<String>,
    bytes: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { last: 0, line: line(1), at: 0, after_gap: None, bytes: 0 }
    }
}

impl Numbers {
    /// Takes what comes next. Without a gap before it, it must go on where the last piece ended.
    fn take(&mut self, bytes: &[u8]) -> Checked {
        self.bytes += bytes.len() as u64;
        let mut rest = self.find_number(bytes)?;
        while !rest.is_empty() {
            let wanted = &self.line[self.at..];
            let length = wanted.len().min(rest.len());
            check(wanted[..length] == rest[..length], || {
                let found = &rest[..rest.len().min(200)];
                format!("after line {}: {:?}", self.last, String::from_utf8_lossy(found))
            })?;
            self.at += length;
            rest = &rest[length..];
            if self.at == self.line.len() {
                self.at = 0;
                self.last += 1;
                self.line = line(self.last + 1);
            }
        }
        Ok(())
    }

    /// Output is missing here. Backends lose whole lines.
    fn gap(&mut self) -> Checked {
        check(self.at == 0, || format!("a gap within the line after {}", self.last))?;
        self.after_gap.get_or_insert_default();
        Ok(())
    }

    /// After a gap, finds out where it goes on. Returns what follows the number.
    fn find_number<'a>(&mut self, bytes: &'a [u8]) -> Checked<&'a [u8]> {
        let Some(mut digits) = self.after_gap.take() else { return Ok(bytes) };
        let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits.extend(bytes[..count].iter().map(|byte| char::from(*byte)));
        if count == bytes.len() {
            self.after_gap = Some(digits);
            return Ok(&[]);
        }
        let number = digits.parse().ok().filter(|number| *number > self.last);
        let Some(number) = number else {
            return Err(Failure::new(format!("{digits:?} after a gap after line {}", self.last)));
        };
        self.last = number - 1;
        self.line = line(number);
        self.at = digits.len();
        Ok(&bytes[count..])
    }
}

fn line(number: u64) -> Vec<u8> {
    format!("{number}{REST}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        numbers.into_iter().flat_map(line).collect()
    }

    #[test]
    fn numbered_lines_are_compared_across_pieces() {
        let text = lines(1..=11);
        let (first, second) = text.split_at(9 * (REST.len() + 2) + 1);
        let mut numbers = Numbers::default();
        numbers.take(first).unwrap();
        numbers.take(second).unwrap();
        assert_eq!((numbers.last, numbers.bytes), (11, text.len() as u64));
        numbers.take(b"13").unwrap_err();
    }

    #[test]
    fn lines_may_be_missing_only_at_a_gap() {
        for size in [1, 2, 70, 5000] {
            let mut numbers = Numbers::default();
            numbers.take(&lines(1..=3)).unwrap();
            numbers.gap().unwrap();
            lines(1234..=1300).chunks(size).for_each(|piece| numbers.take(piece).unwrap());
            assert_eq!((numbers.last, numbers.at), (1300, 0));
            numbers.take(&lines([1302])).unwrap_err();
        }
    }

    #[test]
    fn a_gap_neither_cuts_a_line_nor_brings_one_again() {
        let mut numbers = Numbers::default();
        numbers.take(&lines(1..=3)).unwrap();
        numbers.gap().unwrap();
        numbers.take(&lines([3])).unwrap_err();
        let mut numbers = Numbers::default();
        numbers.take(b"1 and then").unwrap();
        numbers.gap().unwrap_err();
    }
}
