//! The OpenAPI document is complete, has closed schemas, describes the server correctly and
//! equals the committed file.

mod document;
mod served;

use serde_json::{Map, Value};

/// The document of the default configuration, as `keyswap openapi` prints it.
fn document() -> Value {
    let document = keyswap::http::openapi::document("http://127.0.0.1:8080").unwrap();
    serde_json::from_slice(&document.body).unwrap()
}

/// Every operation: path, method and operation object.
pub fn operations(document: &Value) -> Vec<(&str, &str, &Map<String, Value>)> {
    let paths = document["paths"].as_object().unwrap();
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            all.push((path.as_str(), method.as_str(), operation.as_object().unwrap()));
        }
    }
    assert!(all.len() > 40, "the document is empty");
    all
}

/// Visits every value in the document with its path.
fn visit_values<'a>(value: &'a Value, path: &str, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(path, value);
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| visit_values(value, &format!("{path}/{name}"), visit))
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(n, value)| visit_values(value, &format!("{path}/{n}"), visit))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
