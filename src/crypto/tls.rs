//! Cryptography for TLS, by the library that also signs tokens.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
