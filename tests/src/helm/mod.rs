//! The chart on a real cluster, with the real helm and the real image.
//!
//! - `image` builds the command's image from the repository's Dockerfile, once.
//! - `site` is a case's own namespace, with helm and kubectl for it.
//! - `values` has the values of a release.
//! - `files` checks that the chart's files agree with the rest of the repository.

#[cfg(test)]
mod files;
mod image;
mod site;
mod values;

pub(crate) use image::image;
pub(crate) use site::{Site, chart, chart_folder};
pub(crate) use values::Values;
