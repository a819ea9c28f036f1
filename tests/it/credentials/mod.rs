//! What a credential proves: the stored context of a key, tokens for `/v1`, and last-used times.

mod derived;
mod exactness;
mod key_context;
mod last_used;
mod narrow_rows;
mod narrow_validations;
mod presented_tokens;
mod tokens;
