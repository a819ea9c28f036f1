"""A page of another origin that verifies tokens with jose in Chromium, with the caches that
docs/guides/verify-tokens.md describes."""

import contextlib
import time

import jwt
import pytest
import requests

from conftest import CACHE, new_postgres_database, serving
from keyswap import DATABASES, Server
from processes import run
from verify import tampered

# A list is signed again after half of its `ttl`, in seconds.
TTL, STALENESS = 8, 3
PAGE = "<!doctype html><title>A service without a back end</title><link rel=icon href='data:,'><script type=module src=/page.js></script>"
WELL_KNOWN = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def servers_with_short_lists(binary, tmp_path_factory):
    """On PostgreSQL the issuer has a path."""
    with contextlib.ExitStack() as stack:

        def start(database):
            directory = tmp_path_factory.mktemp(f"browser-{database}")
            is_sqlite = database == "sqlite"
            url = f"sqlite://{directory}/keyswap.db" if is_sqlite else new_postgres_database()
            more = {"status_lists.ttl": f"{TTL}s", "signing_keys.replica_staleness": f"{STALENESS}s"}
            server = Server(binary, directory, url, "ES256", "" if is_sqlite else "/t1", more)
            stack.callback(server.stop)
            return server

        yield {database: start(database) for database in DATABASES}


@pytest.fixture(params=DATABASES)
def issuer(request, servers_with_short_lists):
    return servers_with_short_lists[request.param]


@pytest.fixture(scope="module")
def origin(scripts):
    """Another port, which is another origin."""
    built = scripts / "browser_verifier.js"
    command = [CACHE / "node" / "node_modules" / ".bin" / "esbuild", scripts / "browser_verifier.mjs", "--bundle", f"--outfile={built}"]
    run(command, check=True)
    answers = {"/": lambda: ("text/html", PAGE.encode()), "/page.js": lambda: ("text/javascript", built.read_bytes())}
    with serving(answers) as port:
        yield f"http://127.0.0.1:{port}"


class Verifier:
    """The page, with what Chromium sent and what it wrote on its console."""

    def __init__(self, browser, origin, server):
        context = browser.new_context()
        self.page = context.new_page()
        self.console, self.preflights = [], []
        self.page.on("console", lambda message: self.console.append(message.text))
        # Playwright does not report preflights.
        network = context.new_cdp_session(self.page)
        network.send("Network.enable")
        network.on("Network.requestWillBeSent", self._sent)
        self.page.goto(origin)
        metadata = server.root + WELL_KNOWN + server.issuer.removeprefix(server.root)
        self.page.evaluate("words => start(...words)", [server.issuer, metadata, server.resource])

    def _sent(self, event):
        if event["request"]["method"] == "OPTIONS":
            self.preflights.append(event["request"]["url"])

    def says(self, token):
        return self.page.evaluate("token => verdict(token)", token)

    def refresh_list(self, token):
        """Fetches the list although the page has one that it could use."""
        self.page.evaluate("uri => verifier.refreshList(uri)", uri_of(token))

    def refresh_keys(self):
        self.page.evaluate("verifier.refreshKeys()")

    def fetched(self):
        """What the page fetched since the last call."""
        return self.page.evaluate("verifier.documents.log.splice(0)")


@pytest.fixture
def verifier(browser, origin, issuer):
    opened = Verifier(browser, origin, issuer)
    yield opened
    opened.page.context.close()
    assert opened.console == []


def uri_of(token):
    return jwt.decode(token, options={"verify_signature": False})["status"]["status_list"]["uri"]


def documents_of(server, token):
    """The metadata, the keys and the list, in the order in which the page fetches them."""
    path = server.issuer.removeprefix(server.root)
    return [server.root + WELL_KNOWN + path, server.issuer + "/.well-known/jwks.json", uri_of(token)]


def test_verifies_with_caches(issuer, verifier):
    """One fetch of each document serves all tokens. To fetch one again, the page sends its ETag, and
    keeps what it has after a 304."""
    token = issuer.exchange(audience=issuer.resource)["access_token"]
    wanted = documents_of(issuer, token)
    assert verifier.says(token) == issuer.client_id
    first = verifier.fetched()
    assert [(one["url"], one["status"]) for one in first] == [(url, 200) for url in wanted]
    # Requests without a header of their own need no preflight.
    assert verifier.preflights == []
    for one in first:
        assert one["headers"]["etag"].startswith('"') and "max-age=" in one["headers"]["cache-control"], one
        assert "x-request-id" in one["headers"], one

    others = [issuer.exchange(audience=issuer.resource)["access_token"] for _ in range(3)]
    assert [verifier.says(one) for one in [token, *others]] == [issuer.client_id] * 4
    refused = [tampered(token), issuer.exchange(audience=issuer.audience)["access_token"], requests.get(uri_of(token), timeout=10).text]
    assert all(verifier.says(one).startswith("refused: ") for one in refused)
    # Only the list may have ended meanwhile, on a slow machine twice.
    again = [one["url"] for one in verifier.fetched()]
    assert set(again) <= {uri_of(token)} and len(again) <= 2, again

    verifier.refresh_keys()
    assert [(one["url"], one["status"]) for one in verifier.fetched()] == [(url, 304) for url in wanted[:2]]
    # If the list was signed again between two fetches, the second is answered with the new one.
    for _ in range(5):
        verifier.refresh_list(token)
        if verifier.fetched()[-1]["status"] == 304:
            break
    else:
        raise AssertionError("a list that was fetched before was never answered with 304")
    assert [verifier.says(one) for one in [token, *others]] == [issuer.client_id] * 4
    # `If-None-Match` needs one, which Chromium keeps for later requests of the same URL, for as long as it likes.
    assert set(verifier.preflights) == set(wanted)


def test_revocation_is_learned_by_refreshing(issuer, verifier):
    """A revoked token is accepted as long as the page may use its list, and refused after it: within one
    `ttl` of the revocation. Another token remains valid."""
    key, other = issuer.new_key(), issuer.exchange(audience=issuer.resource)["access_token"]
    answer = requests.post(
        issuer.issuer + "/v1/exchange",
        json={"audience": issuer.resource},
        headers={"Authorization": f"Bearer {key['value']}"},
        timeout=10,
    )
    token = answer.json()["access_token"]
    assert uri_of(token) == uri_of(other)
    assert (verifier.says(token), verifier.says(other)) == (issuer.client_id, issuer.client_id)
    verifier.fetched()
    issuer.admin("POST", f"/api-keys/{key['id']}/revoke")
    revoked = time.monotonic()
    while (said := verifier.says(token)) == issuer.client_id:
        # And ten seconds for a busy machine.
        assert time.monotonic() < revoked + TTL + 10
        verifier.page.wait_for_timeout(100)
    print(f"refused {time.monotonic() - revoked:.1f} s after the revocation")
    assert said == "refused: revoked or suspended"
    assert verifier.says(other) == issuer.client_id
    # A list that was signed before the revocation, and the one after it.
    fetched = [one["url"] for one in verifier.fetched()]
    assert set(fetched) == {uri_of(token)} and len(fetched) <= 2, fetched


def test_errors_can_be_read(browser, origin, issuer):
    """A page can tell an error of the server from a network that is down: it reads the status, the
    problem and the id of the request."""
    verifier = Verifier(browser, origin, issuer)
    token = issuer.exchange(audience=issuer.resource)["access_token"]
    read = "url => fetch(url, { headers: { 'If-None-Match': '\"1\"' } }).then(async (one) => [one.status, (await one.json()).code, one.headers.has('x-request-id')])"
    lists = issuer.issuer + "/v1/status-lists/"
    assert verifier.page.evaluate(read, lists + "stl_01JD8V3T6Q4Z9R7M2N5K8P1XYA") == [404, "not_found", True]
    assert verifier.page.evaluate(read, uri_of(token) + "?time=1") == [501, "not_implemented", True]
    # Chromium reports each error that a page receives. A response that the page may not read would be
    # reported as blocked by CORS, as that of an operation which is not public.
    assert ["status of 404" in verifier.console[0], "status of 501" in verifier.console[1], len(verifier.console)] == [True, True, 2]
    assert verifier.page.evaluate("url => fetch(url).catch((error) => error.name)", issuer.issuer + "/v1/api-keys") == "TypeError"
    assert "blocked by CORS policy" in verifier.console[2]
    verifier.page.context.close()
