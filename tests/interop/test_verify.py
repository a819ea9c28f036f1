"""Every Python verifier with every algorithm: it verifies the algorithms in the table, and
raises for the others."""

import jwt
import pytest
from authlib.oauth2.rfc6750 import InvalidTokenError
from joserfc import errors as joserfc

import verify

UNSUPPORTED = {verify.authlib: InvalidTokenError}
# For another audience, an invalid signature, and an expired token.
REFUSALS = {
    verify.pyjwt: [jwt.InvalidAudienceError, jwt.InvalidSignatureError, jwt.ExpiredSignatureError],
    verify.joserfc: [joserfc.InvalidClaimError, joserfc.BadSignatureError, joserfc.ExpiredTokenError],
}


@pytest.mark.parametrize("verifier", verify.SUPPORTED, ids=lambda verifier: verifier.__name__)
def test_verifies(server, verifier):
    token = server.exchange()["access_token"]
    if server.algorithm in verify.SUPPORTED[verifier]:
        claims = verifier(server, token, server.issuer)
        verify.check(server, claims, server.issuer, ["projects:read", "projects:write"])
    else:
        with pytest.raises(UNSUPPORTED[verifier]):
            verifier(server, token, server.issuer)


@pytest.mark.parametrize("verifier", verify.SUPPORTED, ids=lambda verifier: verifier.__name__)
def test_refuses_what_is_wrong(one_server, verifier):
    token = one_server.exchange()["access_token"]
    assert verifier(one_server, token, one_server.issuer)
    bad = [
        (token, "https://another.example"),
        (verify.tampered(token), one_server.issuer),
        (one_server.expired_token(), one_server.issuer),
    ]
    for (token, audience), refusal in zip(bad, REFUSALS.get(verifier, REFUSALS[verify.joserfc]), strict=True):
        if verifier is verify.authlib:
            # Authlib verifies with joserfc, and reports its error only as the cause.
            with pytest.raises(InvalidTokenError) as refused:
                verifier(one_server, token, audience)
            assert isinstance(refused.value.__cause__, refusal)
        else:
            with pytest.raises(refusal):
                verifier(one_server, token, audience)
