#!/usr/bin/env python3
"""Verifies a token of Keyswap with PyJWT: python.py ISSUER AUDIENCE TOKEN"""

import json
import sys
import urllib.request

import jwt  # pip install 'PyJWT[crypto]'

issuer, audience, token = sys.argv[1:]
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
print(verified["payload"]["sub"], verified["payload"].get("scope", ""))
