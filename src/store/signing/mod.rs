pub mod clock;
pub mod live_tokens;
pub mod replicas;
pub mod signing_keys;
