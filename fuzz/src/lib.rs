//! Fuzz targets for everything that reads foreign input.
//!
//! A target is a function that reads bytes and checks what must hold for all of them: no panic, a
//! bounded result, and the same result for the same content in another form. `cargo fuzz` runs the
//! targets with coverage; the tests of this crate play the files in `corpus`, and changed copies of
//! them.

mod command_line;
mod docker;
mod documents;
mod hocon;
mod image;
mod kubernetes;
mod logins;
#[cfg(test)]
mod play;
mod replay;

pub use command_line::command_line;
pub use docker::{docker_log, docker_message};
pub use documents::{job_file, settings};
pub use hocon::hocon;
pub use image::image_ref;
pub use kubernetes::{kubelet_log, kubelet_message, kubernetes_objects};
pub use logins::{config_json, helper_answer, login_server};
pub use replay::replay;
