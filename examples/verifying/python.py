"""Verifies tokens of Keyswap from standard input: python.py ISSUER AUDIENCE PERMISSION [RESOURCE]"""

import base64
import re
import sys
import time
import zlib

import jwt  # pip install 'PyJWT[crypto]' requests
import requests

ALGORITHMS = ["ES256", "ES384", "EdDSA", "RS256", "PS256"]
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


class Verifier:
    """One for the whole service: it caches the keys and the lists."""

    def __init__(self, issuer, audience):
        self.issuer, self.audience, self.lists = issuer, audience, {}
        # Keys are kept for 5 minutes; for a `kid` it does not know it looks again, once in 30 seconds at most.
        self.keys = jwt.PyJWKClient(issuer + "/.well-known/jwks.json", lifespan=300, cooldown_duration=30, timeout=5)

    def verify(self, token, permission, resource=None):
        claims = self._decode(token, "at+jwt", ["iss", "aud", "exp", "sub"], audience=self.audience)
        if resource is not None and not grants(claims, permission, resource):
            raise jwt.InvalidTokenError("not granted on the resource")
        if resource is None and permission not in claims.get("scope", "").split():
            raise jwt.InvalidTokenError("the scope is missing")
        if "status" in claims and self._status(**claims["status"]["status_list"]) != 0:
            raise jwt.InvalidTokenError("revoked or suspended")
        return claims

    def _decode(self, token, typ, required, **expected):
        verified = jwt.decode_complete(
            token,
            self.keys.get_signing_key_from_jwt(token),
            algorithms=ALGORITHMS,
            issuer=self.issuer,
            leeway=30,
            options={"require": required},
            **expected,
        )
        if verified["header"].get("typ") != typ:
            raise jwt.InvalidTokenError(f"not of type {typ}")
        return verified["payload"]

    def _status(self, idx, uri):
        until, bits, packed = self.lists.get(uri, (0, 0, b""))
        if time.monotonic() >= until:
            if not uri.startswith(self.issuer + "/v1/status-lists/"):
                raise jwt.InvalidTokenError("not a list of the issuer")
            answer = requests.get(uri, timeout=5, allow_redirects=False)
            answer.raise_for_status()
            claims = self._decode(answer.text, "statuslist+jwt", ["iss", "sub", "exp"], subject=uri)
            bits, lst = claims["status_list"]["bits"], claims["status_list"]["lst"]
            packed = zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))
            self.lists[uri] = time.monotonic() + claims["ttl"], bits, packed
        return packed[idx * bits // 8] >> (idx * bits % 8) & ((1 << bits) - 1)


def main():
    issuer, audience, permission, *resource = sys.argv[1:]
    verifier = Verifier(issuer, audience)
    for token in sys.stdin:
        try:
            print(verifier.verify(token.strip(), permission, *resource)["sub"], flush=True)
        except Exception as error:  # any error: a token that cannot be verified is refused
            print(f"refused: {error}", flush=True)


main()
