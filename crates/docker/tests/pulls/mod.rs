//! Pulls by a real engine, from a registry that fails on demand.

pub(crate) mod answers;
pub(crate) mod breaks;
pub(crate) mod faulty;
pub(crate) mod http;
pub(crate) mod local;
pub(crate) mod logins;
pub(crate) mod proxy;
pub(crate) mod shared;
pub(crate) mod shop;
