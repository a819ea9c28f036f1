//! One rule decides what a caller may see, change and end. An object that GET answers with 404 is
//! answered with the same bytes by every other operation, is missing from lists, and is not
//! returned by the replay of an `Idempotency-Key`. An object that GET returns is never answered
//! with 404. The operations are those of the OpenAPI document.

mod stage;

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Server, both};
use stage::{Cast, End, Object, Who};

/// The collections whose objects have an owner, or an administrator alone.
const COLLECTIONS: [&str; 4] = ["/v1/api-keys", "/v1/service-clients", "/v1/access-records", "/v1/webhooks"];

type Answer = (StatusCode, String);

/// An operation on one object: method, path after the id, and a valid body.
#[derive(Debug)]
struct Operation {
    collection: &'static str,
    method: Method,
    step: String,
    body: Option<Value>,
}

/// The operations of the document below `COLLECTIONS` whose path ends in one id and a verb.
async fn operations(server: &Server) -> Vec<Operation> {
    let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut all = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        let Some((collection, step)) = template.split_once("/{id}") else { continue };
        let Some(collection) = COLLECTIONS.into_iter().find(|known| *known == collection) else { continue };
        for method in item.as_object().unwrap().keys().map(|name| name.to_uppercase()) {
            let body = match (method.as_str(), step) {
                ("GET" | "DELETE", _) => None,
                ("PATCH", _) => Some(json!({})),
                ("POST", "/rotate") => Some(json!({ "grace": "0s" })),
                // A retry names a delivery as well, and a test sends a request to the receiver.
                ("POST", "/test") => continue,
                ("POST", _) if step.contains('{') => continue,
                ("POST", _) => None,
                _ => panic!("{method} {template}: say here what to send"),
            };
            all.push(Operation { collection, method: method.parse().unwrap(), step: step.to_owned(), body });
        }
    }
    assert!(all.len() >= 20, "{all:?}");
    all
}

impl Operation {
    /// Sends the operation with a version that no object has, so that it changes nothing.
    async fn send(&self, server: &Server, cast: &Cast, who: Who, id: &str) -> Answer {
        let path = format!("{}/{id}{}", self.collection, self.step);
        let mut request = cast.request(server, who, self.method.as_str(), &path);
        if self.method != Method::GET {
            request = request.header("if-match", "\"999999\"");
        }
        if let Some(body) = &self.body {
            request = request.json(body);
        }
        answer(request).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// The ids in a list, or `None` if the caller may not list.
async fn listed(server: &Server, cast: &Cast, who: Who, path: &str) -> Option<BTreeSet<String>> {
    let (mut ids, mut after) = (BTreeSet::new(), String::new());
    loop {
        let join = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{join}limit=100{after}");
        let (status, text) = answer(cast.request(server, who, "GET", &path)).await;
        if status != StatusCode::OK {
            assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
            return None;
        }
        let page: Value = serde_json::from_str(&text).unwrap();
        ids.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { return Some(ids) };
        after = format!("&after={next}");
    }
}

/// Checks every object of the stage for every caller, and returns what each caller may see.
async fn check(server: &Server, cast: &Cast, objects: &[Object]) -> BTreeSet<(Who, &'static str)> {
    let operations = operations(server).await;
    let mut visible = BTreeSet::new();
    for who in cast.callers() {
        let mut lists = std::collections::BTreeMap::new();
        for path in COLLECTIONS.map(str::to_owned).into_iter().chain(["/v1/api-keys?archived=true".to_owned()]) {
            lists.insert(path.clone(), listed(server, cast, who, &path).await);
        }
        let mut unknown = std::collections::BTreeMap::new();
        for (index, operation) in operations.iter().enumerate() {
            let id = stage::unknown_id(operation.collection);
            unknown.insert(index, operation.send(server, cast, who, id).await);
        }
        for object in objects {
            let path = format!("{}/{}", object.collection, object.id);
            let at = format!("{} {} after {:?} for {who:?}", object.collection, object.what, cast.end);
            let got = answer(cast.request(server, who, "GET", &path)).await;
            let is_listed = lists[object.collection].as_ref().map(|ids| ids.contains(&object.id));
            assert!([200, 403, 404].contains(&got.0.as_u16()), "{at}: {got:?}");
            assert_eq!(is_listed, (got.0 != 403).then_some(got.0 == 200), "the list, {at}: {got:?}");
            if object.collection == "/v1/api-keys" {
                let got = answer(cast.request(server, who, "GET", &format!("{path}?archived=true"))).await;
                let archived = &lists["/v1/api-keys?archived=true"];
                assert_eq!(archived.as_ref().map(|ids| ids.contains(&object.id)), Some(got.0 == 200), "archived, {at}");
            }
            for (index, operation) in operations.iter().enumerate() {
                if operation.collection != object.collection {
                    continue;
                }
                let found = operation.send(server, cast, who, &object.id).await;
                if got.0 == 200 {
                    assert_ne!(found.0, 404, "{operation:?}, {at}: GET returns it");
                } else {
                    assert_eq!(found, unknown[&index], "{operation:?}, {at}: GET answers {}", got.0);
                    assert_eq!(found.0, got.0, "{operation:?}, {at}");
                }
            }
            if let Some(body) = object.replay.as_ref().filter(|_| who == Who::MakerOnBehalf) {
                let request = cast.request(server, who, "POST", object.collection).json(body);
                let again = request.header("idempotency-key", &object.id_key).send().await.unwrap();
                let is_replay = again.headers().contains_key("idempotency-replayed");
                let (status, text) = (again.status(), again.text().await.unwrap());
                assert!(!is_replay || got.0 == 200, "the replay, {at}: {text}");
                assert!(status != 404 || got.0 == 404, "the replay, {at}: {text}");
            }
            if got.0 == 200 {
                visible.insert((who, object.what));
            }
        }
    }
    visible
}

/// The names of the objects that a caller sees.
fn seen(visible: &BTreeSet<(Who, &'static str)>, who: Who) -> Vec<&'static str> {
    visible.iter().filter(|(one, _)| *one == who).map(|(_, what)| *what).collect()
}

async fn state(server: &Server, cast: &Cast, who: Who, object: &Object) -> (Value, Value) {
    let path = format!("{}/{}", object.collection, object.id);
    let (_, text) = answer(cast.request(server, who, "GET", &path)).await;
    let shown: Value = serde_json::from_str(&text).unwrap();
    (shown["state"].clone(), shown["state_reason"].clone())
}

/// Sets the stage, ends objects, and checks. The administrator sees every key, whatever ended it.
async fn play(server: &Server, end: End) -> (Cast, Vec<Object>, BTreeSet<(Who, &'static str)>) {
    let objects = stage::objects(server, end).await;
    let cast = stage::end(server, end, &objects).await;
    let visible = check(server, &cast, &objects).await;
    let gone = matches!(end, End::KeysDeleted);
    for object in objects.iter().filter(|object| object.collection == "/v1/api-keys" && !gone) {
        for who in [Who::Administrator, Who::KeyManager] {
            assert!(visible.contains(&(who, object.what)), "{} after {end:?} for {who:?}", object.what);
        }
    }
    (cast, objects, visible)
}

const OF_ORGANIZATION: [&str; 2] = ["key of the organization", "key of the organization by the maker"];
const OF_CLIENT: &str = "key of the organization's client";

both! {
    async fn objects_in_force_are_visible_to_their_tenant(server: Server, "jobs=by_hand", r#"access_records.user_resources=["/projects/{user}/*"]"#) {
        let (_, _, visible) = play(&server, End::Nothing).await;
        assert_eq!(seen(&visible, Who::Revoker).len(), 7, "every key and client of the organization: {visible:?}");
        assert_eq!(seen(&visible, Who::Manager).len(), 5, "those of the organization, its client and its record");
        assert_eq!(seen(&visible, Who::Creator), ["client of the maker", "key of the maker", "key of the maker's client", "record"]);
        assert_eq!(seen(&visible, Who::MakerOutside), ["client outside", "key outside", "record outside"]);
        play(&server, End::MakerBlocked).await;
    }

    async fn ended_keys_are_visible_as_what_they_are(server: Server, "jobs=by_hand", r#"access_records.user_resources=["/projects/{user}/*"]"#) {
        let (cast, objects, _) = play(&server, End::KeysRevoked).await;
        for object in objects.iter().filter(|object| OF_ORGANIZATION.contains(&object.what)) {
            assert_eq!(state(&server, &cast, Who::Manager, object).await, (json!("revoked"), Value::Null));
        }
        play(&server, End::KeysDeleted).await;
        let (cast, objects, visible) = play(&server, End::ClientsDeleted).await;
        assert!(seen(&visible, Who::Manager).contains(&OF_CLIENT), "{visible:?}");
        let of_client = objects.iter().find(|object| object.what == OF_CLIENT).unwrap();
        let ended = (json!("revoked"), json!("service_client_deleted"));
        assert_eq!(state(&server, &cast, Who::Manager, of_client).await, ended);
    }

    async fn a_key_whose_creator_left_is_revoked_and_visible(server: Server, "jobs=by_hand", r#"access_records.user_resources=["/projects/{user}/*"]"#, "api_keys.end_with_creator=true") {
        for end in [End::MakerLeft, End::MakerLeftAndBack, End::MakerDeleted, End::MakerDeletedAndBack] {
            let (cast, objects, visible) = play(&server, end).await;
            assert!(OF_ORGANIZATION.iter().all(|what| seen(&visible, Who::Manager).contains(what)), "{end:?}: {visible:?}");
            let by_maker = objects.iter().find(|object| object.what == OF_ORGANIZATION[1]).unwrap();
            for who in [Who::Administrator, Who::Manager, Who::ManagerOnBehalf, Who::Revoker] {
                let ended = (json!("revoked"), json!("creator_left"));
                assert_eq!(state(&server, &cast, who, by_maker).await, ended, "{end:?} for {who:?}");
            }
            assert!(!seen(&visible, Who::Revoker).contains(&"key of the maker"), "{end:?}: its owner is gone");
        }
    }

    async fn objects_of_an_owner_that_was_created_again_stay_hidden(server: Server, "jobs=by_hand", r#"access_records.user_resources=["/projects/{user}/*"]"#) {
        for end in [End::OrganizationDeletedAndBack, End::KeysRevokedAndOrganizationBack] {
            let (_, _, visible) = play(&server, end).await;
            for who in [Who::Manager, Who::ManagerOnBehalf, Who::Revoker, Who::Creator, Who::OrganizationKey] {
                assert_eq!(seen(&visible, who), [""; 0], "{end:?} for {who:?}");
            }
        }
        for end in [End::MakerDeletedAndBack, End::KeysRevokedAndMakerBack, End::MakerLeftAndBack] {
            let (_, _, visible) = play(&server, end).await;
            assert_eq!(seen(&visible, Who::Creator), [""; 0], "{end:?}");
        }
    }
}
