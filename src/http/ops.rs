//! For operators and their machines.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
    web::Data,
};

use crate::{
    domain::policy::ReadMetrics,
    service::{App, health},
};

use super::access::{Anyone, Caller};

/// The process is up. Says nothing about the database: restarting would not help that.
pub async fn healthz(_: Anyone) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain").body("ok\n")
}

/// Whether to send requests here.
pub async fn readyz(_: Anyone, app: Data<App>) -> HttpResponse {
    let readiness = health::readiness(&app).await;
    let mut response = if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !readiness.ready {
        response.insert_header((RETRY_AFTER, 1));
    }
    response.insert_header((CACHE_CONTROL, "no-store")).json(readiness)
}

/// On the listener of the operators, which is theirs alone.
pub async fn metrics(_: Anyone, app: Data<App>) -> HttpResponse {
    scrape(&app)
}

/// On the listener that everyone reaches.
pub async fn metrics_in_public(_: Caller<ReadMetrics>, app: Data<App>) -> HttpResponse {
    scrape(&app)
}

fn scrape(app: &App) -> HttpResponse {
    let view = app.keys.view();
    app.metrics.observe(view.published.len(), view.age(), app.last_used.waiting());
    match app.metrics.encode() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
            .body(text),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}
