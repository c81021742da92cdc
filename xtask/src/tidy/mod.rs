//! Checks what no compiler checks. Each rule has its own file; `rules` lists them.

mod allowed_circles;
mod arrows;
mod backends;
mod circles;
mod deny;
mod dependencies;
mod documents;
mod finding;
mod length;
mod licence;
mod links;
mod packages;
mod readme;
mod references;
mod release;
mod rules;
mod small;
mod toolchain;
mod tree;
mod words;

pub(crate) use rules::{check, tidy};
