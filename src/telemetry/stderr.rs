//! Standard error, whose reader may have stopped reading.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

/// How long `print` waits for the reader.
const PRINT_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens standard error with a descriptor of its own. `io::stderr()` holds a lock while it writes,
/// so that one blocked write would block every other one.
pub(super) fn open() -> Box<dyn Write + Send> {
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(io::stderr()),
    }
}

/// Writes a text to standard error. Unlike `eprint!`, it does not panic if the text cannot be
/// written, and waits for the reader for one second at most.
pub fn print(text: impl AsRef<[u8]> + Send + 'static) {
    let (done, written) = sync_channel(1);
    let write = move || {
        let _ = open().write_all(text.as_ref());
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = written.recv_timeout(PRINT_TIMEOUT);
    }
}
