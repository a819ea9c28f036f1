//! The `keyswap serve` command.

use std::{
    future::ready,
    pin::{Pin, pin},
    sync::Arc,
    thread,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep_until};

use crate::{
    app::{
        jobs::Jobs,
        startup::{self, StartMode},
    },
    cli::{
        common::{CommonArgs, Failure},
        reload::{ConfigFile, ReloadTargets, Reloader},
        signals::{SignalRequest, Signals},
    },
    config::{findings, sections::LogFormat},
    http::server::{self, ServeError},
    service::{Services, lifecycle::Phase},
    store::{SystemClock, durability_faults},
    telemetry,
};

/// How long the exit waits for threads that may never return.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

pub async fn run(common: &CommonArgs) -> Result<(), Failure> {
    let mut signals = Signals::catch().map_err(Failure::other)?;
    let file = ConfigFile::observe(common);
    let settings = common.settings()?;
    let log = Arc::new(telemetry::init_logging(settings.log.format == LogFormat::Json, &settings.log.level));
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
    let targets = ReloadTargets { log, services: Arc::clone(&services), certificates: servers.certificates() };
    let reloader = Reloader::start(common.clone(), file, targets).map_err(Failure::other)?;
    let jobs = Jobs::start(&services);
    let handles = servers.handles();
    // The first poll starts the workers.
    let result = match select(Box::pin(servers.run()), ready(())).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), running)) => {
            signals.begin_serving();
            tracing::info!(%address, issuer = services.issuer(), version = env!("CARGO_PKG_VERSION"), "serving");
            let signal_loop = SignalLoop { signals: &mut signals, handles, services: &services, reloader: &reloader };
            signal_loop.run(running).await
        }
    };
    services.lifecycle.enter(Phase::Stopping);
    finish(jobs, &services, &mut signals, i32::from(result.is_err())).await;
    reloader.stop();
    Ok(result?)
}

/// Writes what the jobs have buffered, and closes the database. A signal ends the process at once.
async fn finish(jobs: Jobs, services: &Services, signals: &mut Signals, exit_code: i32) {
    let finished = pin!(async {
        jobs.stop().await;
        services.store.close().await;
    });
    if let Either::Right(_) = select(finished, pin!(signals.next_stop())).await {
        tracing::warn!("stopped by a signal before the buffered counts and last-used times were written");
        telemetry::flush_and_exit(exit_code);
    }
    tracing::info!("stopped");
    // All connections are closed, so SQLite has checkpointed its WAL. A thread that is blocked on
    // an unresponsive database must not keep the process alive.
    thread::spawn(move || {
        thread::sleep(EXIT_TIMEOUT);
        telemetry::flush_and_exit(exit_code);
    });
}

/// Reacts to signals while the servers run.
struct SignalLoop<'a> {
    signals: &'a mut Signals,
    handles: Vec<ServerHandle>,
    services: &'a Services,
    reloader: &'a Reloader,
}

impl SignalLoop<'_> {
    /// Returns when the servers have stopped. A return before that drops them, which closes all
    /// connections.
    async fn run(self, mut running: Pin<Box<impl Future<Output = Result<(), ServeError>>>>) -> Result<(), ServeError> {
        let lifecycle = &self.services.lifecycle;
        let delay = self.services.settings.server.drain_delay;
        let mut drain_end = Instant::now();
        loop {
            let request = tokio::select! {
                ended = &mut running => return ended,
                request = self.signals.next() => request,
                () = sleep_until(drain_end), if lifecycle.phase() == Phase::Draining => SignalRequest::Stop,
            };
            match request {
                SignalRequest::Reload => self.reloader.request(),
                SignalRequest::Stop if lifecycle.phase() == Phase::Serving && !delay.duration().is_zero() => {
                    drain_end = Instant::now() + delay.duration();
                    lifecycle.enter(Phase::Draining);
                    tracing::info!(%delay, "draining: /readyz answers 503; requests are served for server.drain_delay");
                }
                // If the stop is in progress, it has no further effect.
                SignalRequest::Stop => self.stop_servers(true),
                SignalRequest::Abort if lifecycle.phase() == Phase::Stopping => return Ok(()),
                SignalRequest::Abort => self.stop_servers(false),
            }
        }
    }

    /// Closes the listeners. If the stop is graceful, requests in flight complete.
    fn stop_servers(&self, is_graceful: bool) {
        self.services.lifecycle.enter(Phase::Stopping);
        for handle in &self.handles {
            // The command is sent by the call, and `run` returns when the servers have stopped.
            drop(handle.stop(is_graceful));
        }
    }
}
