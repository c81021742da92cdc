//! Renders the results.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::book::{Book, Key};

/// Returns the table, the failures, what could not be exercised and why, and the
/// counts as the last line.
pub(crate) fn render(book: &Book) -> String {
    let mut text = String::from("\n");
    // Writing to a String does not fail.
    let _ = write(book, &mut text);
    text
}

fn write(book: &Book, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "{:<12} {:<11} {:>8} {:>7} {:>7} {:>12} {:>9}",
        "suite", "backend", "executed", "passed", "failed", "unsupported", "time"
    )?;
    for ((suite, backend), (counts, took)) in &book.rows {
        writeln!(
            text,
            "{suite:<12} {:<11} {:>8} {:>7} {:>7} {:>12} {:>7.1} s",
            backend.as_deref().unwrap_or("-"),
            counts.executed(),
            counts.passed,
            counts.failures.len(),
            counts.unsupported.len(),
            took.as_secs_f64()
        )?;
    }
    unsupported(book, text)?;
    flaky(book, text)?;
    not_run(book, text)?;
    failures(book, text)?;
    let skipped = match book.skipped() {
        0 => String::new(),
        number => format!(", {number} skipped"),
    };
    writeln!(text, "\n{} passed, {} failed{skipped}", book.passed(), book.failed())
}

fn unsupported(book: &Book, text: &mut String) -> std::fmt::Result {
    let mut reasons: BTreeMap<(&Key, &str), Vec<&str>> = BTreeMap::new();
    for (key, (counts, _)) in &book.rows {
        for (case, reason) in &counts.unsupported {
            let reason = if reason.is_empty() { "no reason given" } else { reason };
            reasons.entry((key, reason)).or_default().push(case);
        }
    }
    if !reasons.is_empty() {
        writeln!(text, "\nunsupported:")?;
    }
    for ((key, reason), cases) in reasons {
        writeln!(text, "  {}: {reason}: {}", name(key), cases.join(", "))?;
    }
    Ok(())
}

fn flaky(book: &Book, text: &mut String) -> std::fmt::Result {
    let found = book.rows.iter().filter(|(_, (counts, _))| !counts.flaky.is_empty());
    for (i, (key, (counts, _))) in found.enumerate() {
        if i == 0 {
            writeln!(text, "\nflaky (failed at first, and passed alone):")?;
        }
        writeln!(text, "  {}: {}", name(key), counts.flaky.join(", "))?;
    }
    Ok(())
}

fn not_run(book: &Book, text: &mut String) -> std::fmt::Result {
    if !book.not_run.is_empty() {
        writeln!(text, "\nnot exercised:")?;
    }
    for ((key, reason), labels) in &book.not_run {
        writeln!(text, "  {}: {reason}: {}", name(key), labels.join(", "))?;
    }
    Ok(())
}

fn failures(book: &Book, text: &mut String) -> std::fmt::Result {
    if book.failed() > 0 {
        writeln!(text, "\nfailed:")?;
    }
    for (key, (counts, _)) in &book.rows {
        for failure in &counts.failures {
            writeln!(text, "  {}: {failure}", name(key))?;
        }
    }
    for problem in &book.broken {
        writeln!(text, "  {problem}")?;
    }
    for backend in &book.missing {
        writeln!(text, "  {backend}: required, and no test was executed on it")?;
    }
    Ok(())
}

fn name((suite, backend): &Key) -> String {
    match backend {
        Some(backend) => format!("{suite} on {backend}"),
        None => suite.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::book::Counts;
    use super::super::plan::{Case, Suite};
    use super::*;

    #[test]
    fn the_last_line_has_the_counts() {
        let mut book = Book::default();
        let counts = Counts { passed: 3, ..Counts::default() };
        book.record(&Case::step(Suite::Unit, None), counts, Duration::ZERO);
        assert_eq!(render(&book).lines().last(), Some("3 passed, 0 failed"));
    }

    #[test]
    fn what_failed_and_what_did_not_run_is_said_with_the_reason() {
        let mut book = Book::default();
        let case = Case::step(Suite::Conformance, Some("docker"));
        let counts = Counts {
            passed: 1,
            failures: vec!["cancel::x".into()],
            unsupported: vec![("logs::y".into(), "no streams".into())],
            flaky: vec!["volume::z".into()],
        };
        book.record(&case, counts, Duration::from_millis(1500));
        book.not_run(&Case::step(Suite::EndToEnd, None), "no root");
        book.require(&["kubernetes".into()]);
        book.broken.push("failed to take the lab down".into());
        let text = render(&book);
        for line in [
            "conformance  docker             2       1       1            1     1.5 s",
            "  conformance on docker: no streams: logs::y",
            "  end-to-end: no root: end-to-end",
            "  conformance on docker: cancel::x",
            "  conformance on docker: volume::z",
            "  failed to take the lab down",
            "  kubernetes: required, and no test was executed on it",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert_eq!(text.lines().last(), Some("1 passed, 3 failed, 2 skipped"));
    }
}
