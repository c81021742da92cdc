//! The store in a SQLite file.

mod checkpoint;
mod database;
mod list;
mod read;
mod runners;
mod tables;
mod worker;
mod write;

pub(crate) use database::Database;
pub(crate) use worker::Worker;
