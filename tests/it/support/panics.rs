//! Detects panics on threads other than the test's own. Without it, a panic in a job, a server
//! worker or a load task would go unnoticed.

use std::{
    panic,
    sync::{Mutex, Once, PoisonError},
    thread,
};

/// Messages and locations of panics outside of test threads.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Installs the panic hook. A panic on the test's own thread is left to libtest, which fails the
/// test.
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

/// Fails if a thread other than the test's own has panicked.
pub fn assert_none() {
    let seen = std::mem::take(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(seen.is_empty(), "a thread or task panicked beside the test: {}", seen.join("\n"));
}

/// Fails if the log of a process contains a panic message.
pub fn assert_none_in(log: &str) {
    let panicked = log.lines().find(|line| line.contains("panicked at"));
    assert!(panicked.is_none(), "the process panicked: {log}");
}

/// libtest names each test thread after the test's full path. With a single thread it runs tests on
/// the main thread.
fn on_test_thread() -> bool {
    thread::current().name().is_some_and(|name| name == "main" || name.contains("::"))
}
