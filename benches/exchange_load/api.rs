//! The management API, called with the key of the administrator. What is created through it is what
//! any build creates, also one with another schema.

use serde_json::Value;

use super::processes::{Process, ask_with};

pub struct ManagementApi<'a> {
    port: u16,
    key: &'a str,
}

impl<'a> ManagementApi<'a> {
    pub const fn new(server: &Process, key: &'a str) -> Self {
        Self { port: server.port, key }
    }

    pub fn post(&self, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.call("POST", path, "application/json", &body.to_string(), status);
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// Creates an object whose name is a part of the path.
    pub fn put(&self, path: &str, body: &Value) {
        self.call("PUT", path, "application/json", &body.to_string(), 201);
    }

    /// Imports organizations, users and members.
    pub fn import(&self, rows: &[Value]) {
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let answer = self.call("POST", "/v1/import", "application/x-ndjson", &lines, 200);
        let report = String::from_utf8_lossy(&answer);
        let created = format!("\"created\":{},", rows.len());
        assert!(report.contains("\"report\"") && report.contains(&created), "not all rows are imported: {report}");
    }

    fn call(&self, method: &str, path: &str, content_type: &str, body: &str, status: u16) -> Vec<u8> {
        let headers = format!("Authorization: Bearer {}\r\nContent-Type: {content_type}\r\n", self.key);
        let (found, answer) = ask_with(self.port, method, path, &headers, body).expect("an answer");
        assert_eq!(found, status, "{method} {path}: {}", String::from_utf8_lossy(&answer));
        answer
    }
}

/// The text of a member.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect(name)
}
