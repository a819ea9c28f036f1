//! The `keyswap serve` command.

use std::{future::ready, pin::pin, sync::Arc, thread, time::Duration};

use futures_util::future::{Either, select};

use crate::{
    app::{
        jobs::Jobs,
        startup::{self, StartMode},
    },
    cli::common::{CommonArgs, Failure},
    config::{findings, sections::LogFormat},
    http::server,
    store::{SystemClock, durability_faults},
    telemetry,
};

/// How long the exit waits for threads that may never return.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

pub async fn run(common: &CommonArgs) -> Result<(), Failure> {
    let settings = common.settings()?;
    telemetry::init_logging(settings.log.format == LogFormat::Json, &settings.log.level);
    // The address is bound first, so that a server that cannot listen creates nothing in the
    // database.
    let bound = server::bind(&settings.server)?;
    for finding in findings::find(&settings) {
        tracing::warn!(setting = finding.setting, "{}", finding.text);
    }
    let services = Arc::new(startup::start(settings, StartMode::Serve, Arc::new(SystemClock)).await?);
    for fault in services.store.read(durability_faults).await? {
        tracing::warn!(fault, "the database may lose acknowledged changes in a crash");
    }
    let address = bound.address;
    services.job_monitor.expect_jobs();
    let servers = server::serve(bound, Arc::clone(&services))?;
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
