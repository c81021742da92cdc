//! Who we are to an image's registry.
//!
//! A [`Keyring`] is asked with an image's name and answers with what to show its registry, where
//! that comes from, and what a person should know about it. It asks nobody before it is asked, and
//! keeps nothing: a password that was changed, or a token that ran out, is read anew.
//!
//! # Where it looks
//!
//! 1. The logins of the job itself, `registries`.
//! 2. Those of the configuration, `job.registries`.
//! 3. Docker's `config.json`, if [`Keyring::with_docker_config`] says so: `credHelpers`, then
//!    `credsStore`, then `auths` (<https://docs.docker.com/reference/cli/docker/login/>).
//!
//! The first that knows the registry counts. Within one of them the longest server that the image's
//! name begins with counts, path by path: `h/team` is for `h/team/app`, not for `h/teamwork/app`.
//! Hosts and ports are compared letter by letter. `docker.io`, `index.docker.io` and, in
//! `config.json`, `https://index.docker.io/v1/` are one.
//!
//! # What goes wrong
//!
//! The logins of 1 and 2 were asked for by name: one that cannot be had is an error, and nothing is
//! pulled. Nobody asked for 3: what fails there is a warning, and the registry is asked without a
//! name. No error, warning or `Debug` text holds a password or a token.
//!
//! # Why not a library
//!
//! The crate `docker_credential` (1.4) blocks the caller's thread for as long as a helper takes,
//! starts whatever program a helper's name leads to, repeats all that a failed helper printed, and
//! looks into `auths` before `credsStore`, without regard to paths. Here a helper has a plain name,
//! a time limit at which its whole process group ends, and bounded output, and nothing that may be a
//! secret is repeated.

mod answer;
mod check;
mod config_json;
mod docker_config;
mod helper;
mod keyring;
mod login;
mod password;
mod read;
mod server;

pub use check::InvalidLogin;
pub use keyring::{Found, Keyring};
