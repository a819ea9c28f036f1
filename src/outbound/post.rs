//! Sends one POST request to a third-party server. The duration and the size of the response are
//! bounded, and the connection goes to a checked address only.

use std::{
    error::Error as _,
    fmt,
    future::ready,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{Client, Response, dns, header::RETRY_AFTER, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::{Instant, timeout, timeout_at};
use url::Host;

use crate::{
    domain::webhooks::WebhookUrl,
    outbound::{DestinationError, OutboundGuard, Resolve},
};

/// The deadline covers name resolution, connection, request and response together.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);
/// How many bytes of a response body are read and discarded. Beyond that, the connection is closed.
const BODY_LIMIT: usize = 64 * 1024;
/// How long a response body is read before the connection is closed.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// A response without its body. The body is not needed, and the body of an internal server must not
/// be disclosed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookResponse {
    pub status: u16,
    /// The value of `Retry-After` as received.
    pub retry_after: Option<String>,
}

/// Why there is no response. The messages are fixed texts and contain no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("not sent: {0}")]
    Refused(#[from] DestinationError),
    #[error("the name could not be resolved")]
    NoAddress,
    #[error("failed to connect")]
    ConnectionFailed,
    #[error("failed to establish a trusted TLS connection")]
    Tls,
    #[error("no response within 20 s")]
    TooSlow,
    #[error("the connection broke, or the response is not HTTP")]
    Broken,
}

/// Sends requests to third parties.
pub struct Outbound {
    guard: OutboundGuard,
    resolver: Arc<dyn Resolve>,
    provider: Arc<CryptoProvider>,
    /// The root certificates of the machine are loaded when the first connection needs them.
    tls: OnceLock<Option<ClientConfig>>,
    deadline: Duration,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?})", self.guard)
    }
}

impl Outbound {
    pub const fn new(guard: OutboundGuard, provider: Arc<CryptoProvider>, resolver: Arc<dyn Resolve>) -> Self {
        Self { guard, resolver, provider, tls: OnceLock::new(), deadline: REQUEST_DEADLINE }
    }

    /// Trusts the roots of `tls` instead of the root certificates of the machine.
    #[must_use]
    pub fn with_tls_config(self, tls: ClientConfig) -> Self {
        Self { tls: OnceLock::from(Some(tls)), ..self }
    }

    /// Sets the deadline of a request.
    #[must_use]
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Returns the maximum duration of name resolution, connection, request and response together.
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    pub const fn guard(&self) -> &OutboundGuard {
        &self.guard
    }

    /// Sends `body` once. A redirect is returned as a response and not followed.
    pub async fn post(
        &self,
        url: &WebhookUrl,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<WebhookResponse, RequestError> {
        let deadline = Instant::now() + self.deadline;
        let sent = timeout_at(deadline, self.send_request(url, headers, body)).await;
        let mut response = sent.map_err(|_| RequestError::TooSlow)??;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let summary = WebhookResponse { status: response.status().as_u16(), retry_after };
        // The status and the headers are valid, whatever follows.
        let _ = timeout(BODY_READ_TIMEOUT, drain(&mut response)).await;
        Ok(summary)
    }

    async fn send_request(
        &self,
        url: &WebhookUrl,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Response, RequestError> {
        let client = self.build_client(self.resolve_addresses(url).await?)?;
        let mut request = client.post(url.as_str()).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.map_err(|error| classify_error(&error))
    }

    /// Resolves the host of `url` and returns the permitted addresses.
    async fn resolve_addresses(&self, url: &WebhookUrl) -> Result<Vec<IpAddr>, RequestError> {
        if let Some(fault) = self.guard.check(url).err().and_then(|faults| faults.first().copied()) {
            return Err(fault.into());
        }
        let resolved = match url.host() {
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            Some(Host::Domain(name)) => self.resolver.resolve(name).await.map_err(|_| RequestError::NoAddress)?,
            None => return Err(RequestError::NoAddress),
        };
        let allowed: Vec<_> = resolved.into_iter().filter(|address| self.guard.allows_address(*address)).collect();
        if allowed.is_empty() { Err(DestinationError::AddressNotAllowed.into()) } else { Ok(allowed) }
    }

    /// Returns a client that can reach nothing but `addresses`: every name resolves to them, and
    /// redirects and proxies are disabled. Each request uses a new client, so that no connection
    /// outlives the check under which it was made. TLS sessions are resumed across clients.
    fn build_client(&self, addresses: Vec<IpAddr>) -> Result<Client, RequestError> {
        let builder = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("Keyswap/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(self.tls().ok_or(RequestError::Tls)?.clone())
            .dns_resolver(Arc::new(FixedResolver(addresses)));
        builder.build().map_err(|error| {
            tracing::error!(%error, "failed to create an HTTP client");
            RequestError::ConnectionFailed
        })
    }

    fn tls(&self) -> Option<&ClientConfig> {
        let builder =
            || ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions();
        let config = self.tls.get_or_init(|| {
            let builder = builder().and_then(BuilderVerifierExt::with_platform_verifier).or_else(|error| {
                tracing::error!(%error, "failed to load the root certificates of the machine: no server is trusted");
                builder().map(|builder| builder.with_root_certificates(RootCertStore::empty()))
            });
            builder.ok().map(|config| config.with_no_client_auth())
        });
        config.as_ref()
    }
}

/// A resolver that returns a fixed list of addresses.
struct FixedResolver(Vec<IpAddr>);

impl dns::Resolve for FixedResolver {
    fn resolve(&self, _: dns::Name) -> dns::Resolving {
        // The connector replaces the port with that of the URL.
        let addresses: Vec<_> = self.0.iter().map(|address| SocketAddr::new(*address, 0)).collect();
        Box::pin(ready(Ok(Box::new(addresses.into_iter()) as dns::Addrs)))
    }
}

async fn drain(response: &mut Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > BODY_LIMIT {
            return;
        }
    }
}

/// Classifies an error by its sources. The messages of reqwest contain the URL.
fn classify_error(error: &reqwest::Error) -> RequestError {
    let mut below = error.source();
    while let Some(cause) = below {
        if cause.is::<rustls::Error>() || cause.downcast_ref::<io::Error>().is_some_and(is_tls_error) {
            return RequestError::Tls;
        }
        below = cause.source();
    }
    if error.is_timeout() {
        RequestError::TooSlow
    } else if error.is_connect() {
        RequestError::ConnectionFailed
    } else {
        RequestError::Broken
    }
}

/// `io::Error::source` skips the wrapped error, so this uses `get_ref`. TLS errors are wrapped
/// twice.
fn is_tls_error(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(is_tls_error))
}
