pub mod credential_usage;
pub mod key_context;
pub mod key_details;
pub mod key_statements;
pub mod narrow_lookup;
pub mod rate_windows;
pub mod revoked_tokens;
pub mod shared_facts;
