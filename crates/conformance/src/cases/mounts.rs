//! Files of the machine that runs the job.

use std::sync::Arc;

use longshore_core::{Capability, Volume};

use crate::bench::Bench;
use crate::case::Need::{Can, Directory};
use crate::case::cases;
use crate::failure::{Checked, same};

cases! { "mounts":
    the_job_reads_and_writes_mounted_folders [Can(Capability::Volumes), Directory],
    a_read_only_volume_cannot_be_written [Can(Capability::Volumes), Directory],
}

async fn the_job_reads_and_writes_mounted_folders(bench: Arc<Bench>) -> Checked {
    let directory = bench.directory()?;
    directory.give("given", b"mine\n")?;
    let file = directory.path().join("input/given");
    let mut spec = bench.fixture().job("cat \"/a b/file\" > /out/copy");
    spec.volumes =
        vec![Volume::new(file, "/a b/file"), Volume::new(directory.path().join("output"), "/out")];
    same("the exit code", &bench.run(spec).await?.report.outcome.exit_code(), &0)?;
    same("the copy", &directory.output("copy")?, &Some(b"mine\n".to_vec()))
}

async fn a_read_only_volume_cannot_be_written(bench: Arc<Bench>) -> Checked {
    let directory = bench.directory()?;
    let mut spec = bench.fixture().job("(echo x > /out/new) 2>/dev/null && echo wrote; echo done");
    spec.volumes = vec![Volume::new(directory.path().join("output"), "/out").read_only()];
    same("the output", &bench.run(spec).await?.output.text(), &"done\n".to_owned())?;
    same("what was written", &directory.output("new")?, &None)
}
