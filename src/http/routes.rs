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
        extract::{access::Endpoint, access::on},
        introspection::{check_access, introspect, revoke, validate},
        oauth_error::OAuthError,
        openapi::pages,
        operations,
        portal::{assets, branding, console_page, key_statistics, portal_page, sessions},
        problem::{Problem, is_oauth_path},
        signing::{signing_keys, well_known},
        status_lists, webhooks,
    },
};

/// Paths, each with its endpoints.
type RouteTable = Vec<(&'static str, Vec<Endpoint>)>;

/// Builds a table of routes: paths with methods and handlers, given as `module::handler`. A handler
/// without a `utoipa::path` attribute does not compile.
macro_rules! routes {
    ($($path:literal: $($method:ident $module:ident::$handler:ident),+;)*) => {
        pastey::paste! {
            vec![$((
                $path,
                vec![$(on::<$module::[<__path_ $handler>], _, _>(
                    Method::$method,
                    concat!(stringify!($module), "_", stringify!($handler)),
                    $module::$handler,
                )),+],
            )),*]
        }
    };
}

/// Routes for clients, services and the product.
fn public_routes() -> RouteTable {
    routes! {
        "/oauth/token": POST token::token;
        "/identity/token": POST token::token;
        "/.well-known/jwks.json": GET well_known::jwks, HEAD well_known::jwks;
        "/.well-known/openid-configuration": GET well_known::metadata, HEAD well_known::metadata;
        "/.well-known/oauth-authorization-server": GET well_known::metadata, HEAD well_known::metadata;
        "/v1/exchange": POST exchange::exchange;
        "/v1/exchange/explain": POST exchange::explain;
        "/v1/api-keys": GET api_keys::list, POST api_keys::create;
        "/v1/api-keys/validate": POST validate::validate;
        "/v1/api-keys/{id}": GET api_keys::get, PATCH api_keys::patch, DELETE api_keys::delete;
        "/v1/api-keys/{id}/rotate": POST api_keys::rotate;
        "/v1/api-keys/{id}/cancel-rotation": POST api_keys::cancel_rotation;
        "/v1/api-keys/{id}/suspend": POST api_keys::suspend;
        "/v1/api-keys/{id}/resume": POST api_keys::resume;
        "/v1/api-keys/{id}/revoke": POST api_keys::revoke;
        "/v1/service-clients": GET service_clients::list, POST service_clients::create;
        "/v1/service-clients/{id}":
            GET service_clients::get, PATCH service_clients::patch, DELETE service_clients::delete;
        "/v1/organizations": GET organizations::list;
        "/v1/organizations/{id}":
            GET organizations::get, PUT organizations::put, PATCH organizations::patch, DELETE organizations::delete;
        "/v1/organizations/{id}/members": GET members::list;
        "/v1/organizations/{id}/members/{user}":
            GET members::get, PUT members::put, PATCH members::patch, DELETE members::delete;
        "/v1/users": GET users::list;
        "/v1/users/{id}": GET users::get, PUT users::put, PATCH users::patch, DELETE users::delete;
        "/v1/import": POST import::import;
        "/v1/roles": GET roles::list;
        "/v1/roles/{name}": GET roles::get, PUT roles::put, DELETE roles::delete;
        "/v1/permissions": GET permissions::list;
        "/v1/permissions/{name}": GET permissions::get, PUT permissions::put, DELETE permissions::delete;
        "/v1/audiences": GET audiences::list, POST audiences::create;
        "/v1/audiences/{id}": GET audiences::get, PATCH audiences::patch, DELETE audiences::delete;
        "/v1/portal-sessions": POST sessions::open;
        "/v1/portal-sessions/current": GET sessions::current;
        "/widget/v1.js": GET assets::widget, HEAD assets::widget;
        "/assets/{hash}/{folder}/{file}": GET assets::asset, HEAD assets::asset;
        "/portal/organization-keys": GET portal_page::page, HEAD portal_page::page;
        "/portal/user-keys": GET portal_page::page, HEAD portal_page::page;
        "/portal/sign-in": POST portal_page::sign_in;
        "/portal/sign-out": POST portal_page::sign_out;
        "/console": GET console_page::page, HEAD console_page::page;
        "/console/sign-in": POST console_page::sign_in;
        "/console/sign-out": POST console_page::sign_out;
        "/v1/caller": GET caller::get;
        "/v1/overview": GET key_statistics::get;
        "/v1/branding": GET branding::get, PUT branding::put;
        "/v1/signing-keys": GET signing_keys::list, POST signing_keys::import;
        "/v1/signing-keys/rotate": POST signing_keys::rotate;
        "/v1/signing-keys/{kid}/revoke": POST signing_keys::revoke;
        "/v1/events": GET events::list;
        "/v1/webhooks": GET webhooks::list, POST webhooks::create;
        "/v1/webhooks/{id}": GET webhooks::get, PATCH webhooks::patch, DELETE webhooks::delete;
        "/v1/webhooks/{id}/rotate-secret": POST webhooks::rotate_secret;
        "/v1/webhooks/{id}/test": POST webhooks::test;
        "/v1/webhooks/{id}/deliveries": GET webhooks::deliveries;
        "/v1/webhooks/{id}/deliveries/{delivery}/retry": POST webhooks::retry;
        "/v1/api-keys/{id}/usage": GET usage::get;
        "/v1/access-records": GET access_records::list, POST access_records::create;
        "/v1/access-records/{id}":
            GET access_records::get, PATCH access_records::patch, DELETE access_records::delete;
        "/v1/access/check": POST check_access::check;
        "/oauth/introspect": POST introspect::introspect;
        "/oauth/revoke": POST revoke::revoke;
        "/v1/status-lists/{id}": GET status_lists::get, HEAD status_lists::get;
        "/openapi.json": GET pages::get_document, HEAD pages::get_document;
        "/docs": GET pages::get_docs, HEAD pages::get_docs;
        "/docs/{file}": GET pages::asset, HEAD pages::asset;
    }
}

/// Operations routes on the public listener, for deployments without an operator listener.
fn public_operations_routes() -> RouteTable {
    let mut routes = health_routes();
    routes.extend(routes! { "/metrics": GET operations::get_public_metrics; });
    routes
}

/// Operations routes on the operator listener.
fn operator_routes() -> RouteTable {
    let mut routes = health_routes();
    routes.extend(routes! { "/metrics": GET operations::metrics; });
    routes
}

fn health_routes() -> RouteTable {
    routes! {
        "/healthz": GET operations::healthz, HEAD operations::healthz;
        "/readyz": GET operations::readyz, HEAD operations::readyz;
    }
}

/// All publicly reachable routes, which the OpenAPI document describes.
pub fn all_routes() -> RouteTable {
    public_routes().into_iter().chain(public_operations_routes()).collect()
}

/// Configures the public listener. If the issuer has a path, the routes are served below that path
/// and at the root, because a proxy may or may not strip the path.
pub fn configure_public(config: &mut ServiceConfig, issuer_path: &str, origins: &[Origin], with_operations: bool) {
    if with_operations {
        register_routes(public_operations_routes(), config, "", &[]);
    }
    let prefixes: &[&str] = if issuer_path.is_empty() { &[""] } else { &[issuer_path, ""] };
    for prefix in prefixes {
        register_routes(public_routes(), config, prefix, origins);
    }
    if !issuer_path.is_empty() {
        // RFC 8414 §3.1: the well-known part is inserted between host and path.
        for name in ["oauth-authorization-server", "openid-configuration"] {
            let path = format!("/.well-known/{name}{issuer_path}");
            for (_, endpoints) in routes! { "": GET well_known::metadata, HEAD well_known::metadata; } {
                config.service(build_resource(&path, endpoints));
            }
        }
    }
    config.default_service(web::to(not_found));
}

/// Configures the operator listener.
pub fn configure_operations(config: &mut ServiceConfig) {
    register_routes(operator_routes(), config, "", &[]);
    config.default_service(web::to(not_found));
}

/// Registers all paths below `prefix`. Pages of `origins` may call `/v1`.
fn register_routes(routes: RouteTable, config: &mut ServiceConfig, prefix: &str, origins: &[Origin]) {
    for (path, endpoints) in routes {
        let resource = build_resource(&format!("{prefix}{path}"), endpoints);
        if path.starts_with("/v1/") && !origins.is_empty() {
            config.service(resource.wrap(cors::build_v1_cors(origins)));
        } else {
            config.service(resource);
        }
    }
}

/// A path with its methods. Any other method is answered with 405 and `Allow`, in the error format
/// of the path.
fn build_resource(path: &str, endpoints: Vec<Endpoint>) -> Resource {
    let allow = endpoints.iter().map(|endpoint| endpoint.method.as_str()).collect::<Vec<_>>().join(", ");
    let resource = endpoints.into_iter().fold(web::resource(path), |resource, endpoint| resource.route(endpoint.route));
    resource.default_service(web::to(move |request: HttpRequest| {
        let refusal = method_not_allowed(&request, &allow);
        async { Err::<HttpResponse, _>(refusal) }
    }))
}

fn method_not_allowed(request: &HttpRequest, allow: &str) -> actix_web::Error {
    if is_oauth_path(request) {
        OAuthError::method_not_allowed(allow).into()
    } else {
        Problem::method_not_allowed(allow).into()
    }
}

async fn not_found(request: HttpRequest) -> Result<HttpResponse, actix_web::Error> {
    if is_oauth_path(&request) { Err(OAuthError::not_found().into()) } else { Err(Problem::not_found().into()) }
}
