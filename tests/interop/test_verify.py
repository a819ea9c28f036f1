"""Every Python verifier with every algorithm: it verifies what the table says it can, and refuses the rest aloud."""

import pytest

import verify

@pytest.mark.parametrize("verifier", verify.SUPPORTED, ids=lambda verifier: verifier.__name__)
def test_verifies(server, verifier):
    token = server.exchange()["access_token"]
    if server.algorithm in verify.SUPPORTED[verifier]:
        claims = verifier(server, token, server.issuer)
        verify.check(server, claims, server.issuer, ["projects:read", "projects:write"])
    else:
        with pytest.raises(Exception, match="(?i)alg|invalid_token"):
            verifier(server, token, server.issuer)


@pytest.mark.parametrize("verifier", verify.SUPPORTED, ids=lambda verifier: verifier.__name__)
def test_refuses_what_is_wrong(one_server, verifier):
    token = one_server.exchange()["access_token"]
    header, payload, signature = token.split(".")
    assert verifier(one_server, token, one_server.issuer)
    for bad, audience in [
        (token, "https://another.example"),
        (f"{header}.{payload}.{signature[::-1]}", one_server.issuer),
        (one_server.expired_token(), one_server.issuer),
    ]:
        with pytest.raises(Exception):
            verifier(one_server, bad, audience)
