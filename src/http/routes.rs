//! The routing table: all URLs of Keyswap.

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    http::Method,
    web::{self, ServiceConfig},
};

use crate::{
    domain::common::origin::Origin,
    http::{
        access::{access_records, audiences, permissions, roles},
        api_keys::{self, service_clients, usage},
        cors,
        credentials::caller,
        directory::{import, members, organizations, users},
        events,
        exchange::{self, token},
        extract::access::{Endpoint, on},
        introspection::{check_access, introspect, revoke, validate},
        oauth_error::OAuthError,
        openapi::pages,
        operations,
        portal::{assets, branding, console_page, key_statistics, portal_page, sessions},
        problem::{Problem, speaks_oauth},
        signing::{signing_keys, well_known},
        status_lists, webhooks,
    },
};

const GET: Method = Method::GET;
const HEAD: Method = Method::HEAD;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Builds an endpoint from a method and a handler, given as `module::handler`. A handler without a
/// `utoipa::path` attribute does not compile.
macro_rules! on {
    ($method:ident, $module:ident::$handler:ident) => {
        pastey::paste! {
            on::<$module::[<__path_ $handler>], _, _>(
                $method,
                concat!(stringify!($module), "_", stringify!($handler)),
                $module::$handler,
            )
        }
    };
}

/// Routes for clients, services and the product.
fn public_routes() -> RouteTable {
    RouteTable::default()
        .at("/oauth/token", vec![on!(POST, token::token)])
        .at("/identity/token", vec![on!(POST, token::token)])
        .at("/.well-known/jwks.json", vec![on!(GET, well_known::jwks), on!(HEAD, well_known::jwks)])
        .at("/.well-known/openid-configuration", vec![on!(GET, well_known::metadata), on!(HEAD, well_known::metadata)])
        .at(
            "/.well-known/oauth-authorization-server",
            vec![on!(GET, well_known::metadata), on!(HEAD, well_known::metadata)],
        )
        .at("/v1/exchange", vec![on!(POST, exchange::exchange)])
        .at("/v1/exchange/explain", vec![on!(POST, exchange::explain)])
        .at("/v1/api-keys", vec![on!(GET, api_keys::list), on!(POST, api_keys::create)])
        .at("/v1/api-keys/validate", vec![on!(POST, validate::validate)])
        .at(
            "/v1/api-keys/{id}",
            vec![on!(GET, api_keys::get), on!(PATCH, api_keys::patch), on!(DELETE, api_keys::delete)],
        )
        .at("/v1/api-keys/{id}/rotate", vec![on!(POST, api_keys::rotate)])
        .at("/v1/api-keys/{id}/cancel-rotation", vec![on!(POST, api_keys::cancel_rotation)])
        .at("/v1/api-keys/{id}/suspend", vec![on!(POST, api_keys::suspend)])
        .at("/v1/api-keys/{id}/resume", vec![on!(POST, api_keys::resume)])
        .at("/v1/api-keys/{id}/revoke", vec![on!(POST, api_keys::revoke)])
        .at("/v1/service-clients", vec![on!(GET, service_clients::list), on!(POST, service_clients::create)])
        .at(
            "/v1/service-clients/{id}",
            vec![
                on!(GET, service_clients::get),
                on!(PATCH, service_clients::patch),
                on!(DELETE, service_clients::delete),
            ],
        )
        .at("/v1/organizations", vec![on!(GET, organizations::list)])
        .at(
            "/v1/organizations/{id}",
            vec![
                on!(GET, organizations::get),
                on!(PUT, organizations::put),
                on!(PATCH, organizations::patch),
                on!(DELETE, organizations::delete),
            ],
        )
        .at("/v1/organizations/{id}/members", vec![on!(GET, members::list)])
        .at(
            "/v1/organizations/{id}/members/{user}",
            vec![
                on!(GET, members::get),
                on!(PUT, members::put),
                on!(PATCH, members::patch),
                on!(DELETE, members::delete),
            ],
        )
        .at("/v1/users", vec![on!(GET, users::list)])
        .at(
            "/v1/users/{id}",
            vec![on!(GET, users::get), on!(PUT, users::put), on!(PATCH, users::patch), on!(DELETE, users::delete)],
        )
        .at("/v1/import", vec![on!(POST, import::import)])
        .at("/v1/roles", vec![on!(GET, roles::list)])
        .at("/v1/roles/{name}", vec![on!(GET, roles::get), on!(PUT, roles::put), on!(DELETE, roles::delete)])
        .at("/v1/permissions", vec![on!(GET, permissions::list)])
        .at(
            "/v1/permissions/{name}",
            vec![on!(GET, permissions::get), on!(PUT, permissions::put), on!(DELETE, permissions::delete)],
        )
        .at("/v1/audiences", vec![on!(GET, audiences::list), on!(POST, audiences::create)])
        .at(
            "/v1/audiences/{id}",
            vec![on!(GET, audiences::get), on!(PATCH, audiences::patch), on!(DELETE, audiences::delete)],
        )
        .at("/v1/portal-sessions", vec![on!(POST, sessions::open)])
        .at("/v1/portal-sessions/current", vec![on!(GET, sessions::current)])
        .at("/widget/v1.js", vec![on!(GET, assets::widget), on!(HEAD, assets::widget)])
        .at("/assets/{hash}/{folder}/{file}", vec![on!(GET, assets::asset), on!(HEAD, assets::asset)])
        .at("/portal/organization-keys", vec![on!(GET, portal_page::page), on!(HEAD, portal_page::page)])
        .at("/portal/user-keys", vec![on!(GET, portal_page::page), on!(HEAD, portal_page::page)])
        .at("/portal/sign-in", vec![on!(POST, portal_page::sign_in)])
        .at("/portal/sign-out", vec![on!(POST, portal_page::sign_out)])
        .at("/console", vec![on!(GET, console_page::page), on!(HEAD, console_page::page)])
        .at("/console/sign-in", vec![on!(POST, console_page::sign_in)])
        .at("/console/sign-out", vec![on!(POST, console_page::sign_out)])
        .at("/v1/caller", vec![on!(GET, caller::get)])
        .at("/v1/overview", vec![on!(GET, key_statistics::get)])
        .at("/v1/branding", vec![on!(GET, branding::get), on!(PUT, branding::put)])
        .at("/v1/signing-keys", vec![on!(GET, signing_keys::list), on!(POST, signing_keys::import)])
        .at("/v1/signing-keys/rotate", vec![on!(POST, signing_keys::rotate)])
        .at("/v1/signing-keys/{kid}/revoke", vec![on!(POST, signing_keys::revoke)])
        .at("/v1/events", vec![on!(GET, events::list)])
        .at("/v1/webhooks", vec![on!(GET, webhooks::list), on!(POST, webhooks::create)])
        .at(
            "/v1/webhooks/{id}",
            vec![on!(GET, webhooks::get), on!(PATCH, webhooks::patch), on!(DELETE, webhooks::delete)],
        )
        .at("/v1/webhooks/{id}/rotate-secret", vec![on!(POST, webhooks::rotate_secret)])
        .at("/v1/webhooks/{id}/test", vec![on!(POST, webhooks::test)])
        .at("/v1/webhooks/{id}/deliveries", vec![on!(GET, webhooks::deliveries)])
        .at("/v1/webhooks/{id}/deliveries/{delivery}/retry", vec![on!(POST, webhooks::retry)])
        .at("/v1/api-keys/{id}/usage", vec![on!(GET, usage::get)])
        .at("/v1/access-records", vec![on!(GET, access_records::list), on!(POST, access_records::create)])
        .at(
            "/v1/access-records/{id}",
            vec![on!(GET, access_records::get), on!(PATCH, access_records::patch), on!(DELETE, access_records::delete)],
        )
        .at("/v1/access/check", vec![on!(POST, check_access::check)])
        .at("/oauth/introspect", vec![on!(POST, introspect::introspect)])
        .at("/oauth/revoke", vec![on!(POST, revoke::revoke)])
        .at("/v1/status-lists/{id}", vec![on!(GET, status_lists::get), on!(HEAD, status_lists::get)])
        .at("/openapi.json", vec![on!(GET, pages::get_document), on!(HEAD, pages::get_document)])
        .at("/docs", vec![on!(GET, pages::get_docs), on!(HEAD, pages::get_docs)])
        .at("/docs/{file}", vec![on!(GET, pages::asset), on!(HEAD, pages::asset)])
}

/// Operations routes on the public listener, for deployments without an operator listener.
fn public_operations_routes() -> RouteTable {
    health_routes().at("/metrics", vec![on!(GET, operations::get_public_metrics)])
}

/// Operations routes on the operator listener.
fn operator_routes() -> RouteTable {
    health_routes().at("/metrics", vec![on!(GET, operations::metrics)])
}

fn health_routes() -> RouteTable {
    RouteTable::default()
        .at("/healthz", vec![on!(GET, operations::healthz), on!(HEAD, operations::healthz)])
        .at("/readyz", vec![on!(GET, operations::readyz), on!(HEAD, operations::readyz)])
}

/// All publicly reachable routes, which the OpenAPI document describes.
pub fn table() -> Vec<(String, Vec<Endpoint>)> {
    public_routes().0.into_iter().chain(public_operations_routes().0).collect()
}

/// Configures the public listener. If the issuer has a path, the routes are served below that path
/// and at the root, because a proxy may or may not strip the path.
pub fn public(config: &mut ServiceConfig, issuer_path: &str, origins: &[Origin], with_operations: bool) {
    if with_operations {
        public_operations_routes().serve(config, "", &[]);
    }
    let prefixes: &[&str] = if issuer_path.is_empty() { &[""] } else { &[issuer_path, ""] };
    for prefix in prefixes {
        public_routes().serve(config, prefix, origins);
    }
    if !issuer_path.is_empty() {
        // RFC 8414 §3.1: the well-known part is inserted between host and path.
        for name in ["oauth-authorization-server", "openid-configuration"] {
            let path = format!("/.well-known/{name}{issuer_path}");
            let metadata = vec![on!(GET, well_known::metadata), on!(HEAD, well_known::metadata)];
            RouteTable::default().at(&path, metadata).serve(config, "", &[]);
        }
    }
    config.default_service(web::to(not_found));
}

/// Configures the operator listener.
pub fn operations(config: &mut ServiceConfig) {
    operator_routes().serve(config, "", &[]);
    config.default_service(web::to(not_found));
}

/// Paths, each with its endpoints.
#[derive(Default)]
struct RouteTable(Vec<(String, Vec<Endpoint>)>);

impl RouteTable {
    fn at(mut self, path: &str, endpoints: Vec<Endpoint>) -> Self {
        self.0.push((path.to_owned(), endpoints));
        self
    }

    /// Registers all paths below `prefix`. Pages of `origins` may call `/v1`.
    fn serve(self, config: &mut ServiceConfig, prefix: &str, origins: &[Origin]) {
        for (path, endpoints) in self.0 {
            let resource = resource(&format!("{prefix}{path}"), endpoints);
            if path.starts_with("/v1/") && !origins.is_empty() {
                config.service(resource.wrap(cors::build_v1_cors(origins)));
            } else {
                config.service(resource);
            }
        }
    }
}

/// A path with its methods. Any other method is answered with 405 and `Allow`, in the error format
/// of the path.
fn resource(path: &str, endpoints: Vec<Endpoint>) -> Resource {
    let allow = endpoints.iter().map(|endpoint| endpoint.method.as_str()).collect::<Vec<_>>().join(", ");
    let resource = endpoints.into_iter().fold(web::resource(path), |resource, endpoint| resource.route(endpoint.route));
    resource.default_service(web::to(move |request: HttpRequest| {
        let allow = allow.clone();
        async move { Err::<HttpResponse, _>(method_not_allowed(&request, allow)) }
    }))
}

fn method_not_allowed(request: &HttpRequest, allow: String) -> actix_web::Error {
    if speaks_oauth(request) {
        OAuthError::method_not_allowed(&allow).into()
    } else {
        Problem::method_not_allowed(allow).into()
    }
}

async fn not_found(request: HttpRequest) -> Result<HttpResponse, actix_web::Error> {
    if speaks_oauth(&request) { Err(OAuthError::not_found().into()) } else { Err(Problem::not_found().into()) }
}
