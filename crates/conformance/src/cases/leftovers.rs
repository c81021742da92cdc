//! Nothing is left at the end.

use std::sync::Arc;

use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, check};

cases! { "leftovers":
    adopt_finds_nothing_once_all_is_removed,
    nothing_is_left_on_the_backend_once_all_is_removed,
}

async fn adopt_finds_nothing_once_all_is_removed(bench: Arc<Bench>) -> Checked {
    let runner = bench.runner().await?;
    for installation in bench.world().installations() {
        let found = bench.wait("adopt to answer", runner.adopt(&installation)).await??;
        check(found.is_empty(), || format!("adopt still finds {found:?}"))?;
    }
    Ok(())
}

async fn nothing_is_left_on_the_backend_once_all_is_removed(bench: Arc<Bench>) -> Checked {
    let installations = bench.world().installations();
    let left =
        bench.wait("the fixture to look", bench.fixture().leftovers(&installations)).await??;
    check(left.is_empty(), || format!("left on the backend:\n{}", left.join("\n")))
}
