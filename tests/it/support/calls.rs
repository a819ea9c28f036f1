//! Calls of the management API.

use reqwest::Response;
use serde_json::{Value, json};

use super::Server;

pub async fn call(
    server: &Server,
    credential: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> Response {
    let mut request = server.http.request(method.parse().unwrap(), server.url(path)).bearer_auth(credential);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await.unwrap()
}

/// The version in the ETag of a response.
pub fn tagged_version(response: &Response) -> i64 {
    let tag = response.headers()["etag"].to_str().unwrap();
    let (version, digest) = tag.trim_matches('"').split_once('-').unwrap();
    assert_eq!(digest.len(), 32, "{tag}");
    version.parse().unwrap()
}

/// The types of the events after the first `count` events.
pub async fn events_after(server: &Server, count: usize) -> Vec<String> {
    server.events().await[count..].iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

/// Reads a list page by page and checks the size of each page.
pub async fn read_pages(server: &Server, path: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.manage("GET", &format!("{path}?limit={limit}{after}"), None, 200).await;
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        all.extend(data.iter().cloned());
        match page["next"].as_str() {
            Some(next) => {
                assert_eq!(data.len(), limit);
                after = format!("&after={next}");
            }
            None => return all,
        }
    }
}

/// The request body for a generic key without permissions.
pub fn plain_key(name: &str) -> Value {
    json!({ "name": name, "owner": { "type": "none" } })
}
