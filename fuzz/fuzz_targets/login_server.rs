//! Fuzzes the servers of logins.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(login_server);
