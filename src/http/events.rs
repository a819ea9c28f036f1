//! `GET /v1/events`.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web::Data};

use crate::{
    domain::{
        access::policy::ReadEvents,
        common::time::Span,
        events::{Event, EventFilter, EventOrder},
    },
    http::{
        extract::{access::Caller, query::Query},
        openapi::{answers::Listing, params::EventQuery},
        problem::Problem,
        response::plain,
    },
    service::{InputFault, Services, events},
};

/// Maximum time that a request waits for the next event.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Lists the events of the audit log.
///
/// Events are listed oldest first, and can be followed with `after` and `wait`, or newest first.
#[utoipa::path(get, path = "", params(EventQuery), responses(Listing<Event>))]
pub async fn list(
    _: Caller<ReadEvents>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request, &["limit", "after", "wait", "order", "type", "actor", "subject", "organization"])?;
    let order = query.parse("order", "oldest or newest")?.unwrap_or_default();
    let filter = EventFilter {
        order,
        event_types: query.text("type").map(|kinds| kinds.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        actor: query.text("actor"),
        subject: query.text("subject"),
        organization: query.text("organization"),
    };
    let after = query.parse("after", "the seq of an event, as `next` gives it")?;
    let wait = query.parse::<Span>("wait", "a length of time, such as 10s")?.unwrap_or(Span::ZERO).duration();
    if order == EventOrder::NewestFirst && wait > Duration::ZERO {
        return Err(Problem::invalid(vec![InputFault::new(
            "wait",
            "only with order=oldest: nothing is added at the other end",
        )]));
    }
    if wait > MAX_WAIT {
        return Err(Problem::invalid(vec![InputFault::new("wait", "may be 30s at most")]));
    }
    Ok(plain(&events::list(&services, filter, after, query.limit()?, wait).await?))
}
