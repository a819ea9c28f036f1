//! Every URL, on one screen.

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route,
    http::Method,
    web::{self, ServiceConfig},
};

use super::{
    access::on,
    oauth::{error::OauthError, token},
    ops,
    problem::{Problem, speaks_oauth},
    v1::{
        api_keys, audiences, events, exchange, members, organizations, permissions, roles, service_clients,
        signing_keys, users,
    },
    well_known::{jwks, metadata},
};

const GET: Method = Method::GET;
const HEAD: Method = Method::HEAD;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Everything that clients, services and the product use. Below the path of the issuer, where it has one, and at the root as
/// well: a proxy may or may not strip the path.
pub fn public(config: &mut ServiceConfig, issuer_path: &str, with_operations: bool) {
    if with_operations {
        config.configure(health).service(resource("/metrics", vec![on(GET, ops::metrics_in_public)]));
    }
    let prefixes: &[&str] = if issuer_path.is_empty() { &[""] } else { &[issuer_path, ""] };
    for prefix in prefixes {
        let at = |path: &str, routes: Vec<(Method, Route)>| resource(&format!("{prefix}{path}"), routes);
        config
            .service(at("/oauth/token", vec![on(POST, token::token)]))
            .service(at("/identity/token", vec![on(POST, token::token)]))
            .service(at("/.well-known/jwks.json", vec![on(GET, jwks), on(HEAD, jwks)]))
            .service(at("/.well-known/openid-configuration", vec![on(GET, metadata), on(HEAD, metadata)]))
            .service(at("/.well-known/oauth-authorization-server", vec![on(GET, metadata), on(HEAD, metadata)]))
            .service(at("/v1/exchange", vec![on(POST, exchange::exchange)]))
            .service(at("/v1/exchange/explain", vec![on(POST, exchange::explain)]))
            .service(at("/v1/api-keys", vec![on(GET, api_keys::list), on(POST, api_keys::create)]))
            .service(at(
                "/v1/api-keys/{id}",
                vec![on(GET, api_keys::get), on(PATCH, api_keys::patch), on(DELETE, api_keys::delete)],
            ))
            .service(at("/v1/api-keys/{id}/rotate", vec![on(POST, api_keys::rotate)]))
            .service(at("/v1/api-keys/{id}/suspend", vec![on(POST, api_keys::suspend)]))
            .service(at("/v1/api-keys/{id}/resume", vec![on(POST, api_keys::resume)]))
            .service(at("/v1/api-keys/{id}/revoke", vec![on(POST, api_keys::revoke)]))
            .service(at("/v1/service-clients", vec![on(GET, service_clients::list), on(POST, service_clients::create)]))
            .service(at(
                "/v1/service-clients/{id}",
                vec![
                    on(GET, service_clients::get),
                    on(PATCH, service_clients::patch),
                    on(DELETE, service_clients::delete),
                ],
            ))
            .service(at("/v1/organizations", vec![on(GET, organizations::list)]))
            .service(at(
                "/v1/organizations/{id}",
                vec![
                    on(GET, organizations::get),
                    on(PUT, organizations::put),
                    on(PATCH, organizations::patch),
                    on(DELETE, organizations::delete),
                ],
            ))
            .service(at("/v1/organizations/{id}/members", vec![on(GET, members::list)]))
            .service(at(
                "/v1/organizations/{id}/members/{user}",
                vec![
                    on(GET, members::get),
                    on(PUT, members::put),
                    on(PATCH, members::patch),
                    on(DELETE, members::delete),
                ],
            ))
            .service(at("/v1/users", vec![on(GET, users::list)]))
            .service(at(
                "/v1/users/{id}",
                vec![on(GET, users::get), on(PUT, users::put), on(PATCH, users::patch), on(DELETE, users::delete)],
            ))
            .service(at("/v1/roles", vec![on(GET, roles::list)]))
            .service(at("/v1/roles/{name}", vec![on(GET, roles::get), on(PUT, roles::put), on(DELETE, roles::delete)]))
            .service(at("/v1/permissions", vec![on(GET, permissions::list)]))
            .service(at(
                "/v1/permissions/{name}",
                vec![on(GET, permissions::get), on(PUT, permissions::put), on(DELETE, permissions::delete)],
            ))
            .service(at("/v1/audiences", vec![on(GET, audiences::list), on(POST, audiences::create)]))
            .service(at(
                "/v1/audiences/{id}",
                vec![on(GET, audiences::get), on(PATCH, audiences::patch), on(DELETE, audiences::delete)],
            ))
            .service(at("/v1/signing-keys", vec![on(GET, signing_keys::list)]))
            .service(at("/v1/signing-keys/rotate", vec![on(POST, signing_keys::rotate)]))
            .service(at("/v1/events", vec![on(GET, events::list)]));
    }
    if !issuer_path.is_empty() {
        // RFC 8414 §3.1: the well-known part goes between host and path.
        for name in ["oauth-authorization-server", "openid-configuration"] {
            let path = format!("/.well-known/{name}{issuer_path}");
            config.service(resource(&path, vec![on(GET, metadata), on(HEAD, metadata)]));
        }
    }
    config.default_service(web::to(not_found));
}

/// What operators and their machines use, on a listener of their own.
pub fn operations(config: &mut ServiceConfig) {
    config.configure(health).service(resource("/metrics", vec![on(GET, ops::metrics)]));
    config.default_service(web::to(not_found));
}

fn health(config: &mut ServiceConfig) {
    config
        .service(resource("/healthz", vec![on(GET, ops::healthz), on(HEAD, ops::healthz)]))
        .service(resource("/readyz", vec![on(GET, ops::readyz), on(HEAD, ops::readyz)]));
}

/// A path with its methods; any other method is answered 405 with `Allow`, in the form the path speaks.
fn resource(path: &str, routes: Vec<(Method, Route)>) -> Resource {
    let allow = routes.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
    let resource = routes.into_iter().fold(web::resource(path), |resource, (_, route)| resource.route(route));
    resource.default_service(web::to(move |request: HttpRequest| {
        let allow = allow.clone();
        async move { Err::<HttpResponse, _>(method_not_allowed(&request, allow)) }
    }))
}

fn method_not_allowed(request: &HttpRequest, allow: String) -> actix_web::Error {
    if speaks_oauth(request) {
        OauthError::method_not_allowed(&allow).into()
    } else {
        Problem::method_not_allowed(allow).into()
    }
}

async fn not_found(request: HttpRequest) -> Result<HttpResponse, actix_web::Error> {
    if speaks_oauth(&request) { Err(OauthError::not_found().into()) } else { Err(Problem::not_found().into()) }
}
