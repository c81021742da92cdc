//! Fuzzes the messages of a cluster.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(kubelet_message);
