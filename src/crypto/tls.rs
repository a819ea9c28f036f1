//! Cryptography for TLS, by the library that also signs tokens.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
