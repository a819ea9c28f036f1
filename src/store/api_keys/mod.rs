pub mod authentication;
pub mod credentials;
pub mod expiry_notifications;
pub mod key_row;
pub mod keys;
pub mod owner_status;
pub mod service_clients;
pub mod usage;
