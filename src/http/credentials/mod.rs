pub mod caller;
pub mod client;
pub mod client_authentication;
