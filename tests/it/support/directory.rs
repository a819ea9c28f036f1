//! Helpers that write to the directory: roles, organizations, users and members.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{Key, Server};

impl Server {
    pub async fn role(&self, name: &str, permissions: &[&str]) {
        self.put(&format!("roles/{name}"), json!({ "permissions": permissions })).await;
    }

    pub async fn organization(&self, id: &str) {
        self.put(&format!("organizations/{id}"), json!({})).await;
    }

    /// A user with roles that apply outside of any organization.
    pub async fn user(&self, id: &str, roles: &[&str]) {
        self.put(&format!("users/{id}"), json!({ "roles": roles })).await;
    }

    pub async fn member(&self, organization: &str, user: &str, roles: &[&str]) {
        self.put(&format!("organizations/{organization}/members/{user}"), json!({ "roles": roles })).await;
    }

    /// Defines permissions that can be assigned to keys of every owner type.
    pub async fn permissions_for_all(&self, names: &[&str]) {
        for name in names {
            let all = json!({ "assignable_to": ["user", "organization", "service_client"] });
            self.put(&format!("permissions/{name}"), all).await;
        }
    }

    /// Offers the management permissions of tenants to keys of every owner type.
    pub async fn offer_management_permissions(&self) {
        self.permissions_for_all(&["api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"]).await;
    }

    /// Creates a key of this owner as the administrator.
    pub async fn key_of(&self, owner: Value, permissions: &[&str]) -> Key {
        self.key(json!({ "name": "a key", "owner": owner, "permissions": permissions })).await
    }

    /// A call of the administrator on behalf of `who`, either `user` or `user; organization=id`.
    pub fn on_behalf(&self, who: &str, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.http.request(method, self.url(path)).bearer_auth(&self.admin).header("keyswap-on-behalf-of", who)
    }

    async fn put(&self, path: &str, body: Value) {
        let answer = self.http.put(self.url(&format!("/v1/{path}"))).bearer_auth(&self.admin).json(&body);
        let answer = answer.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }
}
