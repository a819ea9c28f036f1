//! `GET /v1/events`.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, RefOr, Schema, schema::Type},
};

use crate::{
    domain::{
        access::policy::ReadEvents,
        common::time::Span,
        event_filter::{EventFilter, EventOrder},
        events::{Event, EventType},
    },
    http::{
        extract::{Caller, Limit, Query},
        problem::Problem,
        response::Listing,
    },
    service::events,
};

/// Filters and order of the audit log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Maximum number of events to return.
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `seq` of the last event of the previous page, as `next` contains it.
    after: Option<i64>,
    /// Whether the oldest or the newest events come first.
    #[serde(default)]
    #[param(inline)]
    order: EventOrder,
    /// How long to wait for a new event if there is none, at most 30s.
    #[param(value_type = Option<String>, pattern = "^([0-9]|[12][0-9]|30)s$", default = "0s")]
    wait: Option<Span>,
    /// Only events of these types, separated by commas.
    #[serde(rename = "type", default)]
    #[param(inline, style = Form, explode = false)]
    event_types: EventTypes,
    /// Only events of this actor: an id, `type:id`, `cli` or `system`.
    #[param(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    actor: Option<String>,
    /// Only events on this object: an id or `type:id`.
    #[param(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    subject: Option<String>,
    /// Only events in this organization.
    #[param(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    organization: Option<String>,
}

/// Types of events, separated by commas.
#[derive(Debug, Default)]
struct EventTypes(Vec<EventType>);

impl<'de> Deserialize<'de> for EventTypes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.split(',').map(EventType::from_str).collect::<Result<_, _>>().map(Self).map_err(D::Error::custom)
    }
}

// With `schema_with`, utoipa leaves out the description and the style of a parameter.
impl PartialSchema for EventTypes {
    fn schema() -> RefOr<Schema> {
        let names = EventType::ALL.iter().map(|kind| kind.as_str());
        let item = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        ArrayBuilder::new().items(item).min_items(Some(1)).into()
    }
}

impl ToSchema for EventTypes {}

/// Lists the events of the audit log.
///
/// Events are listed oldest first, and can be followed with `after` and `wait`, or newest first.
#[utoipa::path(get, path = "")]
pub async fn list(caller: Caller<ReadEvents>, Query(query): Query<EventQuery>) -> Result<Listing<Event>, Problem> {
    let wait = query.wait.unwrap_or(Span::ZERO);
    let filter = EventFilter {
        order: query.order,
        event_types: query.event_types.0,
        actor: query.actor,
        subject: query.subject,
        organization: query.organization,
    };
    Ok(events::list(&caller.services, filter, query.after, query.limit.0, wait).await?.into())
}
