"""The OpenAPI document is valid for an independent validator, and correct for schemathesis, which
generates requests to the server."""

import base64
import collections
import json
import os
import random
import re
import sys

import pytest
import requests
from openapi_spec_validator import validate

from conftest import HERE, new_postgres_database
from keyswap import CLIENT_CREDENTIALS, DATABASES, Server
from processes import run

# No 5xx, and no response outside the document in its status, type, headers or body. Created objects
# exist, deleted objects do not, and no operation works without its credentials. What the document
# permits is accepted and what it does not permit is refused, with the exceptions of openapi_hooks.py.
# These are all checks but `object_level_authorization`, which needs operations that return whose
# object it is: tests/it/access/tenant_isolation and matrix test every operation.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
]
# By default, a fixed number of cases of each operation runs on each database with a fixed seed.
# KEYSWAP_FUZZ_SECONDS runs as many cases as fit into this time on each database, with a random
# seed, which is printed; KEYSWAP_FUZZ_SEED repeats a run.
SECONDS = int(os.environ.get("KEYSWAP_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("KEYSWAP_FUZZ_SEED", random.randrange(1 << 32) if SECONDS else 1))
LONG = ["--max-time", str(SECONDS), "--max-examples", "25"]
# Without the phase `coverage` (the limits of every value), which takes longer than all others
# together. Only in this phase is a required header left out: it runs for the operations that have one.
SHORT = ["--phases", "examples,fuzzing,stateful", "--max-examples", "2"]
# The examples are always the same requests, most of which are refused before they reach a database.
WITHOUT_EXAMPLES = ["--phases", "fuzzing,stateful", "--max-examples", "2"]
HEADERS = ["--phases", "coverage", "--include-path-regex", "^/(console|portal)/sign-"]
# The statuses of refusals: those that schemathesis expects, and those for a precondition, which is
# evaluated before the body, and for a body that is larger than any can be.
REFUSALS = [400, 401, 403, 404, 405, 406, 409, 415, 422, 428, 429, 412, 413]
# A delivery can be retried only if there is one.
UNREACHED = {"POST /v1/webhooks/{id}/deliveries/{delivery}/retry"}
# Excluded below, or fetched before the run and therefore not counted.
UNCALLED = {"GET /v1/status-lists/{id}", "GET /openapi.json"}


def test_valid(one_server):
    document = requests.get(one_server.root + "/openapi.json", timeout=10).json()
    assert document["openapi"].startswith("3.1.")
    validate(document)


@pytest.fixture(params=DATABASES)
def fuzzed(request, binary, tmp_path):
    """A separate server, because its objects are changed and deleted at random."""
    url = f"sqlite://{tmp_path}/keyswap.db" if request.param == "sqlite" else new_postgres_database()
    # Most generated requests fail, and the others are all made for a few owners.
    budgets = {"brute_force.per_source": "1000000", "brute_force.per_credential": "1000000"}
    for limit in ("keys_per_owner", "sessions_per_user", "changes_per_owner", "changes_per_organization"):
        budgets[f"limits.{limit}"] = "0"
    server = Server(binary, tmp_path, url, "ES256", more=budgets)
    yield server
    server.stop()


@pytest.mark.timeout(180 + 3 * SECONDS)
def test_schemathesis(fuzzed, tmp_path, request):
    document = requests.get(fuzzed.root + "/openapi.json", timeout=10).json()
    ids = things(fuzzed)
    call_each_operation(fuzzed, document, ids)
    (tmp_path / "schemathesis.toml").write_text(configuration(document, ids))
    print(f"seed {SEED}")
    if SECONDS:
        schemathesis(fuzzed, tmp_path, LONG)
    else:
        schemathesis(fuzzed, tmp_path, HEADERS)
        schemathesis(fuzzed, tmp_path, SHORT if request.node.callspec.params["fuzzed"] == "sqlite" else WITHOUT_EXAMPLES)
    assert_all_were_called(document, json.loads((tmp_path / "answers.har").read_text()))


def schemathesis(server, directory, words):
    """Runs it with the configuration in the directory, where it leaves what was answered."""
    command = [
        *(os.path.join(os.path.dirname(sys.executable), "schemathesis"), "--no-color"),
        *("--config-file", directory / "schemathesis.toml", "run", server.root + "/openapi.json"),
        # `?time=` returns 501, as in the draft, which schemathesis considers a server error.
        *("--exclude-path", "/v1/status-lists/{id}"),
        *("--checks", ",".join(CHECKS), "--continue-on-failure", "--seed", str(SEED)),
        *("--generation-database", "none", "--generation-with-security-parameters", "false"),
        *("--report", "har", "--report-har-path", directory / "answers.har"),
        *words,
    ]
    environment = {**os.environ, "KEYSWAP_FUZZ_KEY": server.admin_key, "KEYSWAP_FUZZ_CLIENT": server.key}
    environment |= {"SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(HERE)}
    done = run(command, env=environment, cwd=directory, timeout=120 + 2 * SECONDS)
    assert done.returncode == 0, f"seed {SEED}:\n{done.stdout[-20000:]}{done.stderr}"


def things(server):
    """The ids of existing objects by kind, some to be changed and some to be deleted. The
    administrator's own key, client and audience are not among them."""
    make = {
        "api-keys": lambda n: server.new_key()["id"],
        "service-clients": lambda n: server.admin("POST", "/service-clients", {"name": f"Fuzzed {n}"})["id"],
        "audiences": lambda n: server.admin("POST", "/audiences", {"identifier": f"fuzzed-{n}"})["id"],
        "permissions": lambda n: server.admin("PUT", f"/permissions/fuzzed:{n}", {"assignable_to": ["user"]})["name"],
        "portal-sessions": lambda n: portal_session(server),
    }
    make |= directory(server) | {"signing-keys": lambda n: next_key(server), "status-lists": lambda n: status_list(server)}
    fates = {"living": range(5), "doomed": range(5, 25)}
    return {f"{kind}-{fate}": [of_number(number) for number in fates[fate]] for kind, of_number in make.items() for fate in fates}


def portal_session(server, user="fuzzed-session"):
    server.admin("PUT", f"/users/{user}", {})
    return server.admin("POST", "/portal-sessions", {"user_id": user})["id"]


def configuration(document, ids):
    """The configuration of schemathesis, with real ids, so that paths are reached."""
    lines = ["[checks.negative_data_rejection]", f"expected-statuses = {json.dumps(REFUSALS)}"]
    lines += ["[headers]", 'Authorization = "Bearer ${KEYSWAP_FUZZ_KEY}"']
    for name, values in ids.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines += ["[dictionaries.versions]", """values = ["*", '"1"', '"2"']"""]
    lines += ["[dictionaries.other-versions]", """values = ['"999"', 'W/"998"']"""]
    # The administrator holds no permission that the default audience accepts.
    lines += ["[[operations]]", 'include-path = "/v1/exchange"', "[operations.headers]"]
    lines += ['Authorization = "Bearer ${KEYSWAP_FUZZ_CLIENT}"']
    # Waiting for events takes as long as the parameter states.
    lines += ["[[operations]]", 'include-path = "/v1/events"', 'parameters = { "query.wait" = "0s" }']
    for method, path, operation in operations(document):
        if parameters := dictionaries(method, path):
            lines += ["[[operations]]", f'include-name = "{method} {path}"', "[operations.parameters]"]
            lines += [f'"path.{name}" = {{ dictionary = "{ids}", probability = 0.9 }}' for name, ids in parameters.items()]
            if any(one["name"] == "If-Match" for one in operation["parameters"]):
                lines += ['"header.If-Match" = { dictionary = "versions", probability = 0.8 }']
                lines += ['"header.If-None-Match" = { dictionary = "other-versions", probability = 0.9 }']
    return "\n".join(lines) + "\n"


def operations(document):
    return [(method.upper(), path, operation) for path, item in document["paths"].items() for method, operation in item.items()]


def dictionaries(method, path):
    """The dictionary of each path parameter that identifies an object."""
    found = re.match(r"/v1/([^/]+)/\{(\w+)\}", path)
    if not found:
        return {}
    kind, parameter = found.groups()
    # Objects to be changed are distinct from objects to be deleted.
    fate = "doomed" if method == "DELETE" or path.endswith("/revoke") else "living"
    if kind == "organizations" and "/members/" in path:
        # The member is changed and deleted; the organization stays.
        return {"id": "organizations-living", "user": f"members-{fate}"}
    return {parameter: f"{kind}-{fate}"}


def call_each_operation(server, document, ids):
    """Asserts that every operation is reached beyond authentication and lookups, at least to
    its rules: an operation that is never reached is not tested. Each is called once before
    the random changes, with ids from its dictionaries, and with an empty body unless
    `particular` has another one."""
    answers = {}
    # A deleted object is not deleted again.
    doomed = {name: iter(values[::-1]) for name, values in ids.items() if name.endswith("-doomed")}
    particulars = particular(server)
    for method, path, operation in operations(document):
        name = f"{method} {path}"
        known = dictionaries(method, path)
        missing = set(known.values()) - set(ids)
        assert not missing, f"{path}: say how to make {missing}, so that it is reached"
        values = {parameter: next(doomed[kind]) if kind in doomed else ids[kind][-1] for parameter, kind in known.items()}
        asked = {"headers": {"Authorization": f"Bearer {server.admin_key}"}, **particulars.get(name, {})}
        kinds = list(operation.get("requestBody", {}).get("content", {}))
        if kinds and not {"json", "data"} & set(asked):
            asked |= {"data": "{}", "headers": {**asked["headers"], "Content-Type": kinds[0]}}
        path = asked.pop("path", re.sub(r"\{(\w+)\}", lambda part: values.get(part[1], "x"), path))
        answers[name] = requests.request(method, server.root + path, **asked, timeout=30)
    unreached = {
        name: f"{answer.status_code} {answer.text[:200]}"
        for name, answer in answers.items()
        if not answer.ok and answer.status_code not in (409, 412, 422)
    }
    assert set(unreached) == UNREACHED, "\n".join(f"{name}: {answer}" for name, answer in unreached.items())


def next_key(server):
    """Revokes the next key and returns the kid of its successor, so that no next key ever signs."""

    def kid():
        return next(key["kid"] for key in server.admin("GET", "/signing-keys")["data"] if key["state"] == "next")

    server.admin("POST", f"/signing-keys/{kid()}/revoke")
    return kid()


def status_list(server):
    """The id of the status list that a token refers to."""
    payload = server.exchange()["access_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims["status"]["status_list"]["uri"].rsplit("/", 1)[1]


def directory(server):
    """Factories of directory objects. Every organization that stays has the same members."""

    def organization(number):
        made = server.admin("PUT", f"/organizations/fuzzed-{number}", {})["id"]
        if number < 5:
            for member in range(25):
                user(member)
                server.admin("PUT", f"/organizations/{made}/members/member-{member}", {})
        return made

    def user(number):
        server.admin("PUT", f"/users/member-{number}", {})
        return server.admin("PUT", f"/users/fuzzed-{number}", {})["id"]

    def record(number):
        user(0)
        role(0)
        statements = [{"roles": ["fuzzed-0"], "resources": ["/a/*"]}]
        principals = [{"type": "user", "id": "member-0"}]
        return server.admin("POST", "/access-records", {"name": "a", "principals": principals, "statements": statements})["id"]

    def role(number):
        return server.admin("PUT", f"/roles/fuzzed-{number}", {"permissions": []})["name"]

    return {
        "organizations": organization,
        "users": user,
        "members": lambda number: f"member-{number}",
        "roles": role,
        "access-records": record,
        "webhooks": lambda number: server.admin("POST", "/webhooks", {"url": "http://127.0.0.1:1024/"})["id"],
    }


def particular(server):
    """The requests that some operations need to be reached: the credentials of a client or a
    session, a form, the header of pages, or an existing file."""
    page = requests.get(server.root + "/console", timeout=10).text
    asset = "/" + re.search(r"assets/[^\"' ]+", page)[0]
    documents = requests.get(server.root + "/docs", timeout=10)
    document = "/docs/" + re.search(r"""["'/]([\w.-]+\.(?:js|css))["']""", documents.text)[1]
    server.admin("PUT", "/roles/fuzzed-admin", {"permissions": ["api-keys:manage"]})
    server.admin("PUT", "/users/fuzzed-admin", {})
    server.admin("PUT", "/organizations/fuzzed-admin", {})
    server.admin("PUT", "/organizations/fuzzed-admin/members/fuzzed-admin", {"roles": ["fuzzed-admin"]})
    session = server.admin("POST", "/portal-sessions", {"user_id": "fuzzed-admin", "organization_id": "fuzzed-admin"})
    portal_session(server, "fuzzed-ended")
    client = {"client_id": server.client_id, "client_secret": server.key}
    bearer = lambda value: {"headers": {"Authorization": f"Bearer {value}"}}
    of_page = lambda mark, **body: {"headers": {"Keyswap-Page": mark}, **body}
    return {
        "GET /assets/{hash}/{folder}/{file}": {"path": asset},
        "GET /docs/{file}": {"path": document},
        "POST /oauth/token": {"headers": {}, "data": {"grant_type": CLIENT_CREDENTIALS, **client}},
        "POST /oauth/revoke": {"headers": {}, "data": {"token": "x", **client}},
        "POST /oauth/introspect": {**bearer(server.admin_key), "data": {"token": "x"}},
        "POST /identity/token": {"headers": {}, "data": {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": server.key}},
        "POST /v1/exchange": bearer(server.key),
        "GET /v1/portal-sessions/current": bearer(session["token"]),
        "DELETE /v1/portal-sessions": {"params": {"user": "fuzzed-ended"}},
        "POST /portal/sign-in": of_page("1", json={"code": session["url"].split("#code=")[1]}),
        "POST /portal/sign-out": of_page("1"),
        "POST /console/sign-in": of_page("console", json={"key": server.admin_key}),
        "POST /console/sign-out": of_page("console"),
    }


def assert_all_were_called(document, har):
    """Asserts that schemathesis called every operation, with any response."""
    called = collections.Counter()
    templates = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$") for path in document["paths"]}
    for entry in har["log"]["entries"]:
        path = re.sub(r"^https?://[^/]+", "", entry["request"]["url"]).split("?")[0]
        # The server selects the template with the fewest parameters.
        fits = sorted((template.count("{"), template) for template, pattern in templates.items() if pattern.match(path))
        if fits:
            called[f"{entry['request']['method']} {fits[0][1]}"] += 1
    print(f"{called.total()} calls of {len(called)} operations")
    uncalled = {f"{method} {path}" for method, path, _ in operations(document)} - set(called)
    assert uncalled <= UNCALLED, uncalled - UNCALLED
