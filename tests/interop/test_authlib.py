"""Authlib obtains a token and verifies it (RFC 9068), for the algorithms that its validator
supports."""

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

import verify
from keyswap import ACCESS_TOKEN_TYPE, API_KEY_TYPE, TOKEN_EXCHANGE


def accepted(server, token, audience=None, scope=("projects:read", "projects:write")):
    verifier = verify.authlib if server.algorithm in verify.SUPPORTED[verify.authlib] else verify.joserfc
    audience = audience or server.issuer
    verify.check(server, verifier(server, token["access_token"], audience), audience, scope)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_client_credentials(server, method):
    session = OAuth2Session(server.client_id, server.key, token_endpoint_auth_method=method)
    accepted(server, session.fetch_token(server.token_url, grant_type="client_credentials"))


def test_scope_audience_and_resource(one_server):
    session = OAuth2Session(one_server.client_id, one_server.key, scope="projects:read")
    for name, value in [("audience", one_server.audience), ("resource", one_server.resource)]:
        token = session.fetch_token(one_server.token_url, grant_type="client_credentials", **{name: value})
        accepted(one_server, token, value, ["projects:read"])


def test_token_exchange(server):
    session = OAuth2Session(server.client_id, token_endpoint_auth_method="none")
    token = session.fetch_token(
        server.token_url, grant_type=TOKEN_EXCHANGE, subject_token=server.key, subject_token_type=API_KEY_TYPE
    )
    assert token["issued_token_type"] == ACCESS_TOKEN_TYPE
    accepted(server, token)


def test_refused(one_server):
    session = OAuth2Session(one_server.client_id, one_server.revoked_key)
    with pytest.raises(OAuthError, match="invalid_client"):
        session.fetch_token(one_server.token_url, grant_type="client_credentials")
