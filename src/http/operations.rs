//! Health and metrics endpoints, for operators and monitoring systems.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY},
    web::Data,
};

use crate::{
    domain::access::policy::ReadMetrics,
    http::{
        accept::prefers,
        extract::{Caller, Unauthenticated},
        openapi::responses::{Liveness, Metrics, ProbeResponse},
        problem::Problem,
    },
    service::{
        Services,
        health::{self, NoteDetail, Readiness},
    },
    telemetry::text_format::from_open_metrics,
};

/// Returns 200 while the process and its background jobs run, on the operator listener.
#[utoipa::path(get, path = "", responses(Liveness))]
pub async fn healthz(_: Unauthenticated, services: Data<Services>) -> HttpResponse {
    render_liveness(health::describe_liveness_fault(&services, NoteDetail::Remedy))
}

/// Returns 200 while the process and its background jobs run.
#[utoipa::path(get, path = "", responses(Liveness))]
pub async fn get_public_healthz(_: Unauthenticated, services: Data<Services>) -> HttpResponse {
    render_liveness(health::describe_liveness_fault(&services, NoteDetail::Condition))
}

fn render_liveness(fault: Option<String>) -> HttpResponse {
    let (mut response, text) = match fault {
        None => (HttpResponse::Ok(), "ok\n".to_owned()),
        Some(fault) => (HttpResponse::ServiceUnavailable(), format!("{fault}\n")),
    };
    response.insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain").body(text)
}

/// Returns whether this instance can serve requests, on the operator listener.
#[utoipa::path(get, path = "", responses(ProbeResponse<Readiness>))]
pub async fn readyz(_: Unauthenticated, services: Data<Services>) -> HttpResponse {
    render_readiness(health::check_readiness(&services, NoteDetail::Remedy).await)
}

/// Returns whether this instance can serve requests.
#[utoipa::path(get, path = "", responses(ProbeResponse<Readiness>))]
pub async fn get_public_readyz(_: Unauthenticated, services: Data<Services>) -> HttpResponse {
    render_readiness(health::check_readiness(&services, NoteDetail::Condition).await)
}

fn render_readiness(readiness: Readiness) -> HttpResponse {
    let mut response = if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !readiness.ready {
        response.insert_header((RETRY_AFTER, 1));
    }
    response.insert_header((CACHE_CONTROL, "no-store")).json(readiness)
}

/// Returns counters and gauges, on the operator listener.
#[utoipa::path(get, path = "", responses(Metrics))]
pub async fn metrics(_: Unauthenticated, request: HttpRequest, services: Data<Services>) -> HttpResponse {
    render_metrics(&services, &request)
}

/// Returns counters and gauges in the format that `Accept` requests.
///
/// The format is OpenMetrics if `Accept` names it, otherwise the text format of Prometheus.
#[utoipa::path(get, path = "", responses(Metrics))]
pub async fn get_public_metrics(caller: Caller<ReadMetrics>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Ok(render_metrics(&caller.services, &request))
}

const OPEN_METRICS: &str = "application/openmetrics-text";

fn render_metrics(services: &Services, request: &HttpRequest) -> HttpResponse {
    let view = services.keys.view();
    services.update_database_metrics();
    services.metrics.set_sampled_gauges(view.published.len(), view.age(), services.last_used.count_waiting());
    services
        .metrics
        .set_status_list_ages(services.status_lists.build_age(), services.status_lists.seconds_until_first_expiry());
    services.metrics.database.set_heartbeat_age(health::heartbeat_age(services));
    let is_open_metrics = prefers(request.headers(), OPEN_METRICS, "text/plain");
    let (text, content_type) = if is_open_metrics {
        (services.metrics.encode(), "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (
            services.metrics.encode().and_then(|text| from_open_metrics(&text)),
            "text/plain; version=0.0.4; charset=utf-8",
        )
    };
    match text {
        Ok(text) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, content_type))
            .insert_header((VARY, "Accept"))
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(text),
        Err(error) => {
            tracing::error!(%error, "failed to encode metrics");
            HttpResponse::InternalServerError().finish()
        }
    }
}
