//! Commands in a job.

use futures::StreamExt;
use longshore_core::{ErrorKind, ExecEvent, ExecSpec, Runner};

use crate::support::{Bench, shell};

pub async fn a_command_ends_though_a_process_that_it_started_keeps_its_output_open() {
    let bench = Bench::new();
    let handle = bench.start(shell("sleep 600")).await;
    let spec = ExecSpec::new(["sh", "-c", "sleep 600 & echo over; exit 7"]);
    let command = bench.runner.exec(&handle, &spec).await.unwrap();
    let events: Vec<_> = command.events.map(Result::unwrap).collect().await;
    let (end, output) = events.split_last().unwrap();
    assert_eq!(*end, ExecEvent::Exited { code: 7, message: None });
    let bytes = output.iter().map(|event| match event {
        ExecEvent::Output { bytes, .. } => bytes.to_vec(),
        other => panic!("{other:?}"),
    });
    assert_eq!(bytes.collect::<Vec<_>>().concat(), b"over\n");
    bench.runner.remove(&handle).await.unwrap();
}

pub async fn a_command_is_refused_with_the_reason() {
    let bench = Bench::new();
    let handle = bench.start(shell("sleep 600")).await;
    let mut spec = ExecSpec::new(["true"]);
    spec.working_dir = Some("/no/such/folder".to_owned());
    let refused = bench.runner.exec(&handle, &spec).await.unwrap_err();
    assert!(refused.to_string().contains("/no/such/folder does not exist"), "{refused}");
    let mut spec = ExecSpec::new(["true"]);
    spec.user = Some("nobody".to_owned());
    let refused = bench.runner.exec(&handle, &spec).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    bench.runner.remove(&handle).await.unwrap();
}
