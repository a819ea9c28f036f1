//! The applicable requirements of the standards, each as a test; a comment names its requirement.

mod cors;
mod http;
mod jose;
mod key_format;
mod operations;
mod rfc6749;
mod rfc6750;
mod rfc8414;
mod rfc8693;
mod rfc8707;
pub mod rfc8725;
mod rfc9068;
