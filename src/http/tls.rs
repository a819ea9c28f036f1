//! The TLS certificate of the server, which is replaced while connections are open.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{config::live::TlsFiles, crypto};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("failed to read {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, String),
    /// Also while the files are replaced one after the other.
    #[error("the TLS certificate and key do not match: {0}")]
    Mismatch(rustls::Error),
    #[error("failed to configure TLS: {0}")]
    Configuration(rustls::Error),
}

/// The certificate and its key, as they were last read. Each handshake takes the current ones.
pub struct Certificates(ArcSwap<CertifiedKey>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::from_pointee(read(files)?)))
    }

    /// Reads the files and uses what they contain from the next handshake on. After an error, the
    /// previous certificate stays in use. Returns whether the certificate is another one.
    pub fn reload(&self, files: &TlsFiles) -> Result<bool, TlsError> {
        let new = read(files)?;
        let is_other = new.cert != self.0.load().cert;
        self.0.store(Arc::new(new));
        Ok(is_other)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let unreadable = |path: &Path, error: &dyn fmt::Display| TlsError::Unreadable(path.to_owned(), error.to_string());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(unreadable(&files.certificate, &"it contains no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
    CertifiedKey::from_der(chain, key, &crypto::tls::crypto_provider()).map_err(|error| {
        let is_mismatch = matches!(error, rustls::Error::InconsistentKeys(_));
        if is_mismatch { TlsError::Mismatch(error) } else { unreadable(&files.key, &error) }
    })
}

/// Supports TLS 1.2 and 1.3, the defaults of rustls.
pub fn configure(certificates: Arc<Certificates>) -> Result<ServerConfig, TlsError> {
    ServerConfig::builder_with_provider(crypto::tls::crypto_provider())
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth().with_cert_resolver(certificates))
        .map_err(TlsError::Configuration)
}
