//! The HTTP server: listeners, limits and graceful shutdown.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App as ActixApp, HttpServer,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use socket2::{Domain, Socket, Type};

use crate::{
    config::sections::Server as ServerSettings,
    crypto,
    http::{
        extract::{request::TrustedProxies, request::attach_request_context},
        openapi::pages::DocsPages,
        portal::assets::Assets,
        problem::path_of,
        routes,
    },
    service::Services,
};

/// Why the server does not start or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("failed to listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    #[error("failed to read {}: {}", .0.display(), .1)]
    TlsFile(std::path::PathBuf, String),
    #[error("the TLS certificate and key do not match: {0}")]
    Tls(rustls::Error),
    #[error("the server stopped: {0}")]
    Io(#[from] io::Error),
}

/// Sockets that are bound but not listening yet. Until the server can respond, a connection attempt
/// is refused instead of left waiting.
#[derive(Debug)]
pub struct BoundListeners {
    /// The bound address. Its port is the actual one if the configured port is 0.
    pub address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
    socket: Socket,
    admin_socket: Option<Socket>,
}

/// Binds the configured addresses.
pub fn bind(settings: &ServerSettings) -> Result<BoundListeners, ServeError> {
    let (socket, address) = bind_socket(settings.bind)?;
    let admin = settings.admin_bind.map(bind_socket).transpose()?;
    let (admin_socket, admin_address) = admin.unzip();
    Ok(BoundListeners { address, admin_address, socket, admin_socket })
}

fn bind_socket(address: SocketAddr) -> Result<(Socket, SocketAddr), ServeError> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let real = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket, real))
    };
    bound().map_err(|error| ServeError::Bind(address, error))
}

fn listen(socket: Socket, address: SocketAddr) -> Result<TcpListener, ServeError> {
    socket.listen(LISTEN_BACKLOG).map_err(|error| ServeError::Bind(address, error))?;
    Ok(socket.into())
}

/// Maximum number of connections that wait to be accepted. Many clients connect at once if their
/// tokens expire in the same second.
const LISTEN_BACKLOG: i32 = 4096;

/// The public server and, if `admin_bind` is set, the operator server.
pub struct Servers {
    public: Server,
    admin: Option<Server>,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Servers")
    }
}

impl Servers {
    /// Handles for stopping the servers.
    pub fn handles(&self) -> Vec<ServerHandle> {
        std::iter::once(&self.public).chain(&self.admin).map(Server::handle).collect()
    }

    /// Runs until SIGTERM. The servers then accept no connections, and requests in flight complete
    /// within `shutdown_timeout`. SIGINT stops the servers at once.
    pub async fn run(self) -> Result<(), ServeError> {
        match self.admin {
            None => self.public.await?,
            Some(admin) => {
                let (public, admin) = futures_util::future::join(self.public, admin).await;
                public?;
                admin?;
            }
        }
        Ok(())
    }
}

/// Starts listening on the bound addresses.
pub fn serve(bound: BoundListeners, services: Arc<Services>) -> Result<Servers, ServeError> {
    let issuer_path = path_of(services.issuer()).to_owned();
    let pages = web::Data::new(DocsPages::new(services.issuer()));
    let assets = web::Data::new(Assets::new());
    let settings = services.settings.server.clone();
    let origins = services.settings.portal.allowed_origins.clone();
    let services = web::Data::from(services);
    let trusted = web::Data::new(TrustedProxies(settings.trusted_proxies));
    let shutdown = settings.shutdown_timeout.as_secs();
    let operations_here = bound.admin_socket.is_none();
    let (public_app, public_trusted) = (services.clone(), trusted.clone());
    let public = HttpServer::new(move || {
        ActixApp::new()
            .app_data(public_app.clone())
            .app_data(public_trusted.clone())
            .app_data(pages.clone())
            .app_data(assets.clone())
            .wrap(from_fn(attach_request_context))
            .configure(|config| routes::configure_public(config, &issuer_path, &origins, operations_here))
    })
    .client_request_timeout(HEADER_TIMEOUT)
    .client_disconnect_timeout(Duration::from_secs(2))
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(shutdown);
    let public = match settings.tls_certificate.zip(settings.tls_key) {
        None => public.listen(listen(bound.socket, bound.address)?)?,
        Some((certificate, key)) => {
            public.listen_rustls_0_23(listen(bound.socket, bound.address)?, tls(&certificate, &key)?)?
        }
    };
    let admin = match bound.admin_socket {
        None => None,
        Some(socket) => {
            let server = HttpServer::new(move || {
                ActixApp::new()
                    .app_data(services.clone())
                    .app_data(trusted.clone())
                    .wrap(from_fn(attach_request_context))
                    .configure(routes::configure_operations)
            });
            Some(
                server
                    .workers(1)
                    .client_request_timeout(HEADER_TIMEOUT)
                    .shutdown_timeout(shutdown)
                    .listen(listen(socket, bound.admin_address.unwrap_or(bound.address))?)?,
            )
        }
    };
    Ok(Servers { public: public.run(), admin: admin.map(HttpServer::run) })
}

/// Time limit for receiving the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the usual 60 s of load balancers, so that they close idle connections first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Supports TLS 1.2 and 1.3, the defaults of rustls.
fn tls(certificate: &Path, key: &Path) -> Result<rustls::ServerConfig, ServeError> {
    let unreadable =
        |path: &Path, error: &dyn std::fmt::Display| ServeError::TlsFile(path.to_owned(), error.to_string());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    rustls::ServerConfig::builder_with_provider(crypto::tls::crypto_provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(ServeError::Tls)
}
