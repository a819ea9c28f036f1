pub mod api_key;
pub mod error;
pub mod expiry_notification;
pub mod format;
pub mod imported;
