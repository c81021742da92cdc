//! `logs` with much output.

use std::sync::Arc;

use longshore_core::{Capability, LogChunk, LogPosition, LogStream};

use crate::Failure;
use crate::bench::Bench;
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, check, same};
use crate::output::Reader;

cases! { "much_output":
    a_hundred_mebibytes_come_whole_and_are_not_held_in_memory [Can(Capability::KeepAllLogs)] x 20,
    what_is_lost_of_much_output_is_marked x 20,
    a_line_of_ten_mebibytes_comes_whole x 8,
    a_line_of_a_hundred_mebibytes_comes_whole_and_is_not_held_in_memory [Can(Capability::KeepAllLogs)] x 20,
}

const MIB: u64 = 1 << 20;
/// How much memory a runner and a pipeline may hold; far less than the output.
const HELD: u64 = 64 * MIB;
/// The number of lines in a hundred mebibytes.
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

/// How long the job waits for its reader, in seconds. Not every backend can distinguish output
/// that was lost before the first read from output that was never written.
const UNTIL_READ: u64 = 5;

/// Follows a job that writes numbered lines as fast as it can. Every line must arrive, except at a
/// gap; the last line must always arrive.
async fn read_much(bench: &Bench) -> Checked<(Numbers, u64)> {
    let before = resident();
    let script = format!("sleep {UNTIL_READ}; seq 1 {LINES} | sed 's/$/{REST}/'");
    let run = bench.start_script(&script).await?;
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
                numbers.gap();
            }
        }
        most = most.max(resident());
    }
    same("the last number", &numbers.last, &LINES)?;
    numbers.whole()?;
    check(numbers.line.is_empty(), || "there is more after the last line".to_owned())?;
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

async fn a_line_of_a_hundred_mebibytes_comes_whole_and_is_not_held_in_memory(
    bench: Arc<Bench>,
) -> Checked {
    let length = 100 * MIB;
    let script = format!("head -c {length} /dev/zero | tr '\\000' x; echo; echo next");
    let before = resident();
    let run = bench.start_script(&script).await?;
    let mut reader = run.reader(LogPosition::START, true);
    let (mut came, mut most, mut rest) = (0, 0, Vec::new());
    while let Some(chunk) = reader.next_or_gap().await? {
        let LogChunk::Data { bytes, .. } = chunk else {
            return Err(Failure::new("there is a gap".to_owned()));
        };
        let of_line = bytes.iter().take_while(|byte| rest.is_empty() && **byte == b'x').count();
        came += of_line as u64;
        rest.extend_from_slice(&bytes[of_line..]);
        check(rest.len() < 100, || format!("other bytes after {came}"))?;
        most = most.max(resident());
    }
    same("the line's length", &came, &length)?;
    same("what follows it", &String::from_utf8_lossy(&rest).into_owned(), &"\nnext\n".to_owned())?;
    let held = most.saturating_sub(before);
    check(held < HELD, || format!("{} MiB were held in memory", held / MIB))
}

/// Returns how many bytes of memory this process holds, or 0 if `/proc` does not report it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What follows the number in each line, which makes the lines as long as a program's usually are.
/// Backends keep a record for each line.
const REST: &str =
    " and then some text so that each of the lines is about as long as those of a real program";

/// Compares what `seq` writes, with [`REST`] after each number, as it arrives.
#[derive(Default)]
struct Numbers {
    /// The number of the last complete line.
    last: u64,
    /// The incomplete line at the end.
    line: Vec<u8>,
    /// No complete line has arrived since the last gap.
    after_gap: bool,
    /// Set if only a gap may follow: the last line has the end of another line. A backend may
    /// notice only at the end of a line that it continued with another file within that line.
    torn: Option<String>,
    bytes: u64,
}

impl Numbers {
    /// Takes the next piece. Without a gap before it, it must continue where the last piece ended.
    fn take(&mut self, bytes: &[u8]) -> Checked {
        self.bytes += bytes.len() as u64;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            check(self.line.len() < 4 * REST.len(), || format!("no line after {}", self.last))?;
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take_line(&String::from_utf8_lossy(&line))?;
            }
        }
        Ok(())
    }

    fn take_line(&mut self, found: &str) -> Checked {
        self.whole()?;
        let digits = found.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = found[..found.len() - digits.len()].parse().unwrap_or(0);
        let whole = found == line(number);
        let wanted = self.last + 1;
        if whole && (number == wanted || self.after_gap && number > wanted) {
            self.last = number;
            self.after_gap = false;
            return Ok(());
        }
        let ends = found.ends_with("program\n");
        let message = format!("{found:?} after line {}", self.last);
        check(!whole && ends, || message.clone())?;
        // After a gap, output may continue within a line.
        if !self.after_gap {
            self.torn = Some(message);
        }
        Ok(())
    }

    /// Records that output is missing here.
    fn gap(&mut self) {
        self.torn = None;
        self.line.clear();
        self.after_gap = true;
    }

    /// Fails unless every line was complete, except at a gap.
    fn whole(&self) -> Checked {
        self.torn.as_ref().map_or(Ok(()), |torn| Err(Failure::new(torn.clone())))
    }
}

fn line(number: u64) -> String {
    format!("{number}{REST}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        numbers.into_iter().map(line).collect::<String>().into_bytes()
    }

    fn after_three() -> Numbers {
        let mut numbers = Numbers::default();
        numbers.take(&lines(1..=3)).unwrap();
        numbers
    }

    #[test]
    fn numbered_lines_are_compared_across_pieces() {
        for size in [1, 70, 5000] {
            let text = lines(1..=11);
            let mut numbers = Numbers::default();
            text.chunks(size).for_each(|piece| numbers.take(piece).unwrap());
            assert_eq!((numbers.last, numbers.bytes), (11, text.len() as u64));
            numbers.take(&lines([13])).unwrap_err();
        }
    }

    #[test]
    fn lines_may_be_missing_only_at_a_gap() {
        let mut numbers = after_three();
        numbers.gap();
        numbers.take(&lines(1234..=1300)).unwrap();
        assert_eq!(numbers.last, 1300);
        numbers.take(&lines([1302])).unwrap_err();
        let mut numbers = after_three();
        numbers.gap();
        numbers.take(&lines([3])).unwrap_err();
    }

    #[test]
    fn a_line_may_be_cut_only_at_a_gap() {
        let cut = b"77 and then some program\n";
        let mut numbers = after_three();
        numbers.take(cut).unwrap();
        assert!(numbers.whole().is_err());
        assert!(numbers.take(&lines([4])).is_err(), "without a gap");
        let mut numbers = after_three();
        numbers.take(cut).unwrap();
        numbers.gap();
        numbers.take(&lines([90])).unwrap();
        assert_eq!(numbers.last, 90);
        let mut numbers = after_three();
        numbers.take(b"4 and then").unwrap();
        numbers.gap();
        numbers.take(b"a real program\n").unwrap();
        numbers.take(&lines([80])).unwrap();
        numbers.whole().unwrap();
    }
}
