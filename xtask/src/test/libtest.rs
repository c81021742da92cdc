//! Parses the output of Rust's test harness and of libtest-mimic.

/// The results that a test program printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The number of summaries; zero if the program died before.
    pub summaries: usize,
    pub passed: usize,
    pub failed: usize,
    pub failures: Vec<String>,
    /// Each with its reason, which may be empty.
    pub ignored: Vec<(String, String)>,
}

pub(crate) fn parse(text: &str) -> Said {
    let mut said = Said::default();
    let mut ignored = 0;
    let mut list = List::default();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("test result: ") {
            said.summaries += 1;
            said.passed += count(rest, "passed");
            said.failed += count(rest, "failed");
            ignored += count(rest, "ignored");
            said.failures.extend(list.end(count(rest, "failed")));
        } else if list.takes(line) {
        } else if let Some((name, result)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            if result == "FAILED" {
                list.seen.push(name.trim().to_owned());
            } else if let Some(reason) = result.strip_prefix("ignored") {
                let reason = reason.trim_start_matches([',', ' ']);
                said.ignored.push((name.trim().to_owned(), reason.to_owned()));
            }
        }
    }
    said.failures.extend(list.seen);
    // A test's own output may have hidden its result line.
    let hidden = said.failed.saturating_sub(said.failures.len());
    said.failures.extend((0..hidden).map(|_| "a test".to_owned()));
    let hidden = usize::saturating_sub(ignored, said.ignored.len());
    said.ignored.extend((0..hidden).map(|_| ("a test".to_owned(), String::new())));
    said
}

/// The names of the failed tests of one run: from their own lines, which may contain other output,
/// and from the list at the end.
#[derive(Default)]
struct List {
    seen: Vec<String>,
    listed: Option<Vec<String>>,
}

impl List {
    /// Returns whether `line` belongs to the list. The output of the failed tests has the same
    /// heading, and precedes the list.
    fn takes(&mut self, line: &str) -> bool {
        if line == "failures:" {
            self.listed = Some(Vec::new());
            return true;
        }
        let name = line.strip_prefix("    ").filter(|name| !name.contains(' '));
        let (Some(listed), Some(name)) = (&mut self.listed, name) else { return false };
        listed.push(name.to_owned());
        true
    }

    /// Ends the run and returns the names of its `failed` tests.
    fn end(&mut self, failed: usize) -> Vec<String> {
        let Self { seen, listed } = std::mem::take(self);
        listed.filter(|listed| listed.len() == failed).unwrap_or(seen)
    }
}

/// Returns the number before `word` in `ok. 3 passed; 0 failed; …`.
fn count(summary: &str, word: &str) -> usize {
    let words: Vec<&str> = summary.split([' ', ';', '.']).filter(|it| !it.is_empty()).collect();
    words
        .windows(2)
        .find(|pair| pair[1] == word)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_summary_counts() {
        let text = "\
running 3 tests
test a ... ok
test b::c ... FAILED
test d ... ignored, needs root
test src/lib.rs - x (line 3) ... ignored

test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s

test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";
        let said = parse(text);
        assert_eq!((said.summaries, said.passed, said.failed), (2, 41, 1));
        assert_eq!(said.failures, ["b::c"]);
        assert_eq!(said.ignored[0], ("d".to_owned(), "needs root".to_owned()));
        assert_eq!(said.ignored[1], ("src/lib.rs - x (line 3)".to_owned(), String::new()));
    }

    #[test]
    fn a_hidden_line_still_counts() {
        let said =
            parse("test a ... noise\nFAILED\ntest result: FAILED. 0 passed; 1 failed; 1 ignored");
        assert_eq!((said.failures.len(), said.ignored.len()), (1, 1));
    }

    /// Regression: a failure whose own output had hidden its line had no name, and was not retried.
    #[test]
    fn the_list_at_the_end_names_what_a_tests_own_output_has_hidden() {
        let text = "\
test a::b ... noise
FAILED
test c ... FAILED

failures:

---- a::b ----
left behind:
    something

failures:
    a::b
    c

test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured
test d ... FAILED
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured
";
        assert_eq!(parse(text).failures, ["a::b", "c", "d"]);
    }

    #[test]
    fn a_program_that_died_has_said_nothing() {
        assert_eq!(parse("running 1 test\n"), Said::default());
    }
}
