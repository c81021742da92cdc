//! What a cluster sends.

use jiff::Timestamp;
use longshore_core::{Event, start_error};
use longshore_kubernetes::fuzzing::{classify_pull, classify_refusal, follow, strip_times};

/// Quoted text that would decide, if quotes did not count.
const QUOTED: &str = "\"no space left on device: unauthorized\" ";

/// The reasons of waiting containers that are about an image.
const REASONS: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"];

/// The times are removed wherever the pieces of a log end, and nothing else is.
pub fn kubelet_log(data: &[u8]) {
    let expected: Vec<u8> =
        data.split_inclusive(|byte| *byte == b'\n').flat_map(line).copied().collect();
    for size in [data.len().max(1), 1, 7, 40] {
        assert_eq!(strip_times(data.chunks(size)), expected, "in pieces of {size}");
    }
}

/// Returns a line of a log without its time, as the kubelet writes it.
fn line(line: &[u8]) -> &[u8] {
    let time = line.iter().position(|byte| *byte == b' ').filter(|end| *end <= 40);
    let is_time =
        |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.parse::<Timestamp>().is_ok());
    match time {
        Some(end) if is_time(&line[..end]) => &line[end + 1..],
        _ => line,
    }
}

/// Each message is classified, and text in quotes decides nothing.
pub fn kubelet_message(data: &[u8]) {
    let Ok(message) = std::str::from_utf8(data) else { return };
    let quoting = format!("{QUOTED}{message}");
    assert_eq!(start_error(&quoting), start_error(message));
    let _ = classify_refusal(message);
    for reason in REASONS {
        let why = |message| classify_pull(reason, message).map(|(why, _)| why);
        let Some((_, said)) = classify_pull(reason, message) else { panic!("{reason}") };
        assert!(said.len() <= message.len());
        if reason == "ErrImagePull" {
            assert_eq!(why(&quoting), why(message));
        }
    }
    assert_eq!(classify_pull("ContainerCreating", message), None);
}

/// A job is followed through any states of its objects, and each step is reported once. A line is an
/// event of a watch.
pub fn kubernetes_objects(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let states = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let (events, report) = follow(states);
    let once = |is: fn(&Event) -> bool| assert!(events.iter().filter(|it| is(it)).count() <= 1);
    once(|event| matches!(event, Event::Scheduled));
    once(|event| matches!(event, Event::Pulled));
    once(|event| matches!(event, Event::Started(_)));
    if let Some(report) = report {
        assert!(!report.outcome.to_string().is_empty());
    }
}
