"""The verifiers of docs/guides/verify-tokens.md: signature, claims and status, with their
caches."""

import base64
import contextlib
import getpass
import json
import os
import pathlib
import shutil
import signal
import sys
import time
import urllib.parse
import zlib

import pytest
import requests

import rust
from conftest import HERE, VERIFYING, new_postgres_database
from forger import Forger
from keyswap import ALGORITHMS, DATABASES, Server, stop_all
from ports import reserve_port
from processes import Program, end, run, start
from resource_cases import CASES, WITHOUT, detail
from verify import tampered

SCOPE = "projects:read"
# The leeway, and the time for which an unknown `kid` causes no other fetch, in
# seconds, as in the programs.
LEEWAY, COOL_DOWN = 30, 30
# The algorithms that a program supports, if not all.
SUPPORTED = {"java": ["ES256", "RS256", "PS256"]}
JACKSON = ":".join(f"/usr/share/java/jackson-{part}.jar" for part in ["annotations", "core", "databind"])


class Verifier:
    """A program that reads tokens and prints its verdict on each."""

    def __init__(self, command, issuer, audience, *resource):
        self._program = Program([*command, issuer, audience, SCOPE, *resource])

    def says(self, token):
        self._program.write_line(token)
        return self._program.read_line()

    def stop(self):
        code = self._program.close()
        assert code == 0, f"{self._program.name}: exit code {code}"


class All:
    """A verifier in each language. All must give the same verdict."""

    def __init__(self, commands, issuer, audience, *resource):
        self.verifiers = {
            language: Verifier(command, issuer, audience, *resource) for language, command in commands.items()
        }

    def say(self, token, expected):
        said = {language: one.says(token) for language, one in self.verifiers.items()}
        as_expected = said if expected == "refused" else dict.fromkeys(said, expected)
        assert said == as_expected
        if expected == "refused":
            assert all(answer.startswith("refused: ") for answer in said.values()), said
        return said

    def come_to_say(self, token, expected, within):
        """Repeats `say` until all give the expected verdict, for up to `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            try:
                return self.say(token, expected)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def stop(self):
        stop_all(self.verifiers.values())


@pytest.fixture(scope="module")
def commands(tmp_path_factory, go_build):
    scripts = tmp_path_factory.mktemp("verifying")
    (scripts / "node_modules").symlink_to(pathlib.Path(os.environ["KEYSWAP_INTEROP_CACHE"]) / "node" / "node_modules")
    script = shutil.copy(VERIFYING / "node.mjs", scripts)
    # Compiled once, and not at each start.
    classes = tmp_path_factory.mktemp("java")
    run(["javac", "-cp", JACKSON, "-d", classes, VERIFYING / "Verify.java"], check=True)
    programs = {
        "python": [sys.executable, VERIFYING / "python.py"],
        "node": ["node", script],
        "go": [go_build(VERIFYING / "go.go")],
        "java": ["java", "-cp", f"{JACKSON}:{classes}", "Verify"],
    }
    if rust.WANTED:
        programs["rust"] = [rust.example("verifying")]
    return programs


@pytest.fixture(scope="module")
def everything(binary, commands, tmp_path_factory):
    """For each database, a server whose lists soon expire, its verifiers, and a token
    that they accept and that is expired when the other tests are done. On PostgreSQL the
    issuer has a path."""
    with contextlib.ExitStack() as stack:
        running = {}
        for database in DATABASES:
            directory = tmp_path_factory.mktemp("verifying")
            is_sqlite = database == "sqlite"
            url = f"sqlite://{directory}/keyswap.db" if is_sqlite else new_postgres_database()
            more = {"status_lists.ttl": "2s", "signing_keys.replica_staleness": "3s"}
            server = Server(binary, directory, url, "ES256", "" if is_sqlite else "/t1", more)
            stack.callback(server.stop)
            verifiers = All(commands, server.issuer, server.resource)
            stack.callback(verifiers.stop)
            token = server.exchange(audience=server.resource, expires_in=1)["access_token"]
            verifiers.say(token, server.client_id)
            running[database] = server, verifiers, token, time.monotonic()
        yield running


@pytest.fixture(params=DATABASES)
def started(request, everything):
    return everything[request.param]


@pytest.fixture
def quick(started):
    return started[0]


@pytest.fixture
def verifiers(started):
    return started[1]


@pytest.fixture(scope="module")
def forged(commands):
    """An issuer that signs arbitrary tokens, and verifiers that trust it."""
    forger = Forger()
    started = All(commands, forger.issuer, forger.audience)
    # The verifiers now have the keys. Tests with unknown keys may cause another
    # fetch, and record when.
    started.say(forger.token(scope=SCOPE), "svc_1")
    started.last_unknown = time.monotonic()
    yield forger, started
    started.stop()
    forger.stop()


def test_guide_contains_the_programs_unchanged():
    text = (HERE.parents[1] / "docs" / "guides" / "verify-tokens.md").read_text()
    programs = sorted(VERIFYING.iterdir())
    assert len(programs) == 7
    for program in programs:
        assert program.read_text().rstrip() in text, f"the document shows another {program.name}"


def test_unknown_kids_do_not_trigger_fetches(forged):
    """However many tokens name unknown keys, nothing is fetched, because the keys
    were fetched recently."""
    forger, all_of_them = forged
    all_of_them.say(forger.token(scope=SCOPE), "svc_1")
    before = forger.fetched
    forger.add_key("unpublished", published=False)
    forger.add_key("just published")
    for kid in ["unpublished"] * 5 + ["just published"]:
        all_of_them.say(forger.token(scope=SCOPE, kid=kid), "refused")
    all_of_them.say(forger.token(scope=SCOPE), "svc_1")
    assert forger.fetched == before
    all_of_them.last_unknown = time.monotonic()


def test_accepts_valid_credentials_only(quick, verifiers):
    resource = quick.resource
    good = quick.exchange(audience=resource, scope="projects:read projects:write")["access_token"]
    verifiers.say(good, quick.client_id)
    payload = good.split(".")[1]
    listed = claims(good)["status"]["status_list"]["uri"]
    asked = requests.post(
        quick.issuer + "/oauth/introspect",
        data={"token": good},
        headers={"Authorization": f"Bearer {quick.admin_key}", "Accept": "application/token-introspection+jwt"},
        timeout=10,
    ).text
    assert json.loads(decoded(asked.split(".")[0]))["typ"] == "token-introspection+jwt"
    bad = {
        "wrong audience": quick.exchange(audience=quick.audience)["access_token"],
        "without the scope": quick.exchange(audience=resource, scope="projects:write")["access_token"],
        "a status list": requests.get(listed, timeout=10).text,
        "an answer of introspection": asked,
        "tampered": tampered(good),
        "unsigned": ".".join([encoded(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()), payload, ""]),
        "an API key": quick.key,
        "not a token": "x",
    }
    for what, token in bad.items():
        print(what, verifiers.say(token, "refused"))


def test_status(quick, verifiers):
    """The tokens of a key are refused soon after its suspension or revocation and accepted again
    after its resumption. The tokens of another key are not affected."""
    key, other = quick.new_key(), quick.exchange(audience=quick.resource)["access_token"]
    answer = requests.post(
        quick.issuer + "/v1/exchange",
        json={"audience": quick.resource},
        headers={"Authorization": f"Bearer {key['value']}"},
        timeout=10,
    )
    token = answer.json()["access_token"]
    verifiers.say(token, quick.client_id)
    for change, expected in [("suspend", "refused"), ("resume", quick.client_id), ("revoke", "refused")]:
        quick.admin("POST", f"/api-keys/{key['id']}/{change}")
        # ttl + max-age + replica_staleness, and ten seconds for a busy machine.
        said = verifiers.come_to_say(token, expected, 2 + 0 + 3 + 10)
        if expected == "refused":
            assert set(said.values()) == {"refused: revoked or suspended"}
        verifiers.say(other, quick.client_id)


LISTS = {
    "valid": ("svc_1", {}),
    "invalid": ("refused", {"bits": [1] * 8}),
    "suspended": ("refused", {"bits": [2] * 8}),
    "others are not": ("svc_1", {"bits": [1, 1, 1, 1, 1, 0, 1, 1]}),
    "one bit, valid": ("svc_1", {"width": 1, "bits": [1, 1, 1, 1, 1, 0, 1, 1]}),
    "one bit, invalid": ("refused", {"width": 1, "bits": [0, 0, 0, 0, 0, 1, 0, 0]}),
    "too short": ("refused", {"bits": [0] * 4}),
    "not a list": ("refused", {"typ": "at+jwt"}),
    "of no type": ("refused", {"typ": None}),
    "another list": ("refused", {"sub": "http://127.0.0.1/v1/status-lists/stl_2"}),
    "another issuer": ("refused", {"iss": "http://127.0.0.1"}),
    "expired": ("refused", {"exp": 1}),
    "signed by an unpublished key": ("refused", {"kid": "unpublished too"}),
    "elsewhere": ("refused", {"folder": "/lists/"}),
}


def test_lists_are_verified(forged):
    forger, all_of_them = forged
    forger.add_key("unpublished too", published=False)
    for number, (what, (expected, changes)) in enumerate(LISTS.items()):
        # These change the list itself; all others change its claims.
        folder, width, bits = (changes.get(*one) for one in [("folder", "/v1/status-lists/"), ("width", 2), ("bits", [0] * 8)])
        path, packed = f"{folder}stl_{number}", 0
        uri = forger.issuer + path
        for index, bit in enumerate(bits):
            packed |= bit << (index * width)
        lst = encoded(zlib.compress(packed.to_bytes(len(bits) * width // 8, "little")))
        claimed = {name: value for name, value in changes.items() if name not in ("folder", "width", "bits")}
        said = {"typ": "statuslist+jwt", "aud": None, "sub": uri, "ttl": 60, **claimed}
        forger.pages[path] = forger.token(status_list={"bits": width, "lst": lst}, **said)
        token = forger.token(scope=SCOPE, status={"status_list": {"idx": 5, "uri": uri}})
        print(what, all_of_them.say(token, expected))
    all_of_them.last_unknown = time.monotonic()


FORGED = {
    "nothing wrong": ("svc_1", {}),
    "just expired": ("svc_1", {"exp": -LEEWAY + 10}),
    "expired": ("refused", {"exp": -LEEWAY - 1}),
    "another type": ("refused", {"typ": "JWT"}),
    "no type": ("refused", {"typ": None}),
    "a type of list": ("refused", {"typ": "statuslist+jwt"}),
    "a type of answer": ("refused", {"typ": "token-introspection+jwt"}),
    "an algorithm that is not on the list": ("refused", {"algorithm": "ES512"}),
    "another issuer": ("refused", {"iss": "http://127.0.0.1"}),
    "no issuer": ("refused", {"iss": None}),
    "another audience": ("refused", {"aud": "reports"}),
    "no audience": ("refused", {"aud": None}),
    "several audiences": ("svc_1", {"aud": ["reports", Forger.audience]}),
    "no expiry": ("refused", {"exp": None}),
    "no subject": ("refused", {"sub": None}),
    "no scope": ("refused", {"scope": None}),
    "a longer scope": ("refused", {"scope": SCOPE + "er"}),
    "one scope of many": ("svc_1", {"scope": f"a {SCOPE} b"}),
}


def test_claims_are_verified(forged):
    forger, all_of_them = forged
    for what, (expected, changes) in FORGED.items():
        changes = {"scope": SCOPE, **changes}
        if changes.get("exp"):
            changes["exp"] += int(time.time())
        print(what, all_of_them.say(forger.token(**changes), expected))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithms(servers, commands, algorithm):
    server = servers("sqlite", algorithm)
    token = server.exchange(audience=server.resource)["access_token"]
    for language, command in commands.items():
        verifier = Verifier(command, server.issuer, server.resource)
        said = verifier.says(token)
        verifier.stop()
        if algorithm in SUPPORTED.get(language, ALGORITHMS):
            assert said == server.client_id, language
        else:
            assert said == "refused: an algorithm that is not on the list", language


def test_checks_the_resource(commands):
    """By the locations of the token, whatever its scope is, and refused by default."""
    forger = Forger()
    try:
        for resource in dict.fromkeys(resource for _, resource, _ in CASES):
            verifiers = All(commands, forger.issuer, forger.audience, resource)
            try:
                for location, about, granted in CASES:
                    if about == resource:
                        token = forger.token(scope=SCOPE, authorization_details=[detail(location)])
                        verifiers.say(token, "svc_1" if granted else "refused")
                for changes in WITHOUT if resource == "/users/a/1" else []:
                    verifiers.say(forger.token(scope=SCOPE, **changes), "refused")
            finally:
                verifiers.stop()
    finally:
        forger.stop()


@pytest.fixture
def nginx(quick, tmp_path_factory):
    """nginx in front of a service that returns the subject it received."""
    directory = tmp_path_factory.mktemp("nginx")
    port, service = reserve_port(), reserve_port()
    client = quick.admin("POST", "/service-clients", {"name": "nginx", "permissions": ["keyswap:validate"]})["id"]
    body = {"name": "nginx", "owner": {"type": "service_client", "id": client}, "permissions": ["keyswap:validate"]}
    key = quick.admin("POST", "/api-keys", {**body, "audiences": [quick.resource, quick.issuer + "/v1"]})["value"]
    address = urllib.parse.urlsplit(quick.issuer)
    text = (VERIFYING / "nginx.conf").read_text()
    for shown, here in [
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("/etc/nginx/keyswap.js", str(VERIFYING / "keyswap.js")),
        ("/var/cache/nginx/keyswap", f"{directory}/cache"),
        ("127.0.0.1:3000", f"127.0.0.1:{service}"),
        ("https://keys.example/", f"{quick.issuer}/"),
        ("Host keys.example", f"Host {address.netloc}"),
        ("ks_…", key),
        ("proxy_cache_valid 200 10s", "proxy_cache_valid 200 2s"),
    ]:
        assert shown in text, f"nginx.conf has lost {shown}"
        text = text.replace(shown, here)
    temporary = "\n".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    configuration = f"""
{"user " + getpass.getuser() + ";" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {directory}/pid;
load_module /usr/lib/nginx/modules/ngx_http_js_module.so;
events {{}}
http {{
{temporary}
access_log off;
{text}
server {{
    listen 127.0.0.1:{service};
    location / {{ return 200 "$http_keyswap_subject $request_method $content_length"; }}
}}
}}
"""
    (directory / "nginx.conf").write_text(configuration)
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    process = start([program, "-e", directory / "log", "-c", directory / "nginx.conf"])
    base = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            requests.get(base, timeout=5)
            break
        except requests.ConnectionError:
            time.sleep(0.05)
    yield base, directory
    assert end(process) == 0, (directory / "log").read_text()


def test_nginx(quick, nginx):
    base, directory = nginx

    def ask(token, **more):
        more = {"Keyswap-Subject": "somebody else", **more}
        answer = requests.post(base + "/x", data="body", headers={"Authorization": f"Bearer {token}", **more}, timeout=10)
        return answer.status_code, answer.text if answer.ok else answer.headers.get("WWW-Authenticate")

    key = quick.new_key()
    answer = requests.post(
        quick.issuer + "/v1/exchange",
        json={"audience": quick.resource},
        headers={"Authorization": f"Bearer {key['value']}"},
        timeout=10,
    )
    good = answer.json()["access_token"]
    invalid = (401, 'Bearer error="invalid_token"')
    assert ask(good) == (200, f"{quick.client_id} POST 4")
    assert requests.get(base, timeout=10).headers["WWW-Authenticate"] == "Bearer"
    assert requests.get(base + "/_keyswap", headers={"Authorization": f"Bearer {good}"}, timeout=10).status_code == 404
    assert ask(quick.exchange(audience=quick.audience)["access_token"]) == invalid
    other = quick.exchange(audience=quick.resource, scope="projects:write")["access_token"]
    assert ask(other) == (403, 'Bearer error="insufficient_scope"')
    listed = requests.get(claims(good)["status"]["status_list"]["uri"], timeout=10).text
    assert ask(listed) == invalid
    assert ask(quick.expired_token()) == invalid
    assert ask(quick.key) == (401, "Bearer"), "not for nginx: it has the form of no token"
    # Many requests cause one introspection, and a revoked token is refused in time.
    before = quick.answers()
    assert {ask(good) for _ in range(20)} == {(200, f"{quick.client_id} POST 4")}
    assert quick.answers() - before <= 2
    quick.admin("POST", f"/api-keys/{key['id']}/revoke")
    # Two seconds in nginx's cache, and ten for a busy machine.
    deadline = time.monotonic() + 2 + 10
    while ask(good) != invalid:
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.2)
    kept = [file.read_bytes() for file in (directory / "cache").rglob("*") if file.is_file()]
    assert kept and not any(good.encode() in one for one in kept), "a token is on the disk"


def test_nginx_by_resource(quick, nginx):
    """An access record must grant the permission on the path."""
    base, directory = nginx
    configuration = directory / "nginx.conf"
    text = configuration.read_text()
    assert "$keyswap_resources off;" in text
    configuration.write_text(text.replace("$keyswap_resources off;", "$keyswap_resources on;"))
    os.kill(int((directory / "pid").read_text()), signal.SIGHUP)
    key = quick.new_key()
    quick.admin("PUT", "/roles/reader", {"permissions": [SCOPE]})
    statements = [{"roles": ["reader"], "resources": ["/x/*"]}]
    record = {"name": "r", "principals": [{"type": "api_key", "id": key["id"]}], "statements": statements}
    quick.admin("POST", "/access-records", record)
    answer = requests.post(
        quick.issuer + "/v1/exchange",
        json={"audience": quick.resource},
        headers={"Authorization": f"Bearer {key['value']}"},
        timeout=10,
    )
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def ask(path):
        return requests.post(base + path, data="body", headers=headers, timeout=10).status_code

    deadline = time.monotonic() + 10
    # A worker with the old configuration may accept connections for a moment longer.
    while any(ask("/y") != 403 for _ in range(20)):
        assert time.monotonic() < deadline, "nginx has not read its configuration again"
        time.sleep(0.1)
    paths = ["/x/1", "/x/1/2?a=b", "/x/a%2Fb", "/x", "/X/1", "/x/..%2Fb"]
    assert [ask(path) for path in paths] == [200, 200, 200, 403, 403, 400]


def test_new_key_is_accepted_after_the_cool_down(forged):
    forger, all_of_them = forged
    forger.add_key("unpublished", published=False)
    forger.add_key("new")
    time.sleep(max(0, all_of_them.last_unknown + COOL_DOWN + 1 - time.monotonic()))
    before = forger.fetched
    all_of_them.say(forger.token(scope=SCOPE, kid="new"), "svc_1")
    all_of_them.say(forger.token(scope=SCOPE, kid="unpublished"), "refused")
    assert forger.fetched == before + len(all_of_them.verifiers), "each once"


def test_expired(started):
    _, verifiers, token, issued = started
    time.sleep(max(0, issued + 1 + LEEWAY + 1 - time.monotonic()))
    verifiers.say(token, "refused")


def claims(token):
    return json.loads(decoded(token.split(".")[1]))


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
