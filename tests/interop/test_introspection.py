"""Introspection (RFC 7662, RFC 9701) and revocation (RFC 7009) with client libraries."""

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session

INACTIVE = {"active": False}


def service(server):
    """Creates a service that may introspect. Returns its client id and its key."""
    client = server.admin("POST", "/service-clients", {"name": "Asks", "permissions": ["keyswap:validate"]})["id"]
    body = {"name": "Asks", "owner": {"type": "service_client", "id": client}, "permissions": ["keyswap:validate"]}
    return client, server.admin("POST", "/api-keys", body)["value"]


def test_oauth4webapi(server, node):
    client, key = service(server)
    token = server.exchange()["access_token"]
    done = node("oauth4webapi.mjs", "introspect_and_revoke", server, token=token, serviceId=client, serviceKey=key)
    plain, signed = done["before"]
    assert plain["active"] and plain["client_id"] == server.client_id and plain["scope"] == "projects:read projects:write"
    assert signed == plain
    assert done["after"] == [INACTIVE, INACTIVE]


def test_oauth4webapi_with_the_client_id_of_the_readme(one_server, node):
    """A key without an owner. The README takes the client id from introspection."""
    body = {"name": "Asks", "owner": {"type": "none"}, "permissions": ["keyswap:validate"]}
    asks = one_server.admin("POST", "/api-keys", body)
    token = one_server.exchange()["access_token"]
    headers = {"Authorization": f"Bearer {one_server.admin_key}"}
    form = {"token": asks["value"]}
    answer = requests.post(one_server.issuer + "/oauth/introspect", data=form, headers=headers, timeout=10).json()
    client = answer["client_id"]
    assert client == asks["id"]
    done = node("oauth4webapi.mjs", "introspect_and_revoke", one_server, token=token, serviceId=client, serviceKey=asks["value"])
    plain, signed = done["before"]
    assert plain["active"] and signed == plain


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib(one_server, method):
    client, key = service(one_server)
    token = one_server.exchange()["access_token"]
    asks = OAuth2Session(client, key, token_endpoint_auth_method=method)
    ends = OAuth2Session(one_server.client_id, one_server.key, revocation_endpoint_auth_method=method)
    introspect, revoke = one_server.issuer + "/oauth/introspect", one_server.issuer + "/oauth/revoke"
    for hint in ["access_token", "refresh_token", None]:
        answer = asks.introspect_token(introspect, token=token, token_type_hint=hint).json()
        assert answer["active"] and answer["sub"] == one_server.client_id
    assert ends.revoke_token(revoke, token=token, token_type_hint="refresh_token").status_code == 200
    assert asks.introspect_token(introspect, token=token).json() == INACTIVE
