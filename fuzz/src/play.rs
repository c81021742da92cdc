//! Plays the corpus, and changed copies of it. Each run is the same: the random numbers are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// How many changed copies of seeds each target plays.
const CASES: u32 = 200;
/// How long a target may take for one input, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Replace(Index, u8),
    /// Copies a part of another seed.
    Splice(Index, Vec<u8>, Index, usize),
    /// Repeats a part.
    Repeat(Index, usize, usize),
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>) {
        let place = |index: &Index, input: &[u8]| index.index(input.len() + 1);
        let part = |from: usize, length: usize, bytes: &[u8]| {
            bytes[from..(from + length).min(bytes.len())].to_vec()
        };
        match self {
            Self::Remove(at, length) => {
                let at = place(at, input);
                input.drain(at..(at + length).min(input.len()));
            }
            Self::Insert(at, bytes) => {
                let at = place(at, input);
                input.splice(at..at, bytes.iter().copied());
            }
            Self::Replace(at, byte) => {
                if !input.is_empty() {
                    let at = at.index(input.len());
                    input[at] = *byte;
                }
            }
            Self::Splice(at, seed, from, length) => {
                let at = place(at, input);
                input.splice(at..at, part(place(from, seed), *length, seed));
            }
            Self::Repeat(at, length, times) => {
                let at = place(at, input);
                let repeated = part(at, *length, input).repeat(*times);
                input.splice(at..at, repeated);
            }
        }
    }
}

fn edit(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Edit> {
    let byte = || prop_oneof![any::<u8>(), select(b"\"'`{}[]()<>$:;,.=#+-/\\@ \t\r\n\0".to_vec())];
    prop_oneof![
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<Index>(), vec(byte(), 1..8)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (any::<Index>(), select(seeds), any::<Index>(), 1..80_usize)
            .prop_map(|(at, seed, from, length)| Edit::Splice(at, seed, from, length)),
        (any::<Index>(), 1..20_usize, 1..50_usize)
            .prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
    ]
}

/// An input, shown as a byte string.
#[derive(Clone)]
struct Input(Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns the contents of the files in `folder`, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder("corpus").join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn run(target: fn(&[u8]), input: &Input) {
    let begun = Instant::now();
    target(&input.0);
    let took = begun.elapsed();
    assert!(took < LIMIT, "{took:?} for {input:?}");
}

fn play(name: &str, target: fn(&[u8])) {
    let seeds = seeds(name);
    assert!(seeds.len() >= 3, "{} seeds", seeds.len());
    seeds.iter().for_each(|seed| run(target, &Input(seed.clone())));
    let edits = vec(edit(seeds.clone()), 1..6);
    let inputs = (select(seeds), edits).prop_map(|(mut input, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut input));
        Input(input)
    });
    let config = Config { failure_persistence: None, ..Config::with_cases(CASES) };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let played = TestRunner::new_with_rng(config, random).run(&inputs, |input| {
        run(target, &input);
        Ok(())
    });
    if let Err(failure) = played {
        panic!("{failure}");
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// The names of all targets.
        const TARGETS: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            play(stringify!($name), crate::$name);
        })*
    };
}

targets! {
    command_line
    config_json
    docker_log
    docker_message
    helper_answer
    hocon
    image_ref
    job_file
    kubelet_log
    kubelet_message
    kubernetes_objects
    login_server
    settings
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    for kind in ["corpus", "fuzz_targets"] {
        let entries = fs::read_dir(folder(kind)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let names: Vec<_> = names.iter().map(|name| name.trim_end_matches(".rs")).collect();
        assert_eq!(names, TARGETS, "{kind}");
    }
}
