//! A panic on any thread fails the test: a job, a server's worker or a load task that dies is not noticed otherwise.

use std::{
    panic,
    sync::{Mutex, Once, PoisonError},
    thread,
};

/// Panics on threads other than a test's own, with where they happened.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts recording. A panic on the test's own thread fails the test by itself and is left to libtest.
pub fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            report(info);
            if !on_test_thread() {
                SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
        }));
    });
}

/// Fails if anything has panicked beside the test.
pub fn assert_none() {
    let seen = std::mem::take(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(seen.is_empty(), "a thread or task panicked beside the test: {}", seen.join("\n"));
}

/// Fails if the log of a process has a panic.
pub fn assert_none_in(log: &str) {
    let panicked = log.lines().find(|line| line.contains("panicked at"));
    assert!(panicked.is_none(), "the process panicked: {log}");
}

/// libtest names the thread of a test after it, module and all; with one thread it uses the main one.
fn on_test_thread() -> bool {
    thread::current().name().is_some_and(|name| name == "main" || name.contains("::"))
}
