//! Stops a backup from another thread: ends the client program that runs, and deletes the
//! incomplete file. A signal ends the process without dropping any value.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::store::backup::{error::BackupError, temporary_file};

/// How often to ask whether a program that has closed its output has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A request to stop a backup. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<Mutex<CancellationState>>);

#[derive(Debug, Default)]
struct CancellationState {
    is_requested: bool,
    child: Option<Child>,
    incomplete: Option<PathBuf>,
}

impl Cancellation {
    /// Ignores poisoning: each modification of the state is a single assignment.
    fn lock(&self) -> MutexGuard<'_, CancellationState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the program that runs, and deletes the incomplete file. The backup then fails, except
    /// that nothing interrupts the copy of SQLite.
    pub fn request(&self) {
        let mut state = self.lock();
        state.is_requested = true;
        if let Some(child) = &mut state.child {
            let _ = child.kill();
        }
        if let Some(path) = &state.incomplete {
            temporary_file::remove(path);
        }
    }

    /// Fails if a stop was requested.
    pub(super) fn check(&self) -> Result<(), BackupError> {
        if self.lock().is_requested { Err(BackupError::Stopped) } else { Ok(()) }
    }

    /// From now on, a request deletes this file.
    pub(super) fn set_incomplete(&self, path: &Path) -> Result<(), BackupError> {
        self.lock().incomplete = Some(path.to_owned());
        self.check()
    }

    /// Like `Command::output` without input, with a program that a request ends.
    pub(super) fn run(&self, command: &mut Command) -> io::Result<Output> {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        {
            let mut state = self.lock();
            if state.is_requested {
                let _ = child.kill();
            }
            state.child = Some(child);
        }
        // What is written to standard output fits into the pipe.
        let (stdout, stderr) = (read_all(stdout)?, read_all(stderr)?);
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Output { status, stdout, stderr });
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut state = self.lock();
        let Some(child) = &mut state.child else { return Err(io::ErrorKind::NotFound.into()) };
        let status = child.try_wait()?;
        if status.is_some() {
            state.child = None;
        }
        Ok(status)
    }
}

fn read_all(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
