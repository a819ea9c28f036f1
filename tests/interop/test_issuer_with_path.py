"""An issuer with a path: RFC 8414 puts the well-known part before the path, OpenID Connect after
it. Clients try either."""

import pytest
import requests
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url

import verify
from keyswap import DATABASES

BOTH = ["projects:read", "projects:write"]


def test_both_forms_of_the_metadata(server_with_path):
    server = server_with_path
    assert server.issuer == server.root + "/t1"
    before_path = get_well_known_url(server.issuer, external=True)
    assert before_path == server.root + "/.well-known/oauth-authorization-server/t1"
    metadata = requests.get(before_path, timeout=10).json()
    assert metadata["issuer"] == server.issuer
    assert metadata == requests.get(server.issuer + "/.well-known/openid-configuration", timeout=10).json()


@pytest.mark.parametrize("path", ["", "/t1"], ids=["without", "with"])
@pytest.mark.parametrize("database", DATABASES)
def test_authlib_accepts_the_metadata(servers, database, path):
    server = servers(database, path=path)
    metadata = AuthorizationServerMetadata(verify.metadata(server))
    # Authlib requires HTTPS. Everything else is checked unchanged.
    with_https = {
        name: value.replace("http://", "https://") if isinstance(value, str) else value
        for name, value in metadata.items()
    }
    AuthorizationServerMetadata(with_https).validate()


@pytest.mark.parametrize("case", ["basic_oauth2", "basic_oidc", "post_oauth2", "token_exchange"])
def test_clients_find_it(server_with_path, node, case):
    answer = node("openid_client.mjs", case, server_with_path)
    verify.verified(server_with_path, {**answer, "token_type": answer["token_type"].title()})
    claims = node("oauth4webapi.mjs", case, server_with_path)["claims"]
    verify.check(server_with_path, claims, server_with_path.issuer, BOTH)


@pytest.mark.parametrize("verifier", verify.SUPPORTED, ids=lambda verifier: verifier.__name__)
def test_a_token_verifies(server_with_path, verifier):
    token = server_with_path.exchange(audience=server_with_path.resource)["access_token"]
    claims = verifier(server_with_path, token, server_with_path.resource)
    verify.check(server_with_path, claims, server_with_path.resource, BOTH)
