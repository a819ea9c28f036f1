pub mod conflict;
pub mod document;
pub mod error;
pub mod idempotency;
pub mod reading;
pub mod refresh_gate;
pub mod version;
pub mod write_buffer;
