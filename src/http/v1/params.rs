//! Query strings, ids in paths, and conditional headers.

use std::{collections::BTreeMap, str::FromStr};

use actix_web::{HttpRequest, http::header::IF_MATCH};

use crate::{domain::page::PageRequest, http::problem::Problem, service::Fault};

/// The parameters of a query string, each at most once, and none that the path does not know.
pub struct Query(BTreeMap<String, String>);

impl Query {
    pub fn of(request: &HttpRequest, known: &[&str]) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(Problem::bad_request(format!(
                    "unknown parameter in the URL; known are: {}",
                    known.join(", ")
                )));
            }
            if value.contains(char::is_control) {
                // No value has one, and PostgreSQL takes no NUL in a text.
                return Err(Problem::bad_request("a parameter in the URL has a control character"));
            }
            if value.is_empty() {
                // Passed over, it would widen what was asked for: a filter by nobody is no filter.
                return Err(Problem::bad_request("a parameter in the URL is empty: leave it out, or give it a value"));
            }
            if values.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Problem::bad_request("a parameter stands twice in the URL"));
            }
        }
        Ok(Self(values))
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    pub fn parse<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(|value| value.parse()).transpose();
        parsed.map_err(|_| Problem::invalid(vec![Fault::new(name, format!("must be {expected}"))]))
    }

    pub fn page(&self) -> Result<PageRequest, Problem> {
        Ok(PageRequest { limit: self.limit()?, after: self.text("after") })
    }

    pub fn limit(&self) -> Result<i64, Problem> {
        let limit = self.parse("limit", "a number from 1 to 100")?.unwrap_or(PageRequest::DEFAULT_LIMIT);
        if (1..=PageRequest::MAX_LIMIT).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::invalid(vec![Fault::new("limit", "must be a number from 1 to 100")]))
        }
    }
}

/// An id in the path. One that cannot exist is not found: the same bytes as for one that does not.
pub fn id<T: FromStr>(request: &HttpRequest, name: &str) -> Result<T, Problem> {
    request.match_info().get(name).and_then(|text| text.parse().ok()).ok_or_else(Problem::not_found)
}

/// An id in the path that the caller chooses: one that is none is told what an id looks like.
pub fn new_id<T: FromStr>(request: &HttpRequest, name: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    let text = request.match_info().get(name).unwrap_or_default();
    text.parse().map_err(|error: T::Err| Problem::invalid(vec![Fault::new(name, error.to_string())]))
}

/// The version that `If-Match` names (RFC 9110 §13.1.1); nothing for `*` or no header.
pub fn if_match(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let mut values = request.headers().get_all(IF_MATCH);
    let Some(value) = values.next() else { return Ok(None) };
    // Two lines are a list of versions, and an object has one.
    let text = if values.next().is_none() { value.to_str().unwrap_or_default().trim() } else { "" };
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    version.map(Some).ok_or_else(|| Problem::bad_request("If-Match takes the ETag of the object, such as \"3\", or *"))
}
