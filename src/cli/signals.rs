//! The signals of a server process. By default, each of them ends the process at once. They are
//! caught before anything else is done, on a thread of their own, because a start can block the
//! others for as long as another replica migrates the database.

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
};

use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::telemetry::flush_and_exit;

/// What a signal requests of a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRequest {
    /// SIGHUP.
    Reload,
    /// SIGTERM: stop after the requests in flight. A second one ends the delay before that.
    Stop,
    /// SIGINT and SIGQUIT: stop at once.
    Abort,
}

/// The requests of signals, in the order of their arrival.
#[derive(Debug)]
pub struct Signals {
    requests: UnboundedReceiver<SignalRequest>,
    is_serving: Arc<AtomicBool>,
}

impl Signals {
    /// Catches signals from now on. Until `begin_serving`, a signal that requests a stop ends the
    /// process at once, and SIGHUP waits.
    pub fn catch() -> io::Result<Self> {
        let (sender, requests) = unbounded_channel();
        let is_serving = Arc::new(AtomicBool::new(false));
        let is_serving_there = Arc::clone(&is_serving);
        let (result, installed) = channel();
        let forward = async move {
            match Handlers::install() {
                Ok(handlers) => {
                    let _ = result.send(Ok(()));
                    handlers.forward(sender, &is_serving_there).await;
                }
                Err(error) => drop(result.send(Err(error))),
            }
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(forward))?;
        installed.recv().map_err(io::Error::other)??;
        Ok(Self { requests, is_serving })
    }

    pub fn begin_serving(&self) {
        self.is_serving.store(true, Ordering::Release);
    }

    pub async fn next(&mut self) -> SignalRequest {
        match self.requests.recv().await {
            Some(request) => request,
            None => pending().await,
        }
    }

    /// Returns when a signal requests a stop.
    pub async fn next_stop(&mut self) {
        while self.next().await == SignalRequest::Reload {}
    }
}

struct Handlers {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    user_defined1: Signal,
    user_defined2: Signal,
}

impl Handlers {
    /// Must be called in a runtime.
    fn install() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user_defined1: signal(SignalKind::user_defined1())?,
            user_defined2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Forwards requests until the server has stopped.
    async fn forward(mut self, requests: UnboundedSender<SignalRequest>, is_serving: &AtomicBool) {
        loop {
            let request = tokio::select! {
                _ = self.hangup.recv() => SignalRequest::Reload,
                _ = self.terminate.recv() => SignalRequest::Stop,
                _ = self.interrupt.recv() => SignalRequest::Abort,
                _ = self.quit.recv() => SignalRequest::Abort,
                _ = self.user_defined1.recv() => {
                    tracing::warn!("ignored SIGUSR1, which has no meaning here; SIGHUP reloads the configuration");
                    continue;
                }
                _ = self.user_defined2.recv() => {
                    tracing::warn!("ignored SIGUSR2, which has no meaning here; SIGHUP reloads the configuration");
                    continue;
                }
            };
            if request != SignalRequest::Reload && !is_serving.load(Ordering::Acquire) {
                // No request was accepted, and the database keeps what is committed.
                tracing::info!("stopped by a signal during the start");
                flush_and_exit(0);
            }
            if requests.send(request).is_err() {
                return;
            }
        }
    }
}
