pub mod claims;
pub mod grant;
pub mod introspection;
pub mod key_context;
pub mod refusal;
pub mod usage;
pub mod validation;
