//! Reads what Rust's test harness prints, and libtest-mimic alike.

/// What a test program says of its tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// How many summaries there were; none if it died before.
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
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("test result: ") {
            said.summaries += 1;
            said.passed += count(rest, "passed");
            said.failed += count(rest, "failed");
            ignored += count(rest, "ignored");
        } else if let Some((name, result)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            if result == "FAILED" {
                said.failures.push(name.trim().to_owned());
            } else if let Some(reason) = result.strip_prefix("ignored") {
                let reason = reason.trim_start_matches([',', ' ']);
                said.ignored.push((name.trim().to_owned(), reason.to_owned()));
            }
        }
    }
    // A test's own output may hide its line.
    let hidden = said.failed.saturating_sub(said.failures.len());
    said.failures.extend((0..hidden).map(|_| "a test".to_owned()));
    let hidden = usize::saturating_sub(ignored, said.ignored.len());
    said.ignored.extend((0..hidden).map(|_| ("a test".to_owned(), String::new())));
    said
}

/// The number before `word` in `ok. 3 passed; 0 failed; …`.
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

    #[test]
    fn a_program_that_died_has_said_nothing() {
        assert_eq!(parse("running 1 test\n"), Said::default());
    }
}
