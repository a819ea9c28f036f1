"""openid-client, oauth4webapi and jose, all by the same author, in Node. All three support
every algorithm of Keyswap."""

import pytest

from keyswap import ACCESS_TOKEN_TYPE
from verify import check, tampered, verified

GRANTS = ["basic_oauth2", "basic_oidc", "post_oauth2", "token_exchange"]
# The leeway of oauth4webapi, in seconds.
LEEWAY = 30
BOTH = ["projects:read", "projects:write"]


@pytest.mark.parametrize("case", [*GRANTS, "token_exchange_with_secret"])
def test_openid_client(server, node, case):
    answer = node("openid_client.mjs", case, server)
    assert answer.get("issued_token_type") == (ACCESS_TOKEN_TYPE if case.startswith("token_exchange") else None)
    # The library converts the type to lower case, which RFC 6749 section 5.1 permits.
    verified(server, {**answer, "token_type": answer["token_type"].title()})


@pytest.mark.parametrize("case", GRANTS)
def test_oauth4webapi(server, node, case):
    done = node("oauth4webapi.mjs", case, server)
    assert done["answer"].get("issued_token_type") == (ACCESS_TOKEN_TYPE if case == "token_exchange" else None)
    check(server, done["claims"], server.issuer, BOTH)


@pytest.mark.parametrize("case, scope", [("resource", BOTH), ("audience", ["projects:read"])])
def test_targets(one_server, node, case, scope):
    target = getattr(one_server, case)
    answer = node("openid_client.mjs", case, one_server)
    verified(one_server, {**answer, "token_type": answer["token_type"].title()}, target, scope)
    check(one_server, node("oauth4webapi.mjs", case, one_server)["claims"], target, scope)


def test_dpop_is_refused(one_server, node):
    assert node("openid_client.mjs", "dpop", one_server) == {"code": "invalid_request", "status": 400}


def test_openid_client_is_refused(one_server, node):
    answer = node("openid_client.mjs", "refused", one_server, key=one_server.revoked_key)
    # The library reports the challenge that RFC 9110 requires with 401, and ignores the body.
    assert answer == {"code": "OAUTH_WWW_AUTHENTICATE_CHALLENGE", "status": 401}


def test_oauth4webapi_chooses_the_algorithm(server, node):
    token = server.exchange()["access_token"]
    check(server, node("oauth4webapi.mjs", "any_algorithm", server, token=token), server.issuer, BOTH)


def test_jose(server, node):
    token = server.exchange()["access_token"]
    check(server, node("jose.mjs", "verify", server, token=token), server.issuer, BOTH)


def wrong(server):
    token = server.exchange()["access_token"]
    return [
        {"token": token, "audience": server.issuer},
        {"token": token, "audience": "https://another.example"},
        {"token": tampered(token), "audience": server.issuer},
        {"token": server.expired_token(LEEWAY), "audience": server.issuer},
    ]


def test_jose_refuses(one_server, node):
    refusals = node("jose.mjs", "refused", one_server, tokens=wrong(one_server))
    assert refusals == [
        "fulfilled",
        "ERR_JWT_CLAIM_VALIDATION_FAILED",
        "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
        "ERR_JWT_EXPIRED",
    ]


def test_oauth4webapi_refuses(one_server, node):
    refusals = node("oauth4webapi.mjs", "refused", one_server, tokens=wrong(one_server))
    assert refusals == [
        "fulfilled",
        'unexpected JWT "aud" (audience) claim value',
        "JWT signature verification failed",
        'unexpected JWT "exp" (expiration time) claim value, expiration is past current timestamp',
    ]
