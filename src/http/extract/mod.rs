pub mod access;
pub mod body;
pub mod form;
pub mod json;
pub mod query;
pub mod request;
