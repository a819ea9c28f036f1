//! Reloads the configuration of a running server: after SIGHUP, and when its file or the TLS files
//! change. Kubernetes replaces mounted files by changing a symbolic link, so files are compared and
//! not watched.

use std::{
    fs::metadata,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    cli::common::CommonArgs,
    config::{
        InvalidConfiguration, Settings,
        findings::{self, Finding},
        live::TlsFiles,
    },
    http::tls::{Certificates, TlsError},
    service::Services,
    telemetry::{LogHandle, labels::ReloadResult},
};

/// How often the files are compared.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How long changed files must stay as they are before they are read. A file that is written in
/// place is empty or incomplete at first, which can be a valid configuration.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);

/// A file, and what tells its contents from earlier ones. There is no `FileVersion` if the file
/// does not exist.
type ObservedFile = (PathBuf, Option<FileVersion>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

fn observe(path: &Path) -> ObservedFile {
    let version = metadata(path).ok().map(|found| FileVersion {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
    });
    (path.to_owned(), version)
}

/// The configuration file as it was before it was read.
#[derive(Debug)]
pub struct ConfigFile(Option<ObservedFile>);

impl ConfigFile {
    /// Must be called before the settings are loaded. A change during the start is thereby found.
    pub fn observe(common: &CommonArgs) -> Self {
        Self(common.config.as_deref().map(observe))
    }
}

/// The thread that reloads. Reading a file can block, such as on a network file system.
#[derive(Debug)]
pub struct Reloader {
    requests: Sender<()>,
    thread: JoinHandle<()>,
}

/// What a reload changes.
#[derive(Debug)]
pub struct ReloadTargets {
    pub log: Arc<LogHandle>,
    pub services: Arc<Services>,
    /// `None` if the server has no TLS.
    pub certificates: Option<Arc<Certificates>>,
}

impl Reloader {
    pub fn start(common: CommonArgs, file: ConfigFile, targets: ReloadTargets) -> io::Result<Self> {
        let (requests, received) = channel();
        let current = targets.services.settings.clone();
        let findings = findings::find(&current);
        let (observed, changing) = (Vec::new(), None);
        let mut state = ReloadState { common, targets, current, findings, observed, changing, is_refused: false };
        state.observed = state.observe_with(file, &state.current);
        let thread = thread::Builder::new().name("reload".to_owned()).spawn(move || state.run(&received))?;
        Ok(Self { requests, thread })
    }

    pub fn request(&self) {
        // Fails only after a panic of the thread, which the log reports.
        let _ = self.requests.send(());
    }

    /// Ends the thread, after a reload that is in progress.
    pub fn stop(self) {
        drop(self.requests);
        let _ = self.thread.join();
    }
}

struct ReloadState {
    common: CommonArgs,
    targets: ReloadTargets,
    /// The configuration that was last applied. Its settings that need a restart may differ from
    /// those in effect.
    current: Settings,
    /// What is risky in `current`, and is logged already.
    findings: Vec<Finding>,
    /// The files as they were before they were last read.
    observed: Vec<ObservedFile>,
    /// The files as they were at the last check, if they had changed.
    changing: Option<Vec<ObservedFile>>,
    /// Whether the last reload was refused. It is repeated until it succeeds, because its cause can
    /// be outside of the observed files, such as a permission or the file of a variable.
    is_refused: bool,
}

impl ReloadState {
    /// Runs until the sender is dropped.
    fn run(mut self, requests: &Receiver<()>) {
        loop {
            let interval = if self.changing.is_some() { SETTLE_INTERVAL } else { POLL_INTERVAL };
            match requests.recv_timeout(interval) {
                Ok(()) => self.reload("SIGHUP"),
                Err(RecvTimeoutError::Timeout) => self.check_files(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn check_files(&mut self) {
        let found: Vec<_> = self.observed.iter().map(|(path, _)| observe(path)).collect();
        if found == self.observed {
            self.changing = None;
            if self.is_refused {
                self.reload("retry");
            }
        } else if self.changing.as_ref() == Some(&found) {
            self.reload("changed files");
        } else {
            self.changing = Some(found);
        }
    }

    fn observe_with(&self, file: ConfigFile, settings: &Settings) -> Vec<ObservedFile> {
        let tls = self.find_tls_files(settings).into_iter().flat_map(|files| [files.certificate, files.key]);
        file.0.into_iter().chain(tls.map(|path| observe(&path))).collect()
    }

    /// The files for the TLS of the running server. If the settings contain none, they are those in
    /// use: TLS cannot be disabled before a restart.
    fn find_tls_files(&self, settings: &Settings) -> Option<TlsFiles> {
        self.targets.certificates.as_ref()?;
        settings.reloadable().tls.or_else(|| self.targets.services.live.load().tls.clone())
    }

    fn reload(&mut self, cause: &'static str) {
        let file = ConfigFile::observe(&self.common);
        let read = Settings::load(self.common.config.as_deref(), &self.common.set);
        // A file that changes while it is read differs the next time, because it was observed
        // before.
        self.observed = self.observe_with(file, read.as_ref().unwrap_or(&self.current));
        self.changing = None;
        let applied = match read {
            Ok(new) => self.apply(new, cause),
            Err(InvalidConfiguration(faults)) => Err(self.refuse(faults, cause)),
        };
        self.is_refused = applied.is_err();
        let result = match applied {
            Ok(result) => result,
            Err(faults) => {
                tracing::error!(
                    cause,
                    "failed to reload the configuration; the previous one stays in use; will retry: {faults}"
                );
                ReloadResult::Refused
            }
        };
        self.targets.services.metrics.reloads.record(result);
    }

    /// Reads the certificate nevertheless, because the one in use may expire before the
    /// configuration is corrected. Returns all faults.
    fn refuse(&self, mut faults: Vec<String>, cause: &'static str) -> String {
        let ReloadTargets { certificates, services, .. } = &self.targets;
        if let (Some(certificates), Some(files)) = (certificates, &services.live.load().tls) {
            match certificates.reload(files) {
                Ok(true) => tracing::info!(cause, "TLS certificate reloaded"),
                Ok(false) => {}
                Err(error) => faults.push(error.to_string()),
            }
        }
        faults.join("; ")
    }

    /// Applies what a running server can apply, and reports the rest.
    fn apply(&mut self, new: Settings, cause: &'static str) -> Result<ReloadResult, String> {
        let services = &self.targets.services;
        let mut live = new.reloadable();
        live.tls = self.find_tls_files(&new);
        let mut changed = self.current.reloadable_changes(&new);
        let mut result = ReloadResult::Applied;
        if let (Some(certificates), Some(files)) = (&self.targets.certificates, &live.tls) {
            match certificates.reload(files) {
                Ok(true) => changed.push("the TLS certificate"),
                Ok(false) => {}
                // One of the files is about to be replaced.
                Err(error @ TlsError::Mismatch(_)) => {
                    tracing::warn!(
                        "failed to reload the TLS certificate: {error}; the previous one stays in use; will retry when \
                         one of the files changes"
                    );
                    result = ReloadResult::Refused;
                }
                Err(error @ (TlsError::Unreadable(..) | TlsError::Configuration(_))) => return Err(error.to_string()),
            }
        }
        if live.log_level != services.live.load().log_level
            && let Err(error) = self.targets.log.set_level(&live.log_level)
        {
            tracing::warn!(error, "failed to change the log level; restart the server to apply it");
        }
        services.live.replace(live);
        tracing::info!(cause, changed = changed.join(", "), "configuration reloaded");
        let rest = services.settings.changes_that_need_a_restart(&new);
        if !rest.is_empty() {
            tracing::warn!("changed settings need a restart: {}; restart the server to apply them", rest.join(", "));
        }
        let found = findings::find(&new);
        for finding in found.iter().filter(|finding| !self.findings.contains(finding)) {
            tracing::warn!(setting = finding.setting, "{}", finding.text);
        }
        self.findings = found;
        self.current = new;
        Ok(result)
    }
}
