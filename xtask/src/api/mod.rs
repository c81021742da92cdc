//! The listing of the public interface, and the rules that it follows.

mod interface;
mod listing;
mod surface;

pub(crate) use listing::{FOLDER, api, check};
