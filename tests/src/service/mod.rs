//! The example service as its clients see it.

mod client;
mod works;

pub(crate) use client::{Client, Service};
pub(crate) use works::{Gate, Work, begun};
