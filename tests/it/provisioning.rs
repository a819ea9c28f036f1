//! The configuration file: `keyswap plan` and `keyswap apply`, run beside a server.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, both};

/// The example file of the repository.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/example-apply.toml");

/// Starts a command on the server's database without waiting for it. `input` is its standard input.
fn start(server: &Server, arguments: &[&str], input: &str) -> std::process::Child {
    let settings = [
        format!("database.url={}", server.database.url),
        format!("keys.dir={}", server.database.dir.path().join("keys").display()),
        "server.public_url=http://keyswap.test".to_owned(),
    ];
    let flags = settings.iter().flat_map(|setting| ["--set", setting]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyswap"));
    command.args(arguments).args(flags).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Writing fails if the command closes its standard input without reading it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child
}

fn run(server: &Server, arguments: &[&str], input: &str) -> Output {
    start(server, arguments, input).wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command, asserts success and returns its standard output.
fn done(server: &Server, arguments: &[&str], input: &str) -> String {
    let output = run(server, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn apply(server: &Server, toml: &str) -> String {
    done(server, &["apply", "-", "--format", "toml"], toml)
}

fn prune(server: &Server, toml: &str) -> String {
    done(server, &["apply", "-", "--format", "toml", "--prune"], toml)
}

/// Runs a command, asserts exit code 1 and returns its standard error.
fn refused(server: &Server, arguments: &[&str], input: &str) -> String {
    let output = run(server, arguments, input);
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

async fn put(server: &Server, path: &str, body: Value) {
    let request = server.http.put(server.url(path)).bearer_auth(&server.admin);
    let answer = request.json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
}

async fn status(server: &Server, path: &str) -> StatusCode {
    server.get(path).bearer_auth(&server.admin).send().await.unwrap().status()
}

/// Returns the current state of all objects that a configuration file can describe.
async fn configuration(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    for list in ["permissions", "roles", "audiences", "service-clients"] {
        all.push(server.manage("GET", &format!("/v1/{list}?limit=100"), None, 200).await["data"].clone());
    }
    all
}

const SMALL: &str = r#"
    [[permission]]
    name = "projects:read"
    assignable_to = ["user", "organization", "service_client"]
    [[permission]]
    name = "projects:write"
    assignable_to = ["service_client"]
    [[role]]
    name = "editor"
    permissions = ["projects:read", "projects:write"]
    [[audience]]
    identifier = "https://api.example"
    permissions = ["projects:read"]
    token_ttl = "5m"
    [[service_client]]
    name = "ci"
    permissions = ["projects:write"]
    metadata = { team = "a" }
"#;

both! {
    // Features: A6.
    async fn second_apply_changes_nothing(server: Server) {
        let before = server.events().await.len();
        let plan = done(&server, &["plan", EXAMPLE], "");
        assert!(plan.contains("+ permission projects:read") && plan.contains("+ role Viewer: permissions +documents:read"), "{plan}");
        assert_eq!(server.events().await.len(), before, "a plan leaves nothing");
        assert_eq!(status(&server, "/v1/roles/Viewer").await, 404);
        let code = |arguments: &[&str]| run(&server, arguments, "").status.code();
        assert_eq!(code(&["plan", EXAMPLE, "--detailed-exitcode"]), Some(2));
        assert_eq!(code(&["plan", EXAMPLE]), Some(0));

        let applied = done(&server, &["apply", EXAMPLE], "");
        let lines = |shown: &str| shown.lines().filter(|line| line.starts_with('+')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&applied), lines(&plan), "the plan said what was done");
        assert!(applied.ends_with("13 created, 0 changed, 0 deleted.\n"), "{applied}");
        let events = server.events().await;
        let made: Vec<_> = events[before..].iter().map(|event| event["type"].as_str().unwrap()).collect();
        let wanted: Vec<_> = [("permission.created", 7), ("role.created", 4), ("audience.created", 1), ("service_client.created", 1)]
            .into_iter().flat_map(|(kind, count)| vec![kind; count]).collect();
        assert_eq!(made, wanted, "one event for each thing");
        assert!(events[before..].iter().all(|event| event["actor"] == json!({ "type": "cli", "id": null })));

        let state = configuration(&server).await;
        for arguments in [&["apply", EXAMPLE][..], &["plan", EXAMPLE, "--detailed-exitcode"], &["apply", EXAMPLE, "--dry-run"]] {
            assert_eq!(done(&server, arguments, ""), "Nothing to change.\n", "{arguments:?}");
        }
        let nothing: Value = serde_json::from_str(&done(&server, &["apply", EXAMPLE, "--json"], "")).unwrap();
        assert_eq!(nothing, json!({ "applied": true, "changes": [] }));
        assert_eq!(server.events().await.len(), events.len(), "no event");
        assert_eq!(configuration(&server).await, state, "not even a version");
    }

    // Features: A5.
    async fn four_sample_roles_load_from_the_fixture(server: Server) {
        done(&server, &["apply", EXAMPLE], "");
        for (role, has, lacks) in [
            ("Viewer", "documents:read", Some("documents:edit")),
            ("Editor", "documents:edit", Some("documents:create")),
            ("Creator", "documents:create", Some("documents:edit")),
            ("Admin", "documents:create", None),
        ] {
            let found = server.manage("GET", &format!("/v1/roles/{role}"), None, 200).await;
            let permissions = found["permissions"].as_array().unwrap();
            assert!(permissions.contains(&json!(has)), "{found}");
            assert!(lacks.is_none_or(|name| !permissions.contains(&json!(name))), "{found}");
        }
        // The roles can be assigned: a member with such a role creates a key with
        // the role's permissions.
        put(&server, "/v1/organizations/acme", json!({ "name": "Acme" })).await;
        put(&server, "/v1/users/ann", json!({})).await;
        put(&server, "/v1/organizations/acme/members/ann", json!({ "roles": ["Viewer"] })).await;
        let owner = json!({ "type": "user", "id": "ann", "organization_id": "acme" });
        let key = server.key(json!({ "name": "k", "owner": owner, "permissions": ["documents:read"] })).await;
        server.fetch_token(&key.value).await;
        let body = json!({ "name": "k", "owner": owner, "permissions": ["documents:edit"] });
        server.manage("POST", "/v1/api-keys", Some(body), 422).await;
    }

    // Features: W6.
    async fn file_limits_the_permissions_of_keys(server: Server) {
        done(&server, &["apply", EXAMPLE], "");
        put(&server, "/v1/organizations/acme", json!({ "name": "Acme" })).await;
        let owner = json!({ "type": "organization", "id": "acme" });
        let body = |permission: &str| json!({ "name": "k", "owner": owner, "permissions": ["projects:read", permission] });
        server.manage("POST", "/v1/api-keys", Some(body("projects:write")), 201).await;
        for (permission, why) in [("tasks:write", "cannot be assigned to an organization"), ("tasks:drop", "is not in the catalog")] {
            let refusal = server.manage("POST", "/v1/api-keys", Some(body(permission)), 422).await;
            let message = refusal["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("{refusal}")).to_owned();
            assert!(message.starts_with(permission) && message.contains(why), "{refusal}");
            assert_eq!(refusal["errors"].as_array().unwrap().len(), 1, "{refusal}");
        }
        // A permission narrowed in the file is narrowed for new keys.
        apply(&server, "[[permission]]\nname = 'projects:write'\nassignable_to = []");
        server.manage("POST", "/v1/api-keys", Some(body("projects:write")), 422).await;
    }

    // Features: D3.
    async fn unassignable_permission_is_refused_on_a_key(server: Server) {
        apply(&server, r#"
            permission = [
                { name = "video:view", assignable_to = ["organization"] },
                { name = "video:edit", assignable_to = ["organization"] },
                { name = "video:delete", assignable_to = ["user"] },
            ]
            role = [{ name = "producer", permissions = ["video:view", "video:edit", "video:delete"] }]
        "#);
        put(&server, "/v1/organizations/acme", json!({ "name": "Acme" })).await;
        let body = |permissions: &[&str]| json!({ "name": "k", "owner": { "type": "organization", "id": "acme" }, "permissions": permissions });
        server.manage("POST", "/v1/api-keys", Some(body(&["video:view", "video:edit"])), 201).await;
        let refusal = server.manage("POST", "/v1/api-keys", Some(body(&["video:view", "video:delete"])), 422).await;
        assert!(refusal.to_string().contains("video:delete cannot be assigned to an organization"), "{refusal}");
        assert!(!refusal.to_string().contains("video:view cannot"), "{refusal}");
        // Assignability to user keys and to organization keys is configured separately.
        put(&server, "/v1/users/ann", json!({})).await;
        put(&server, "/v1/organizations/acme/members/ann", json!({ "roles": ["producer"] })).await;
        let personal = |permission: &str| {
            json!({ "name": "k", "owner": { "type": "user", "id": "ann", "organization_id": "acme" }, "permissions": [permission] })
        };
        server.manage("POST", "/v1/api-keys", Some(personal("video:delete")), 201).await;
        server.manage("POST", "/v1/api-keys", Some(personal("video:view")), 422).await;
    }

    // Features: W28.
    async fn permissions_and_management_roles_are_in_one_file(server: Server) {
        apply(&server, r#"
            [[permission]]
            name = "projects:read"
            assignable_to = ["user", "organization"]
            [[role]]
            name = "member"
            permissions = ["projects:read"]
            [[role]]
            name = "admin"
            permissions = ["projects:read", "api-keys:manage"]
        "#);
        put(&server, "/v1/organizations/acme", json!({ "name": "Acme" })).await;
        for (user, role) in [("ann", "admin"), ("bob", "member")] {
            put(&server, &format!("/v1/users/{user}"), json!({})).await;
            put(&server, &format!("/v1/organizations/acme/members/{user}"), json!({ "roles": [role] })).await;
        }
        let create = async |user: &str| {
            let request = server.post("/v1/api-keys").bearer_auth(&server.admin);
            let request = request.header("keyswap-on-behalf-of", format!("{user}; organization=acme"));
            let body = json!({ "name": "k", "owner": { "type": "organization", "id": "acme" }, "permissions": ["projects:read"] });
            request.json(&body).send().await.unwrap().status()
        };
        assert_eq!(create("ann").await, 201);
        assert_ne!(create("bob").await, 201, "the role lacks that permission");
        let shown = apply(&server, "[[role]]\nname = 'member'\npermissions = ['projects:read', 'api-keys:manage']");
        assert_eq!(shown, "~ role member: permissions +api-keys:manage\n0 created, 1 changed, 0 deleted.\n");
        assert_eq!(create("bob").await, 201, "and now it has it");
    }

    // Features: D2.
    async fn permissions_are_added_to_and_removed_from_roles(server: Server) {
        apply(&server, SMALL);
        put(&server, "/v1/users/ann", json!({ "roles": ["editor"] })).await;
        let key = server.key(json!({ "name": "k", "owner": { "type": "user", "id": "ann" }, "permissions": ["projects:read"] })).await;
        server.fetch_token(&key.value).await;
        let shown = apply(&server, "[[role]]\nname = 'editor'\ndescription = 'Edits'\npermissions = ['projects:write']");
        assert!(shown.starts_with("~ role editor: description (not set) -> \"Edits\", permissions -projects:read\n"), "{shown}");
        let answer = server.exchange(&key.value).await;
        assert_ne!(answer.status(), 200, "what the role lost, its holder's key has lost");
    }

    async fn apply_updates_objects_in_the_file_and_keeps_others(server: Server) {
        apply(&server, SMALL);
        let client = server.manage("GET", "/v1/service-clients", None, 200).await["data"][0].clone();
        assert_eq!((&client["name"], &client["metadata"]), (&json!("ci"), &json!({ "team": "a" })));
        let yaml = "audience:\n  - identifier: https://api.example\n    algorithm: ES384\n    claims: { team: service_client.metadata.team }\n\
                    service_client:\n  - name: ci\n    permissions: [projects:read, projects:write]\n    metadata: { team: b }\n";
        let shown = done(&server, &["apply", "-", "--format", "yaml"], yaml);
        assert_eq!(
            shown,
            "~ audience https://api.example: algorithm (not set) -> \"ES384\", \
             claims.team (not set) -> \"service_client.metadata.team\", permissions [\"projects:read\"] -> (not set), \
             token_ttl \"5m\" -> (not set)\n\
             ~ service_client ci: metadata.team \"a\" -> \"b\", permissions +projects:read\n\
             0 created, 2 changed, 0 deleted.\n"
        );
        let changed = server.manage("GET", &format!("/v1/service-clients/{}", client["id"].as_str().unwrap()), None, 200).await;
        assert_eq!(changed["permissions"], json!(["projects:read", "projects:write"]), "the same client, known by its name");
        let keys = server.manage("GET", "/v1/signing-keys", None, 200).await;
        assert!(keys.to_string().contains("ES384"), "published as soon as an audience asks: {keys}");
        let kinds: Vec<_> = server.events().await.iter().rev().take(3).map(|event| event["type"].clone()).collect();
        assert_eq!(kinds, ["service_client.updated", "audience.updated", "signing_key.published"].map(|kind| json!(kind)));
        assert_eq!(done(&server, &["apply", "-", "--format", "yaml"], yaml), "Nothing to change.\n");
        assert_eq!(status(&server, "/v1/roles/editor").await, 200, "what the file does not name stays");
    }

    async fn invalid_file_changes_nothing_and_reports_all_faults(server: Server) {
        apply(&server, SMALL);
        for _ in 0..2 {
            server.manage("POST", "/v1/service-clients", Some(json!({ "name": "twin" })), 201).await;
        }
        let (state, events) = (configuration(&server).await, server.events().await.len());
        let file = r#"
            permission = [
                { name = "new:one", assignable_to = ["user"] },
                { name = "keyswap:mine", assignable_to = [] },
                { name = "keyswap:admin", assignable_to = [] },
            ]
            role = [{ name = "r", permissions = ["new:one", "not:there", "keyswap:keys"] }]
            audience = [
                { identifier = "http://keyswap.test/v1", typ = "JWT" },
                { identifier = "https://b.example", token_ttl = "9h", algorithm = "none", permissions = ["api-keys:manage"] },
            ]
            service_client = [{ name = "twin" }, { name = "x", permissions = ["new:one"] }]
        "#;
        let message = refused(&server, &["apply", "-", "--format", "toml"], file);
        for fault in [
            "permission[keyswap:mine].name: names that begin with keyswap:",
            "permission[keyswap:admin]: keyswap:admin is built in",
            "role[r].permissions: not:there is not in the catalog",
            "role[r].permissions: keyswap:keys can be given to service clients only",
            "audience[http://keyswap.test/v1]: the permissions and the token profile of the management audience are fixed",
            "audience[https://b.example].permissions: api-keys:manage is accepted by the management audience only",
            "audience[https://b.example].token_ttl: must be from 1s to tokens.max_ttl",
            "audience[https://b.example].algorithm: the algorithm is one of",
            "service_client[twin]: several service clients have this name: svc_",
            "service_client[x].permissions: new:one cannot be assigned to a service client",
        ] {
            assert!(message.contains(fault), "{fault} is not in {message}");
        }
        assert_eq!(message.lines().count(), 11, "each once: {message}");
        assert_eq!(refused(&server, &["plan", "-", "--format", "toml"], file), message, "plan reports the same");
        let unread = refused(&server, &["apply", "-", "--format", "toml"], "[[role]]\nname = 'r'\npermissions = []\ncolor = 1\n[[x]]");
        assert!(unread.contains("role[r].color: is unknown") && unread.contains("\n  x: is unknown"), "{unread}");
        assert_eq!(configuration(&server).await, state);
        assert_eq!(server.events().await.len(), events);
        assert_eq!(run(&server, &["apply", "no-extension"], "").status.code(), Some(2), "the format is not guessed");
    }

    /// The new role is locked with the others, before permissions.
    async fn prune_replaces_a_role_by_a_new_one(server: Server) {
        apply(&server, SMALL);
        let shown = prune(&server, "[[role]]\nname = 'author'\npermissions = ['projects:read']\n");
        assert!(shown.contains("role author") && shown.contains("- role editor"), "{shown}");
        assert!(shown.ends_with("1 created, 0 changed, 1 deleted.\n"), "{shown}");
    }

    async fn prune_deletes_only_unreferenced_objects(server: Server) {
        apply(&server, SMALL);
        let shown = apply(&server, "role = []\nservice_client = []\naudience = []\npermission = []");
        assert_eq!(shown, "Nothing to change.\n");
        // Objects in use: a role held by a user and a permission carried by a key.
        put(&server, "/v1/users/ann", json!({ "roles": ["editor"] })).await;
        let owner = json!({ "type": "none" });
        let key = server.key(json!({ "name": "k", "owner": owner, "permissions": ["projects:read"] })).await;
        let administrator = "[[service_client]]\nname = 'administrator'\npermissions = ['keyswap:admin']\n";
        let nothing_else = format!("role = []\naudience = []\npermission = []\n{administrator}");
        let before = configuration(&server).await;
        let message = refused(&server, &["apply", "-", "--format", "toml", "--prune"], &nothing_else);
        assert!(message.contains("role[editor]: editor is in use by ann"), "{message}");
        assert!(message.contains(&format!("permission[projects:read]: projects:read is in use by {}", key.id)), "{message}");
        assert_eq!(configuration(&server).await, before);

        put(&server, "/v1/users/ann", json!({ "roles": [] })).await;
        server.step(&key, "revoke").await;
        server.manage("DELETE", &format!("/v1/api-keys/{}", key.id), None, 204).await;
        let events = server.events().await.len();
        // Object types that the file omits are never pruned.
        assert_eq!(
            prune(&server, "audience = []"),
            "- audience https://api.example\n0 created, 0 changed, 1 deleted.\n"
        );
        assert_eq!(
            prune(&server, &nothing_else),
            "- service_client ci\n- role editor\n- permission projects:read\n- permission projects:write\n0 created, 0 changed, 4 deleted.\n"
        );
        assert_eq!(server.events().await.len(), events + 5);
        let left = configuration(&server).await;
        assert!(left[0].as_array().unwrap().iter().all(|permission| permission["built_in"] == true), "{}", left[0]);
        assert_eq!(left[2].as_array().unwrap().len(), 2, "default and management");
        assert_eq!(prune(&server, &nothing_else), "Nothing to change.\n");
        // An empty list must not remove the last administrator.
        let message = refused(&server, &["apply", "-", "--format", "toml", "--prune"], "service_client = []");
        assert!(message.contains("service_client[administrator]: this would leave no administrator"), "{message}");
        server.manage("GET", "/v1/api-keys", None, 200).await;
    }

    async fn concurrent_applies_are_serialized(server: Server) {
        for round in 0..5 {
            let file = SMALL.replace("projects:", &format!("projects{round}:")).replace("\"editor\"", &format!("\"editor{round}\""))
                .replace("\"ci\"", &format!("\"ci{round}\"")).replace("api.example", &format!("api{round}.example"));
            let before = server.events().await.len();
            let children: Vec<_> = (0..3).map(|_| start(&server, &["apply", "-", "--format", "toml"], &file)).collect();
            let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
            for output in &outputs {
                assert!(output.status.success(), "{}", text(&output.stderr));
            }
            let idle = outputs.iter().filter(|output| output.stdout == b"Nothing to change.\n").count();
            assert_eq!(idle, 2, "one did it, the others found it done: {outputs:?}");
            assert_eq!(server.events().await.len(), before + 5, "each thing was made once");
        }
    }
}
