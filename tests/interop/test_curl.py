"""curl, as in the README."""

import json

from keyswap import ACCESS_TOKEN_TYPE, API_KEY_TYPE, TOKEN_EXCHANGE
from processes import run
from verify import verified


def curl(*arguments):
    return json.loads(run(["curl", "-sS", "--fail-with-body", *arguments], timeout=30, check=True).stdout)


def form(**parameters):
    return [word for name, value in parameters.items() for word in ("--data-urlencode", f"{name}={value}")]


def test_basic(server):
    grant = form(grant_type="client_credentials")
    verified(server, curl("-u", f"{server.client_id}:{server.key}", *grant, server.token_url))


def test_body(server):
    grant = form(grant_type="client_credentials", client_id=server.client_id, client_secret=server.key)
    verified(server, curl(*grant, server.token_url))


def test_token_exchange(server):
    grant = form(
        grant_type=TOKEN_EXCHANGE, subject_token=server.key, subject_token_type=API_KEY_TYPE, resource=server.resource
    )
    answer = curl(*grant, server.token_url)
    assert answer["issued_token_type"] == ACCESS_TOKEN_TYPE
    verified(server, answer, server.resource)


def test_exchange(server):
    url = server.issuer + "/v1/exchange"
    verified(server, curl("-X", "POST", "-H", f"Authorization: Bearer {server.key}", url))
    body = json.dumps({"scope": "projects:read", "audience": server.audience})
    answer = curl("--json", body, "-H", f"X-API-Key: {server.key}", url)
    verified(server, answer, server.audience, ["projects:read"])
