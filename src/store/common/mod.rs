pub mod idempotency;
pub mod retention;
