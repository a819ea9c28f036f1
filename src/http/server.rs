//! The HTTP server: listeners, limits and graceful shutdown.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZero,
    sync::Arc,
    thread::available_parallelism,
};

use actix_web::{
    App as ActixApp,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::{
    config::sections::Server as ServerSettings,
    http::{
        connection::{self, registry::Connections},
        extract::{client_address::TrustedProxies, request::attach_request_context},
        openapi::pages::DocsPages,
        portal::assets::Assets,
        problem::path_of,
        routes,
        tls::{self, Certificates, TlsError},
    },
    service::Services,
};

/// Why the server does not start or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("failed to listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
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

fn start_listening(socket: Socket, address: SocketAddr) -> Result<TcpListener, ServeError> {
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
    certificates: Option<Arc<Certificates>>,
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

    /// The TLS certificates of the public server.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Runs until a handle stops the servers. They then accept no connections, and if the stop is
    /// graceful, requests in flight complete within `shutdown_timeout`. Signals are caught by the
    /// command line.
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
    let live = services.live.clone();
    let services = web::Data::from(services);
    let trusted = web::Data::new(TrustedProxies::new(live.clone()));
    let shutdown = settings.shutdown_timeout.as_secs();
    let limit = raise_connection_limit(settings.max_connections, services.settings.database.pool_size);
    let operations_here = bound.admin_socket.is_none();
    let certificates = live.load().tls.as_ref().map(Certificates::load).transpose()?.map(Arc::new);
    let tls = certificates.clone().map(tls::configure).transpose()?;
    let builder = |workers: usize, limit: usize| {
        // Connections that are being closed for others still have a descriptor. The listener waits
        // for their end when there are too many of them.
        let limit = (limit + MAX_CLOSING_CONNECTIONS).div_ceil(workers);
        let builder = Server::build().workers(workers).max_concurrent_connections(limit);
        builder.shutdown_timeout(shutdown).disable_signals()
    };
    // A connection whose handshake stalls is closed like any other. The default of 256 would stop
    // the listener long before the limit.
    actix_tls::accept::max_concurrent_tls_connect(limit);
    let workers = available_parallelism().map_or(1, NonZero::get);
    let (public_app, public_trusted) = (services.clone(), trusted.clone());
    let connections = Connections::new(limit, Some(services.clone().into_inner()));
    let app = move || {
        ActixApp::new()
            .app_data(public_app.clone())
            .app_data(public_trusted.clone())
            .app_data(pages.clone())
            .app_data(assets.clone())
            .wrap(from_fn(attach_request_context))
            .configure(|config| routes::configure_public(config, &issuer_path, operations_here))
    };
    let socket = start_listening(bound.socket, bound.address)?;
    let public = connection::listener::listen(builder(workers, limit), socket, tls, connections, app)?.run();
    let admin = match bound.admin_socket {
        None => None,
        Some(socket) => {
            let connections = Connections::new(MAX_ADMIN_CONNECTIONS, None);
            let app = move || {
                ActixApp::new()
                    .app_data(services.clone())
                    .app_data(trusted.clone())
                    .wrap(from_fn(attach_request_context))
                    .configure(routes::configure_operations)
            };
            let socket = start_listening(socket, bound.admin_address.unwrap_or(bound.address))?;
            Some(connection::listener::listen(builder(1, MAX_ADMIN_CONNECTIONS), socket, None, connections, app)?.run())
        }
    };
    Ok(Servers { public, admin, certificates })
}

/// Maximum number of connections of the operator listener.
const MAX_ADMIN_CONNECTIONS: usize = 64;
/// Maximum number of connections that are being closed because there are more than the limit.
const MAX_CLOSING_CONNECTIONS: usize = 32;
/// File descriptors that are kept for everything but connections of clients: the database,
/// webhooks, files, and listeners.
const RESERVED_DESCRIPTORS: u64 = 128;

/// Raises the limit of open files to its maximum, and returns the maximum number of connections of
/// the public listener.
fn raise_connection_limit(configured: u32, pool_size: u32) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let reserved =
        RESERVED_DESCRIPTORS + (MAX_ADMIN_CONNECTIONS + MAX_CLOSING_CONNECTIONS) as u64 + u64::from(pool_size);
    // A server with a very low limit serves with half of it.
    let available = descriptors.map_or(u64::MAX, |all| all.saturating_sub(reserved).max(all / 2));
    let connections = u64::from(configured).min(available);
    if connections < u64::from(configured) {
        tracing::warn!(
            descriptors,
            connections,
            "the limit of open files allows fewer connections than server.max_connections; raise it (ulimit -n, LimitNOFILE)"
        );
    }
    usize::try_from(connections).unwrap_or(usize::MAX)
}
