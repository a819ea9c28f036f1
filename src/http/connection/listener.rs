//! A listener whose connections have deadlines and a limit. `HttpServer` of actix-web accepts plain
//! TCP streams only, so its parts are assembled here.

use std::{fmt, io, net::TcpListener, sync::Arc, time::Duration};

use actix_http::{HttpService, Protocol, Request, Response};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::{
    TlsError,
    rustls_0_23::{Acceptor, TlsStream},
};
use actix_web::{Error, body::MessageBody, dev::AppConfig, error::DispatchError, rt::net::TcpStream};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::connection::{
    receive_deadline::{HEADER_TIMEOUT, KEEP_ALIVE},
    registry::{ConnectionState, Connections},
    stream::ConnectionStream,
};

const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a request can learn about its connection.
#[derive(Debug)]
pub struct ServedConnection {
    pub state: Arc<ConnectionState>,
    /// Whether TLS ends here, and not at a proxy.
    pub is_tls: bool,
}

/// A stream of a connection, with or without TLS.
trait ServedStream: AsyncRead + AsyncWrite + Unpin + 'static {
    const IS_TLS: bool;
    fn connection(&self) -> &ConnectionStream;
}

impl ServedStream for ConnectionStream {
    const IS_TLS: bool = false;
    fn connection(&self) -> &ConnectionStream {
        self
    }
}

impl ServedStream for TlsStream<ConnectionStream> {
    const IS_TLS: bool = true;
    fn connection(&self) -> &ConnectionStream {
        self.get_ref().0
    }
}

/// The HTTP service of a stream. A macro, because the type of the service cannot be written.
macro_rules! http_service {
    ($stream:ty, $factory:ident, $shutdown:ident) => {{
        let shutdown = $shutdown.clone();
        let service = HttpService::<$stream, _, _>::build()
            .graceful_shutdown_signal(move || {
                let shutdown = shutdown.clone();
                async move { shutdown.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEADER_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(|stream: &$stream, data| {
                let state = Arc::clone(stream.connection().state());
                data.insert(ServedConnection { state, is_tls: <$stream>::IS_TLS });
            })
            .finish($factory());
        fn_service(|stream: $stream| async move {
            let peer = stream.connection().peer_address();
            Ok((stream, Protocol::Http1, peer))
        })
        .and_then(service.map_err(TlsError::Service))
    }};
}

/// Serves an application on a socket that is listening. `app` is called once for each worker.
pub fn listen<F, I, S, B>(
    builder: ServerBuilder,
    socket: TcpListener,
    tls: Option<ServerConfig>,
    connections: Arc<Connections>,
    app: F,
) -> io::Result<ServerBuilder>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let address = socket.local_addr()?;
    let shutdown = builder.graceful_shutdown_signal();
    let name = format!("http-{address}");
    let accept = move |tcp: TcpStream| {
        let stream = ConnectionStream::new(tcp, &connections);
        async { Ok::<_, TlsError<io::Error, DispatchError>>(stream) }
    };
    // The address and the scheme in `AppConfig` are never used: URLs begin with the public URL.
    let factory = move || {
        let app = app().into_factory().map_err(|error| error.into().error_response());
        map_config(app, |()| AppConfig::default())
    };
    match tls {
        None => builder.listen(name, socket, move || {
            fn_service(accept.clone()).and_then(http_service!(ConnectionStream, factory, shutdown))
        }),
        Some(mut config) => {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            builder.listen(name, socket, move || {
                let acceptor = Acceptor::new(config.clone()).map_err(TlsError::into_service_error);
                fn_service(accept.clone()).and_then(acceptor).and_then(http_service!(
                    TlsStream<ConnectionStream>,
                    factory,
                    shutdown
                ))
            })
        }
    }
}
