pub mod assets;
pub mod branding;
pub mod console_page;
pub mod cookie;
pub mod key_statistics;
pub mod page;
pub mod portal_page;
pub mod sessions;
