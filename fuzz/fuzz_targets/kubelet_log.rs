//! Fuzzes the output of a container, as a kubelet sends it.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(kubelet_log);
