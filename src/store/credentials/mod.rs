pub mod credential_usage;
pub mod key_context;
pub mod key_details;
pub mod key_statements;
pub mod rate_windows;
pub mod revoked_tokens;
