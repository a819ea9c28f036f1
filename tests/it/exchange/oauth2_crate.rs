//! The `oauth2` crate obtains a token, for each signing algorithm. `tests/interop` covers other
//! clients.

use oauth2::{
    AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, Scope, TokenResponse, TokenUrl, basic::BasicClient,
    http::Response,
};

use crate::support::{Kind, Server, both, client, header_of, verify};

async fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let (head, body) = request.into_parts();
    let request = client().request(head.method, head.uri.to_string()).headers(head.headers).body(body);
    let answer = request.send().await?;
    let mut response = Response::builder().status(answer.status());
    response.headers_mut().unwrap().extend(answer.headers().clone());
    Ok(response.body(answer.bytes().await?.to_vec()).unwrap())
}

async fn by_client_credentials(server: &Server, algorithm: &str) {
    let key = server.client_key(&["projects:read", "projects:write"]).await;
    for auth in [AuthType::BasicAuth, AuthType::RequestBody] {
        let client = BasicClient::new(ClientId::new(key.client.clone()))
            .set_client_secret(ClientSecret::new(key.value.clone()))
            .set_token_uri(TokenUrl::new(server.url("/oauth/token")).unwrap())
            .set_auth_type(auth);
        let request = client.exchange_client_credentials().add_scope(Scope::new("projects:read".to_owned()));
        let answer = request.request_async(&send).await.unwrap();
        assert_eq!(answer.expires_in().unwrap().as_secs(), 600);
        assert_eq!(answer.scopes().unwrap().len(), 1);
        let token = answer.access_token().secret();
        assert_eq!(header_of(token)["alg"], algorithm);
        assert_eq!(verify(server, token, "http://keyswap.test").await["scope"], "projects:read");
    }
}

both! {
    async fn es256(server: Server) { by_client_credentials(&server, "ES256").await; }
    async fn es384(server: Server, "signing_keys.algorithm=ES384") { by_client_credentials(&server, "ES384").await; }
    async fn eddsa(server: Server, "signing_keys.algorithm=EdDSA") { by_client_credentials(&server, "EdDSA").await; }
}

// RSA keys are slow to generate, and the result does not depend on the database.
// `audiences::algorithms` covers an RSA key on both databases.
#[test]
fn rs256_and_ps256() {
    for algorithm in ["RS256", "PS256"] {
        Server::run(Kind::Sqlite, &[&format!("signing_keys.algorithm={algorithm}")], async |server| {
            by_client_credentials(&server, algorithm).await;
        });
    }
}
