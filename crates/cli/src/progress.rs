//! A progress line on a terminal while the job waits to start.

use std::io::IsTerminal;
use std::time::Duration;

use futures::StreamExt;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use longshore::job::{JobEvent, JobEvents};
use longshore::runner::Event;
use tokio::time::Instant;

use crate::output;
use crate::trouble::Trouble;

/// A progress line. It is shown only on a terminal, and disappears once the job starts.
#[derive(Debug)]
pub struct ProgressLine(Option<ProgressBar>);

impl ProgressLine {
    /// Creates a line on stderr, or none if stderr is not a terminal or `quiet` is set.
    pub fn new(quiet: bool) -> Self {
        if quiet || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        // The template is a constant, tested below; without it, a plain spinner is shown.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Some(bar))
    }

    /// Shows `event`.
    fn show(&self, event: &JobEvent) {
        let Some(bar) = &self.0 else { return };
        match words(event) {
            Some(words) => bar.set_message(output::printable(&words).into_owned()),
            None => bar.finish_and_clear(),
        }
    }

    /// Shows a job's progress until `events` ends. Unless `quiet`, prints its warnings and, every few
    /// seconds, what keeps it.
    pub async fn show_all(&self, events: Option<JobEvents>, quiet: bool) {
        let Some(mut events) = events else { return };
        let mut trouble = Trouble::default();
        loop {
            let event = tokio::select! {
                biased;
                event = events.next() => event,
                text = trouble.due() => {
                    if !quiet {
                        self.around(|| output::say(&text));
                    }
                    continue;
                }
            };
            let Some(event) = event else { return };
            match &event {
                JobEvent::Trouble { runner, message } => {
                    trouble.reported(runner, message, Instant::now());
                }
                _ => trouble.is_over(),
            }
            match &event {
                JobEvent::Warning { message } if !quiet => self.around(|| output::warn(message)),
                event => self.show(event),
            }
        }
    }

    /// Hides the line while `say` writes to stderr.
    pub fn around(&self, say: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    /// Removes the line.
    pub fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

const TEMPLATE: &str = "{spinner} {wide_msg} {elapsed}";

/// Returns the text for a person, or `None` once the job runs and its own output matters.
fn words(event: &JobEvent) -> Option<String> {
    Some(match event {
        JobEvent::Probing { runner } => format!("{runner}: asking whether it can take the job"),
        JobEvent::PassedOver(passed) => {
            format!("{}: passed over: {}", passed.runner, passed.message)
        }
        JobEvent::Launching { runner, .. } => format!("{runner}: launching"),
        JobEvent::Settling { runner, message, .. } => {
            format!("{runner}: checking whether the job started: {message}")
        }
        JobEvent::Runner { runner, event: Event::Pulling { current, total } } => match total {
            Some(total) => format!(
                "{runner}: pulling the image, {} of {}",
                HumanBytes(*current),
                HumanBytes(*total)
            ),
            None => format!("{runner}: pulling the image, {}", HumanBytes(*current)),
        },
        JobEvent::Runner { runner, event: Event::Pulled } => format!("{runner}: starting"),
        JobEvent::Runner { runner, event: Event::Scheduled } => format!("{runner}: scheduled"),
        JobEvent::Runner { runner, event: Event::Waiting(why) } => format!("{runner}: {why}"),
        JobEvent::Trouble { runner, message } => format!("{runner}: {message}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn a_pull_is_shown_in_bytes_and_the_line_is_gone_once_the_job_runs() {
        let runner = longshore::runner::RunnerName::docker();
        let event = Event::Pulling { current: 1024, total: Some(2048) };
        let pulling = JobEvent::Runner { runner: runner.clone(), event };
        assert_eq!(words(&pulling).unwrap(), "docker: pulling the image, 1.00 KiB of 2.00 KiB");
        let started = JobEvent::Runner { runner, event: Event::Started(None) };
        assert_eq!(words(&started), None);
    }
}
