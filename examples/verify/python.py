#!/usr/bin/env python3
"""Verifies a token of Keyswap with PyJWT: python.py ISSUER AUDIENCE TOKEN [PERMISSION RESOURCE]"""

import json
import re
import sys
import urllib.request

import jwt  # pip install 'PyJWT[crypto]'

DETAIL_TYPE = "urn:keyswap:params:oauth:authorization-details:access"
# An empty, `.` or `..` part, an escape that another server could decode again, or a character that no path has.
AMBIGUOUS = re.compile(r"/\.{0,2}(;[^/]*)?(/|$)|%(2[aef5]|3b|5c)|[*?#\\\s]", re.IGNORECASE)


def grants(claims, permission, resource):
    """Whether the token has the permission on the resource: without `authorization_details` that say so, it has not."""
    if AMBIGUOUS.search(re.sub(r"^[a-z][a-z0-9+.-]*://[^/]+", "", resource, flags=re.IGNORECASE)):
        return False
    return any(
        detail["type"] == DETAIL_TYPE
        and permission in detail["actions"]
        and any(matches(pattern, resource) for pattern in detail["locations"])
        for detail in claims.get("authorization_details", [])
    )


def matches(pattern, resource):
    """Compares part by part. `*` matches one part, at the end one or more."""
    wanted, parts = pattern.split("/"), resource.split("/")
    if wanted[-1] == "*":
        parts = parts[: len(wanted)]
    return len(wanted) == len(parts) and all(one in ("*", part) for one, part in zip(wanted, parts))


issuer, audience, token, *wanted = sys.argv[1:]
metadata = json.load(urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=5))
keys = jwt.PyJWKClient(metadata["jwks_uri"])  # keep it: it caches the keys, and looks again for one it does not know
try:
    verified = jwt.decode_complete(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=["ES256", "ES384", "EdDSA", "RS256", "PS256"],
        issuer=issuer,
        audience=audience,
        leeway=30,  # for clocks that differ: PyJWT refuses an `iat` that lies in the future
        options={"require": ["iss", "aud", "exp", "sub"]},
    )
except jwt.PyJWTError as error:
    sys.exit(f"refused: {error}")
if verified["header"].get("typ") != "at+jwt":
    sys.exit("refused: not an access token")
if wanted and not grants(verified["payload"], *wanted):
    sys.exit("refused: not granted on the resource")
print(verified["payload"]["sub"], verified["payload"].get("scope", ""))
