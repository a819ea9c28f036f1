//! Browser sessions of the hosted pages and of the console.

use reqwest::{RequestBuilder, Response};
use serde_json::json;

use super::{
    Flow,
    lifecycle::{manage, text},
};
use crate::faults::process::Running;

/// The name and value of the cookie that a response sets.
fn cookie_of(answer: &Response) -> String {
    assert_eq!(answer.status(), 204);
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

impl Flow {
    /// A portal session of a user: its token, its code, and the cookie for which the code is
    /// redeemed.
    pub async fn portal(&mut self, server: &Running, admin: &str) {
        let role = json!({ "permissions": ["user-api-keys:manage-self", "a:b"] });
        manage(server, admin, "PUT", "/v1/roles/self", Some(role)).await;
        manage(server, admin, "PUT", "/v1/users/someone", Some(json!({ "roles": ["self"] }))).await;
        let opened = manage(server, admin, "POST", "/v1/portal-sessions", Some(json!({ "user_id": "someone" }))).await;
        let (session, (_, code)) = (text(&opened, "token"), text(&opened, "url").split_once("#code=").unwrap());
        self.watch_key("a portal session", session);
        self.watch_key("a portal code", code);
        let of_page = |request: RequestBuilder| request.header("keyswap-page", "1");
        let enter = || {
            let request = server.http.post(server.url("/portal/sign-in"));
            of_page(request).json(&json!({ "code": code })).send()
        };
        let cookie = cookie_of(&enter().await.unwrap());
        self.watch_key("a portal cookie", &cookie);
        let spent = enter().await.unwrap();
        assert_eq!(spent.status(), 401);
        self.add_response("a code that is spent", spent).await;
        let url = || server.url("/v1/portal-sessions/current");
        for request in
            [server.http.get(url()).bearer_auth(session), of_page(server.http.get(url())).header("cookie", &cookie)]
        {
            let current = request.send().await.unwrap();
            assert_eq!(current.status(), 200);
            self.add_response("the current session", current).await;
        }
        let own = json!({ "name": "own", "permissions": ["a:b"], "expires_at": null });
        let own = manage(server, session, "POST", "/v1/api-keys", Some(own)).await;
        self.watch_key("a user's own key", text(&own, "value"));
        let cookie_value = cookie.split_once('=').unwrap().1;
        for (what, value) in [("session", session), ("code", code), ("cookie", cookie_value)] {
            self.present_to_services(server, admin, value).await;
            let revoke = server.http.post(server.url("/oauth/revoke")).bearer_auth(admin);
            for request in [
                revoke.header("content-type", "application/x-www-form-urlencoded").body(format!("token={value}")),
                server.http.post(server.url("/v1/exchange")).bearer_auth(value),
                server.http.get(server.url(&format!("/portal/user-keys?code={value}"))).bearer_auth(value),
            ] {
                self.add_response(&format!("a {what} in the wrong place"), request.send().await.unwrap()).await;
            }
        }
        let out = of_page(server.http.post(server.url("/portal/sign-out"))).header("cookie", &cookie);
        assert_eq!(out.send().await.unwrap().status(), 204);
    }

    /// A console session: an operator's key in a request body, and the cookie for which it is
    /// exchanged.
    pub async fn console(&mut self, server: &Running, admin: &str) {
        let of_console = |method: &str, path: &str| {
            server.http.request(method.parse().unwrap(), server.url(path)).header("keyswap-page", "console")
        };
        let entered = of_console("POST", "/console/sign-in").json(&json!({ "key": admin })).send().await.unwrap();
        let cookie = cookie_of(&entered);
        self.watch_token("a session of the console", &cookie);
        let caller = of_console("GET", "/v1/caller").header("cookie", &cookie).send().await.unwrap();
        assert_eq!(caller.status(), 200);
        self.add_response("a call with the cookie", caller).await;
        let short = json!({ "key": &admin[..admin.len() - 1] });
        for request in [
            of_console("POST", "/console/sign-in").json(&short),
            of_console("POST", "/console/sign-in").json(&json!({ "key": [admin] })),
            of_console("POST", "/console/sign-in").json(&json!({ admin: "key" })),
            server.http.post(server.url("/console/sign-in")).json(&json!({ "key": admin })),
            of_console("GET", &format!("/console?key={admin}")),
        ] {
            self.add_response("a wrong sign-in", request.send().await.unwrap()).await;
        }
        let out = of_console("POST", "/console/sign-out").header("cookie", &cookie).send().await.unwrap();
        assert_eq!(out.status(), 204);
        let gone = of_console("GET", "/v1/caller").header("cookie", &cookie).send().await.unwrap();
        assert_eq!(gone.status(), 401);
        self.add_response("a call with a cookie that is over", gone).await;
    }
}
