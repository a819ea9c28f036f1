"""requests-oauthlib with oauthlib's BackendApplicationClient."""

import pytest
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from verify import verified


@pytest.fixture(autouse=True)
def over_http(monkeypatch):
    """The switch of oauthlib for tests without TLS."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def session(server, **options):
    return OAuth2Session(client=BackendApplicationClient(server.client_id, **options))


def test_basic(server):
    credentials = HTTPBasicAuth(server.client_id, server.key)
    verified(server, session(server).fetch_token(server.token_url, auth=credentials))


def test_body(server):
    token = session(server).fetch_token(server.token_url, client_secret=server.key, include_client_id=True)
    verified(server, token)


def test_scope_and_audience(one_server):
    narrow = session(one_server, scope=["projects:read"])
    token = narrow.fetch_token(one_server.token_url, client_secret=one_server.key, audience=one_server.audience)
    verified(one_server, token, one_server.audience, ["projects:read"])


def test_refused(one_server):
    with pytest.raises(InvalidClientError):
        session(one_server).fetch_token(one_server.token_url, client_secret=one_server.revoked_key)
