"""One verification path: a service trusts an identity provider and Keyswap alike, and queries
neither about a token."""

import contextlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from keyswap import Server
from ports import reserve_port
from processes import Program

CALLS = 1000


@contextlib.contextmanager
def program(script, *arguments):
    """Runs a Node program that reports when it is ready, and yields its URL."""
    port = reserve_port()
    node = Program(["node", script, str(port), *arguments], stderr=subprocess.STDOUT)
    try:
        # oidc-provider prints warnings first.
        while node.read_line() != "ready":
            pass
        yield f"http://127.0.0.1:{port}"
    finally:
        node.end()


@pytest.fixture
def provider(scripts):
    with program(scripts / "identity_provider.mjs", Server.resource) as url:
        yield url


@pytest.fixture
def service(scripts, provider, one_server):
    metadata = [
        requests.get(issuer + "/.well-known/openid-configuration", timeout=10).json()
        for issuer in [provider, one_server.issuer]
    ]
    trusted = {document["issuer"]: document["jwks_uri"] for document in metadata}
    with program(scripts / "sample_service.mjs", Server.resource, json.dumps(trusted)) as url:
        yield url


def call(service, token):
    return requests.get(service, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def test_same_code_verifies_both_issuers(service, provider, one_server):
    grant = {"grant_type": "client_credentials", "scope": "projects:read", "resource": Server.resource}
    answer = requests.post(provider + "/token", data=grant, auth=("browser", "not-a-secret"), timeout=10)
    assert answer.ok, answer.text
    for issuer, subject, token in [
        (provider, "browser", answer.json()["access_token"]),
        (one_server.issuer, one_server.client_id, one_server.exchange(audience=Server.resource)["access_token"]),
    ]:
        response = call(service, token)
        assert response.status_code == 200, response.text
        assert response.json() == {"issuer": issuer, "subject": subject}


def test_invalid_tokens_are_refused(service, servers, one_server):
    def token(server=one_server, **asked):
        return server.exchange(**{"audience": Server.resource, **asked})["access_token"]

    other = servers("sqlite", "ES384")
    for status, bad in [
        (403, token(scope="projects:write")),
        (401, token(audience=Server.audience)),
        (401, token(other)),
        (401, token()[:-4] + "AAAA"),
        (401, one_server.key),
    ]:
        assert call(service, bad).status_code == status


def test_thousand_calls_fetch_the_jwks_once(service, one_server):
    tokens = [one_server.exchange(audience=Server.resource)["access_token"] for _ in range(10)]
    # A first call, so that ten threads do not find an empty cache.
    before = one_server.answers()
    assert call(service, tokens[0]).status_code == 200
    assert one_server.answers() - before == 1 + 1  # the metrics request and the JWKS
    before = one_server.answers()

    def calls(token):
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            return [session.get(service, timeout=10).status_code for _ in range(CALLS // len(tokens))]

    with ThreadPoolExecutor(len(tokens)) as threads:
        statuses = [status for part in threads.map(calls, tokens) for status in part]
    assert statuses == [200] * CALLS
    assert one_server.answers() - before == 1  # the metrics request
