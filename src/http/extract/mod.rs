pub mod access;
pub mod body;
pub mod form;
pub mod if_match;
pub mod json;
pub mod path;
pub mod query;
pub mod request;
