//! A listener whose connections have deadlines and a limit. `HttpServer` of actix-web accepts plain
//! TCP streams only, so its parts are assembled here.

use std::{fmt, future::ready, io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use actix_http::{HttpService, Protocol, Request, Response, ServiceConfig};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_factory, fn_service, map_config,
};
use actix_tls::accept::{
    TlsError,
    rustls_0_23::{Acceptor, TlsStream},
};
use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::AppConfig,
    error::DispatchError,
    rt::net::TcpStream,
};
use futures_util::{FutureExt as _, TryFutureExt as _};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::connection::{
    http2::{self, Http2},
    receive_deadline::{HEADER_TIMEOUT, KEEP_ALIVE},
    registry::{Connections, ServedConnection},
    stream::ConnectionStream,
};

const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

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

/// The HTTP/1.1 service of a stream. A macro, because the type of the service cannot be written.
macro_rules! http1_service {
    ($stream:ty, $body:ty, $app:expr, $shutdown:expr) => {{
        let shutdown = $shutdown;
        HttpService::<$stream, _, $body>::build()
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
            .finish($app)
    }};
}

/// The service of a stream with TLS: HTTP/2 if the client supports it, otherwise HTTP/1.1. One
/// application serves both.
fn by_protocol<F, S, B>(
    factory: F,
    shutdown: GracefulShutdownSignal,
    connections: Arc<Connections>,
) -> impl ServiceFactory<
    TlsStream<ConnectionStream>,
    Config = (),
    Response = (),
    Error = TlsError<io::Error, DispatchError>,
    InitError = (),
>
where
    F: Fn() -> S,
    S: ServiceFactory<Request, Config = ()> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    fn_factory(move || {
        let (app, shutdown, connections) = (factory().new_service(()), shutdown.clone(), Arc::clone(&connections));
        async move {
            let app = app.await.map_err(|error| tracing::error!(?error, "failed to create the HTTP service"))?;
            let app = Rc::new(app);
            let shared = Rc::clone(&app);
            let factory = fn_factory(move || ready(Ok::<_, ()>(Rc::clone(&shared))));
            let http1 = http1_service!(TlsStream<ConnectionStream>, B, factory, shutdown.clone());
            let http1 = Rc::new(http1.new_service(()).await?);
            let clock = ServiceConfig::default();
            Ok::<_, ()>(fn_service::<_, _, _, _, _, ()>(move |stream: TlsStream<ConnectionStream>| {
                let peer = stream.connection().peer_address();
                if stream.get_ref().1.alpn_protocol() != Some(http2::PROTOCOL) {
                    let served = http1.call((stream, Protocol::Http1, peer));
                    return served.map_err(TlsError::<io::Error, DispatchError>::Service).left_future();
                }
                let state = Arc::clone(stream.connection().state());
                state.set_http2();
                let connection = ServedConnection { state, is_tls: true };
                let http2 = Http2 { app: Rc::clone(&app), connection, peer, clock: clock.clone() };
                let (connections, shutdown) = (Arc::clone(&connections), shutdown.clone());
                let served = async move {
                    let (drain, stop) = (connections.wait_for_drain(), shutdown.notified());
                    if let Err(error) = http2.serve::<_, B>(stream, drain, stop).await {
                        tracing::debug!(%error, "an HTTP/2 connection failed");
                    }
                    Ok(())
                };
                served.right_future()
            }))
        }
    })
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
    let registered = Arc::clone(&connections);
    let accept = move |tcp: TcpStream| {
        let stream = ConnectionStream::new(tcp, &registered);
        async { Ok::<_, TlsError<io::Error, DispatchError>>(stream) }
    };
    // The address and the scheme in `AppConfig` are never used: URLs begin with the public URL.
    let factory = move || {
        let app = app().into_factory().map_err(|error| error.into().error_response());
        map_config(app, |()| AppConfig::default())
    };
    match tls {
        None => builder.listen(name, socket, move || {
            let http1 = http1_service!(ConnectionStream, B, factory(), shutdown.clone());
            let with_peer = fn_service(|stream: ConnectionStream| async move {
                let peer = stream.peer_address();
                Ok((stream, Protocol::Http1, peer))
            });
            fn_service(accept.clone()).and_then(with_peer).and_then(http1.map_err(TlsError::Service))
        }),
        Some(mut config) => {
            config.alpn_protocols = vec![http2::PROTOCOL.to_vec(), b"http/1.1".to_vec()];
            builder.listen(name, socket, move || {
                let acceptor = Acceptor::new(config.clone()).map_err(TlsError::into_service_error);
                let served = by_protocol::<_, _, B>(factory.clone(), shutdown.clone(), Arc::clone(&connections));
                fn_service(accept.clone()).and_then(acceptor).and_then(served)
            })
        }
    }
}
