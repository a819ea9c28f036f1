"""Python libraries that verify a token, each used as documented. Functions of
server, token and audience."""

import jwt
import requests
from authlib.oauth2.rfc8414 import get_well_known_url
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from keyswap import ALGORITHMS

REQUIRED = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]


def metadata(server):
    response = requests.get(get_well_known_url(server.issuer, external=True), timeout=10)
    response.raise_for_status()
    return response.json()


def pyjwt(server, token, audience):
    key = jwt.PyJWKClient(metadata(server)["jwks_uri"]).get_signing_key_from_jwt(token)
    return jwt.decode(
        token, key, algorithms=ALGORITHMS, issuer=server.issuer, audience=audience, options={"require": REQUIRED}
    )


def joserfc(server, token, audience):
    keys = KeySet.import_key_set(requests.get(metadata(server)["jwks_uri"], timeout=10).json())
    decoded = joserfc_jwt.decode(token, keys, algorithms=ALGORITHMS)
    rules = {name: {"essential": True} for name in REQUIRED}
    rules["iss"]["value"] = server.issuer
    rules["aud"]["value"] = audience
    joserfc_jwt.JWTClaimsRegistry(**rules).validate(decoded.claims)
    assert decoded.header["typ"] == "at+jwt"
    return decoded.claims


def authlib(server, token, audience):
    class Validator(JWTBearerTokenValidator):
        def get_jwks(self):
            return requests.get(metadata(server)["jwks_uri"], timeout=10).json()

    validator = Validator(issuer=server.issuer, resource_server=audience)
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, ["projects:read"], None)
    return dict(claims)


# The algorithms that each library supports. Authlib's validator accepts no list of algorithms, and
# leaves joserfc at the two that it recommends.
SUPPORTED = {
    pyjwt: set(ALGORITHMS),
    joserfc: set(ALGORITHMS),
    authlib: {"ES256", "RS256"},
}


def tampered(token):
    """Replaces the signature by another one of the same form, so that the token is refused for it.
    """
    header, payload, signature = token.split(".")
    return f"{header}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def check(server, claims, audience, scope):
    """Checks the claims that every token of the tests' service client has, for any library."""
    assert claims["iss"] == server.issuer
    assert claims["aud"] == audience
    assert claims["sub"] == claims["client_id"] == server.client_id
    assert claims["sub_type"] == "service_client"
    assert set(claims["scope"].split()) == set(scope)
    assert claims["exp"] - claims["iat"] == 600


def verified(server, answer, audience=None, scope=("projects:read", "projects:write")):
    """Checks a response of the token endpoint and its token, for clients that do not verify."""
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 600
    granted = answer["scope"]
    # Authlib and oauthlib return a list or a string.
    assert set(granted.split() if isinstance(granted, str) else granted) == set(scope)
    audience = audience or server.issuer
    check(server, pyjwt(server, answer["access_token"], audience), audience, scope)
