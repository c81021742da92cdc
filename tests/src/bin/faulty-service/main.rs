//! The example service, with a runner that hangs and one that panics beside its others. A launch on
//! either does nothing else; what was launched can be found, followed and removed as on local
//! processes.

#[path = "../../../../crates/longshore/examples/http-service/api.rs"]
mod api;
mod faulty;
#[path = "../../../../crates/longshore/examples/http-service/service.rs"]
mod service;
#[path = "../../../../crates/longshore/examples/http-service/spare.rs"]
mod spare;
#[path = "../../../../crates/longshore/examples/http-service/tenants.rs"]
mod tenants;

use std::sync::Arc;

use faulty::{Faulty, How};

fn main() -> anyhow::Result<()> {
    longshore::init();
    longshore::raise_limits();
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    tokio::runtime::Runtime::new()?.block_on(async {
        let config = service::config()?;
        let mut builder = service::builder(&config)?;
        for how in [How::Hangs, How::Panics] {
            builder = builder.runner(Arc::new(Faulty::new(how, &config)?));
        }
        service::serve(builder.build()?).await
    })
}
