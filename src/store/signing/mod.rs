pub mod clock;
pub mod live_tokens;
pub mod manifest;
pub mod replicas;
pub mod signing_keys;
pub mod stored_keys;
