//! The cryptography of TLS: the same library that signs.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What rustls is to work with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
