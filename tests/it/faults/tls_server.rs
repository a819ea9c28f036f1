//! A server with TLS in a process of its own, and its certificate.

use std::{fs, net::SocketAddr, path::Path};

use reqwest::{Certificate, Client};

use super::process::{Deployment, Process, Running};

/// A self-signed certificate for localhost.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Identity {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    pub fn write(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("tls.crt"), &self.certificate).unwrap();
        fs::write(dir.join("tls.key"), &self.key).unwrap();
    }

    /// A client that trusts this certificate only, and connects to `address`.
    pub fn client(&self, address: SocketAddr) -> Client {
        let root = Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        Client::builder().tls_certs_only([root]).resolve("localhost", address).build().unwrap()
    }
}

/// Starts a server whose TLS files are in `dir`.
pub fn serve_tls(deployment: &Deployment, dir: &Path) -> Running {
    serve_tls_with(deployment, dir, &[])
}

/// Like `serve_tls`, with options of `keyswap serve`.
pub fn serve_tls_with(deployment: &Deployment, dir: &Path, options: &[&str]) -> Running {
    let certificate = format!("server.tls_certificate={}", dir.join("tls.crt").display());
    let key = format!("server.tls_key={}", dir.join("tls.key").display());
    let deployment = deployment.with(&[&certificate, &key, "server.public_url=https://keyswap.test"]);
    Process::spawn(deployment.command(&[&["serve"], options].concat())).ready()
}

/// The address that a server listens on.
pub fn address(server: &Running) -> SocketAddr {
    server.base.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A URL of the server that its certificate is valid for.
pub fn url(server: &Running, path: &str) -> String {
    format!("https://localhost:{}{path}", address(server).port())
}
