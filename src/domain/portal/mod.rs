pub mod branding;
pub mod key_counts;
pub mod session;
