pub mod document;
pub mod error;
pub mod idempotency;
pub mod locks;
pub mod reading;
pub mod version;
