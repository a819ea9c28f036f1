//! Query strings, ids in paths, and conditional headers.

use std::{collections::BTreeMap, str::FromStr};

use actix_web::{HttpRequest, http::header::IF_MATCH};

use crate::{domain::common::page::PageRequest, http::problem::Problem, service::InputFault};

/// The parameters of a query string. Each appears at most once, and unknown parameters are refused.
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
                // No valid value contains one, and PostgreSQL text cannot contain NUL.
                return Err(Problem::bad_request("a parameter in the URL has a control character"));
            }
            if value.is_empty() {
                // Ignoring an empty filter would return more than the caller requested.
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
        parsed.map_err(|_| Problem::invalid(vec![InputFault::new(name, format!("must be {expected}"))]))
    }

    pub fn page(&self) -> Result<PageRequest, Problem> {
        Ok(PageRequest { limit: self.limit()?, cursor: self.text("after") })
    }

    pub fn limit(&self) -> Result<i64, Problem> {
        let limit = self.parse("limit", "a number from 1 to 100")?.unwrap_or(PageRequest::DEFAULT_LIMIT);
        if (1..=PageRequest::MAX_LIMIT).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::invalid(vec![InputFault::new("limit", "must be a number from 1 to 100")]))
        }
    }
}

/// An id in the path. A malformed id gets the same bytes as an id that does not exist.
pub fn id<T: FromStr>(request: &HttpRequest, name: &str) -> Result<T, Problem> {
    request.match_info().get(name).and_then(|text| text.parse().ok()).ok_or_else(Problem::not_found)
}

/// An id in the path that the caller chooses. The error for a malformed id describes the format.
pub fn parse_new_path_id<T: FromStr>(request: &HttpRequest, name: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    let text = request.match_info().get(name).unwrap_or_default();
    text.parse().map_err(|error: T::Err| Problem::invalid(vec![InputFault::new(name, error.to_string())]))
}

/// The version in `If-Match` (RFC 9110 §13.1.1). `None` for `*` and without the header.
pub fn parse_if_match(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let mut values = request.headers().get_all(IF_MATCH);
    let Some(value) = values.next() else { return Ok(None) };
    // Several header lines are a list of versions, but an object has only one.
    let text = if values.next().is_none() { value.to_str().unwrap_or_default().trim() } else { "" };
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    version.map(Some).ok_or_else(|| Problem::bad_request("If-Match takes the ETag of the object, such as \"3\", or *"))
}
