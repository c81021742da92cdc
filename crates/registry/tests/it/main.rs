//! The keyring against real files and real helper programs.

mod any;
mod config_json;
mod helpers;
mod logins;
mod support;
