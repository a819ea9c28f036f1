//! The routing table: all URLs of Keyswap.

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    http::Method,
    middleware::from_fn,
    web::{self, ServiceConfig},
};

use crate::http::{
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
};

/// Paths, each with its endpoints.
type RouteTable = Vec<(&'static str, Vec<Endpoint>)>;

/// Builds a table of routes: paths with methods, handlers (`module::handler`) and operation ids. A
/// handler without a `utoipa::path` attribute does not compile.
macro_rules! routes {
    ($($path:literal: $($method:ident $module:ident::$handler:ident as $id:ident),+;)*) => {
        pastey::paste! {
            vec![$((
                $path,
                vec![$(on::<$module::[<__path_ $handler>], _, _>(
                    Method::$method,
                    stringify!($id),
                    $module::$handler,
                )),+],
            )),*]
        }
    };
}

/// Routes for clients, services and the product.
fn public_routes() -> RouteTable {
    routes! {
        "/oauth/token": POST token::token as create_token;
        "/identity/token": POST token::token as create_identity_token;
        "/.well-known/jwks.json": GET well_known::jwks as get_jwks;
        "/.well-known/openid-configuration": GET well_known::metadata as get_openid_configuration;
        "/.well-known/oauth-authorization-server": GET well_known::metadata as get_authorization_server_metadata;
        "/.well-known/oauth-protected-resource/v1": GET well_known::resource_metadata as get_protected_resource_metadata;
        "/v1/exchange": POST exchange::exchange as exchange_api_key;
        "/v1/exchange/explain": POST exchange::explain as explain_exchange;
        "/v1/api-keys": GET api_keys::list as list_api_keys, POST api_keys::create as create_api_key;
        "/v1/api-keys/validate": POST validate::validate as validate_api_key;
        "/v1/api-keys/{id}":
            GET api_keys::get as get_api_key, PATCH api_keys::patch as update_api_key,
            DELETE api_keys::delete as delete_api_key;
        "/v1/api-keys/{id}/rotate": POST api_keys::rotate as rotate_api_key;
        "/v1/api-keys/{id}/cancel-rotation": POST api_keys::cancel_rotation as cancel_api_key_rotation;
        "/v1/api-keys/{id}/suspend": POST api_keys::suspend as suspend_api_key;
        "/v1/api-keys/{id}/resume": POST api_keys::resume as resume_api_key;
        "/v1/api-keys/{id}/revoke": POST api_keys::revoke as revoke_api_key;
        "/v1/service-clients":
            GET service_clients::list as list_service_clients, POST service_clients::create as create_service_client;
        "/v1/service-clients/{id}":
            GET service_clients::get as get_service_client, PATCH service_clients::patch as update_service_client,
            DELETE service_clients::delete as delete_service_client;
        "/v1/organizations": GET organizations::list as list_organizations;
        "/v1/organizations/{id}":
            GET organizations::get as get_organization, PUT organizations::put as put_organization,
            PATCH organizations::patch as update_organization, DELETE organizations::delete as delete_organization;
        "/v1/organizations/{id}/members": GET members::list as list_members;
        "/v1/organizations/{id}/members/{user}":
            GET members::get as get_member, PUT members::put as put_member, PATCH members::patch as update_member,
            DELETE members::delete as delete_member;
        "/v1/users": GET users::list as list_users;
        "/v1/users/{id}":
            GET users::get as get_user, PUT users::put as put_user, PATCH users::patch as update_user,
            DELETE users::delete as delete_user;
        "/v1/users/{id}/lock": POST users::lock as lock_user;
        "/v1/users/{id}/unlock": POST users::unlock as unlock_user;
        "/v1/import": POST import::import as import_directory;
        "/v1/roles": GET roles::list as list_roles;
        "/v1/roles/{name}": GET roles::get as get_role, PUT roles::put as put_role, DELETE roles::delete as delete_role;
        "/v1/permissions": GET permissions::list as list_permissions;
        "/v1/permissions/{name}":
            GET permissions::get as get_permission, PUT permissions::put as put_permission,
            DELETE permissions::delete as delete_permission;
        "/v1/audiences": GET audiences::list as list_audiences, POST audiences::create as create_audience;
        "/v1/audiences/{id}":
            GET audiences::get as get_audience, PATCH audiences::patch as update_audience,
            DELETE audiences::delete as delete_audience;
        "/v1/portal-sessions":
            GET sessions::list as list_portal_sessions, POST sessions::open as create_portal_session,
            DELETE sessions::end_matching as delete_portal_sessions;
        "/v1/portal-sessions/current": GET sessions::current as get_current_portal_session;
        "/v1/portal-sessions/{id}": DELETE sessions::end as delete_portal_session;
        "/widget/v1.js": GET assets::widget as get_widget;
        "/assets/{hash}/{folder}/{file}": GET assets::asset as get_asset;
        "/portal/organization-keys": GET portal_page::page as get_organization_keys_page;
        "/portal/user-keys": GET portal_page::page as get_user_keys_page;
        "/portal/sign-in": POST portal_page::sign_in as create_page_session;
        "/portal/sign-out": POST portal_page::sign_out as delete_page_session;
        "/console": GET console_page::page as get_console;
        "/console/sign-in": POST console_page::sign_in as create_console_session;
        "/console/sign-out": POST console_page::sign_out as delete_console_session;
        "/v1/caller": GET caller::get as get_caller;
        "/v1/overview": GET key_statistics::get as get_key_statistics;
        "/v1/branding": GET branding::get as get_branding, PUT branding::put as put_branding;
        "/v1/signing-keys":
            GET signing_keys::list as list_signing_keys, POST signing_keys::import as import_signing_key;
        "/v1/signing-keys/rotate": POST signing_keys::rotate as rotate_signing_key;
        "/v1/signing-keys/{kid}/revoke": POST signing_keys::revoke as revoke_signing_key;
        "/v1/events": GET events::list as list_events;
        "/v1/webhooks": GET webhooks::list as list_webhooks, POST webhooks::create as create_webhook;
        "/v1/webhooks/{id}":
            GET webhooks::get as get_webhook, PATCH webhooks::patch as update_webhook,
            DELETE webhooks::delete as delete_webhook;
        "/v1/webhooks/{id}/rotate-secret": POST webhooks::rotate_secret as rotate_webhook_secret;
        "/v1/webhooks/{id}/test": POST webhooks::test as test_webhook;
        "/v1/webhooks/{id}/deliveries": GET webhooks::deliveries as list_webhook_deliveries;
        "/v1/webhooks/{id}/deliveries/{delivery}/retry": POST webhooks::retry as retry_webhook_delivery;
        "/v1/api-keys/{id}/usage": GET usage::get as get_api_key_usage;
        "/v1/access-records":
            GET access_records::list as list_access_records, POST access_records::create as create_access_record;
        "/v1/access-records/{id}":
            GET access_records::get as get_access_record, PATCH access_records::patch as update_access_record,
            DELETE access_records::delete as delete_access_record;
        "/v1/access/check": POST check_access::check as check_access;
        "/oauth/introspect": POST introspect::introspect as introspect_token;
        "/oauth/revoke": POST revoke::revoke as revoke_token;
        "/v1/status-lists": GET status_lists::aggregate as get_status_list_aggregation;
        "/v1/status-lists/{id}": GET status_lists::get as get_status_list;
        "/openapi.json": GET pages::get_document as get_openapi_document;
        "/docs": GET pages::get_docs as get_docs;
        "/docs/{file}": GET pages::asset as get_docs_file;
    }
}

/// Operations routes on the public listener, for deployments without an operator listener.
fn public_operations_routes() -> RouteTable {
    routes! {
        "/healthz": GET operations::get_public_healthz as get_health;
        "/readyz": GET operations::get_public_readyz as get_readiness;
        "/metrics": GET operations::get_public_metrics as get_metrics;
    }
}

/// Operations routes on the operator listener.
fn operator_routes() -> RouteTable {
    routes! {
        "/healthz": GET operations::healthz as get_health;
        "/readyz": GET operations::readyz as get_readiness;
        "/metrics": GET operations::metrics as get_metrics;
    }
}

/// All publicly reachable routes, which the OpenAPI document describes.
pub fn all_routes() -> RouteTable {
    public_routes().into_iter().chain(public_operations_routes()).collect()
}

/// Configures the public listener. If the issuer has a path, the routes are served below that path
/// and at the root, because a proxy may or may not strip the path.
pub fn configure_public(config: &mut ServiceConfig, issuer_path: &str, with_operations: bool) {
    if with_operations {
        register_routes(public_operations_routes(), config, "");
    }
    let prefixes: &[&str] = if issuer_path.is_empty() { &[""] } else { &[issuer_path, ""] };
    for prefix in prefixes {
        register_routes(public_routes(), config, prefix);
    }
    if !issuer_path.is_empty() {
        // RFC 8414 §3.1: the well-known part is inserted between host and path.
        let server_metadata = || {
            routes! { "": GET well_known::metadata as get_authorization_server_metadata; }
        };
        let resource_metadata = routes! {
            "": GET well_known::resource_metadata as get_protected_resource_metadata;
        };
        for (path, routes) in [
            (format!("/.well-known/oauth-authorization-server{issuer_path}"), server_metadata()),
            (format!("/.well-known/openid-configuration{issuer_path}"), server_metadata()),
            (format!("/.well-known/oauth-protected-resource{issuer_path}/v1"), resource_metadata),
        ] {
            for (_, endpoints) in routes {
                config.service(build_resource(&path, endpoints).wrap(from_fn(cors::serve_public_document)));
            }
        }
    }
    config.default_service(web::to(not_found));
}

/// Configures the operator listener.
pub fn configure_operations(config: &mut ServiceConfig) {
    register_routes(operator_routes(), config, "");
    config.default_service(web::to(not_found));
}

/// Registers all paths below `prefix`.
fn register_routes(routes: RouteTable, config: &mut ServiceConfig, prefix: &str) {
    for (path, endpoints) in routes {
        let resource = build_resource(&format!("{prefix}{path}"), endpoints);
        if cors::is_public_document(path) {
            config.service(resource.wrap(from_fn(cors::serve_public_document)));
        } else if path.starts_with("/v1/") {
            config.service(resource.wrap(from_fn(cors::serve_allowed_origins)));
        } else {
            config.service(resource);
        }
    }
}

/// A path with its methods. Any other method is answered with 405 and `Allow`, in the error format
/// of the path.
fn build_resource(path: &str, endpoints: Vec<Endpoint>) -> Resource {
    let methods = endpoints.iter().flat_map(|endpoint| {
        let head = (endpoint.method == Method::GET).then_some("HEAD");
        [endpoint.method.as_str()].into_iter().chain(head)
    });
    let options = cors::is_public_document(path).then_some("OPTIONS");
    let allow = methods.chain(options).collect::<Vec<_>>().join(", ");
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
