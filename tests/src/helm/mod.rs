//! The chart on a real cluster, with the real helm and the real image.
//!
//! - `image` builds the command's image from the repository's Dockerfile, once.
//! - `site` is a namespace of a case's own, with helm and kubectl in it.
//! - `values` is what a release is installed with.
//! - `files` holds the chart's files to the rest of the repository.

#[cfg(test)]
mod files;
mod image;
mod site;
mod values;

pub(crate) use image::image;
pub(crate) use site::{Site, chart};
pub(crate) use values::Values;
