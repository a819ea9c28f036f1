pub mod branding;
pub mod key_statistics;
pub mod sessions;
