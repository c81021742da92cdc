//! `logs`.

use std::sync::Arc;

use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, check, same_bytes};

cases! { "logs":
    output_without_a_final_newline_comes_whole,
    every_byte_comes_as_it_was_written,
}

async fn output_without_a_final_newline_comes_whole(bench: Arc<Bench>) -> Checked {
    let finished = bench.run_script("printf 'one\\ntwo'").await?;
    same_bytes("stdout", &finished.output.stdout, b"one\ntwo")
}

async fn every_byte_comes_as_it_was_written(bench: Arc<Bench>) -> Checked {
    let all: Vec<u8> = (0..=255).collect();
    let escapes: String = all.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let finished = bench.run_script(&format!("printf '{escapes}'")).await?;
    check(finished.report.outcome.is_success(), || format!("{finished:?}"))?;
    same_bytes("stdout", &finished.output.stdout, &all)
}
