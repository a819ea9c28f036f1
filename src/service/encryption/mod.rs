pub mod database_progress;
pub mod master_key_usage;
pub mod master_keys;
pub mod re_encryption;
pub mod rollback_guard;
