pub mod claims;
pub mod facts;
pub mod grant;
pub mod introspection;
pub mod refusal;
pub mod usage;
pub mod validation;
