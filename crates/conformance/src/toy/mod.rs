//! A runner of local processes whose backend is in this process's memory. It is correct, or broken
//! in one way. It proves that a correct runner passes the suite, and that the suite catches each
//! broken one.
//!
//! Its backend starts a job some time after it accepted it, as a cluster does. Until then the job
//! is pending, and can be withdrawn.

mod backend;
mod command;
mod exec;
mod fixture;
mod flaw;
mod flaws;
mod job;
mod runner;
mod signals;
mod stdin;
mod streams;
mod tests;
mod times;

use flaw::Flaw;
