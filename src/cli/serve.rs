//! The `keyswap serve` command.

use std::{future::ready, pin::pin, sync::Arc, thread, time::Duration};

use futures_util::future::{Either, select};

use crate::{
    app::{jobs::Jobs, startup::StartMode},
    cli::{
        common::{CommonArgs, Failure},
        compose,
    },
    http::server,
    store::SystemClock,
    telemetry,
};

/// How long the exit waits for threads that may never return.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

pub async fn run(common: &CommonArgs) -> Result<(), Failure> {
    let config = common.config()?;
    telemetry::init_logging(config.log.json, &config.log.level);
    let settings = compose::server(&config);
    // The address is bound first, so that a server that cannot listen creates nothing in the
    // database.
    let bound = server::bind(&settings)?;
    let services = Arc::new(compose::services(&config, StartMode::Serve, Arc::new(SystemClock)).await?);
    warn_about_durability(&services).await?;
    let address = bound.address;
    let servers = server::serve(bound, Arc::clone(&services), &settings)?;
    let jobs = Jobs::start(&services);
    // The first poll starts the workers and installs the signal handlers. A SIGTERM before it would
    // kill the process immediately.
    let result = match select(pin!(servers.run()), ready(())).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), running)) => {
            tracing::info!(%address, issuer = services.issuer(), version = env!("CARGO_PKG_VERSION"), "serving");
            running.await
        }
    };
    jobs.stop().await;
    services.store.close().await;
    tracing::info!("stopped");
    // All connections are closed, so SQLite has checkpointed its WAL. A thread that is blocked on
    // an unresponsive database must not keep the process alive.
    let failed = result.is_err();
    thread::spawn(move || {
        thread::sleep(EXIT_TIMEOUT);
        std::process::exit(i32::from(failed));
    });
    Ok(result?)
}

async fn warn_about_durability(services: &crate::service::Services) -> Result<(), Failure> {
    let faults = services.store.read(crate::store::durability_faults).await.map_err(crate::service::Error::from)?;
    for fault in faults {
        tracing::warn!(fault, "the database may lose changes that were acknowledged");
    }
    Ok(())
}
