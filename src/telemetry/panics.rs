//! Panics. A panic ends the request or the run of a job in which it occurs, and nothing else. Its
//! message is logged and never written to standard error directly, which could block.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    pin::pin,
    task::Poll,
};

thread_local! {
    /// Whether a panic on this thread reaches `catch_panic`, whose caller logs it.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    /// The description of the panic that is on its way to `catch_panic`.
    static DESCRIPTION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
#[derive(Debug)]
pub struct CaughtPanic(String);

impl fmt::Display for CaughtPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Replaces the hook of the standard library, which writes to standard error.
pub(super) fn install_hook() {
    panic::set_hook(Box::new(|info| {
        let description = describe_with_location(info);
        if IS_CAUGHT.get() {
            DESCRIPTION.set(Some(description));
        } else {
            tracing::error!(panic = description, "a thread or task panicked");
        }
    }));
}

/// Calls `run` and catches a panic. The caller drops what `run` was working on, so that no value
/// that may be inconsistent is used again.
pub fn catch_panic<T>(run: impl FnOnce() -> T) -> Result<T, CaughtPanic> {
    let was_caught = IS_CAUGHT.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    IS_CAUGHT.set(was_caught);
    let description = DESCRIPTION.take();
    match (result, description) {
        (Ok(value), None) => Ok(value),
        // A library has caught the panic.
        (Ok(value), Some(description)) => {
            tracing::error!(panic = description, "a panic was caught by a library");
            Ok(value)
        }
        (Err(_), Some(description)) => Err(CaughtPanic(description)),
        // The hook is another one, as in tests.
        (Err(payload), None) => Err(CaughtPanic(format!("panicked: {}", describe(&*payload)))),
    }
}

/// Runs a future and catches a panic.
pub async fn catch_panic_of<F: Future>(future: F) -> Result<F::Output, CaughtPanic> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_panic(|| future.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn describe_with_location(info: &PanicHookInfo<'_>) -> String {
    let message = describe(info.payload());
    match info.location() {
        Some(location) => format!("panicked at {location}: {message}"),
        None => format!("panicked at an unknown location: {message}"),
    }
}

/// Returns the message of a panic up to the first value in quotes, which can be a secret: the
/// message of an invalid string index contains the string.
fn describe(payload: &(dyn Any + Send)) -> String {
    if let Some(literal) = payload.downcast_ref::<&'static str>() {
        return (*literal).to_owned();
    }
    let message = payload.downcast_ref::<String>().map_or("no message", String::as_str);
    match message.split_once(['`', '"', '\'', '\n']) {
        Some((before, _)) => format!("{before}…"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_of_a_future_is_caught_and_the_next_one_runs() {
        let failed = catch_panic_of(async {
            tokio::task::yield_now().await;
            panic!("a fault");
        });
        assert_eq!(failed.await.map(|()| "completed").unwrap_err().to_string(), "panicked: a fault");
        assert_eq!(catch_panic_of(async { 7 }).await.unwrap(), 7);
    }

    #[test]
    fn quoted_values_are_left_out() {
        let secret = format!("ks_{}é", "secret");
        let caught = catch_panic(|| secret[..secret.len() - 1].len()).unwrap_err().to_string();
        assert!(caught.contains("byte index"), "{caught}");
        assert!(!caught.contains("ks_"), "{caught}");
        let numbers = [1, 2, 3];
        let caught = catch_panic(|| numbers[secret.len()]).unwrap_err().to_string();
        assert!(caught.ends_with("the len is 3 but the index is 11"), "{caught}");
    }
}
