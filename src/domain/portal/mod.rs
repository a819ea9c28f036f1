pub mod branding;
pub mod session;
