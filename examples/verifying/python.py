"""Says of each token of Keyswap whether to serve who shows it: python.py ISSUER AUDIENCE SCOPE, tokens on standard input"""

import base64
import sys
import time
import zlib

import jwt  # pip install 'PyJWT[crypto]' requests
import requests

ALGORITHMS = ["ES256", "ES384", "EdDSA", "RS256", "PS256"]


class Verifier:
    """One for the whole service: it caches the keys and the lists."""

    def __init__(self, issuer, audience):
        self.issuer, self.audience, self.lists = issuer, audience, {}
        # Keys are kept for 5 minutes; for a `kid` it does not know it looks again, once in 30 seconds at most.
        self.keys = jwt.PyJWKClient(issuer + "/.well-known/jwks.json", lifespan=300, cooldown_duration=30, timeout=5)

    def verify(self, token, scope):
        claims = self._decode(token, "at+jwt", ["iss", "aud", "exp", "sub"], audience=self.audience)
        if scope not in claims.get("scope", "").split():
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
    issuer, audience, scope = sys.argv[1:]
    verifier = Verifier(issuer, audience)
    for token in sys.stdin:
        try:
            print(verifier.verify(token.strip(), scope)["sub"], flush=True)
        except Exception as error:  # whatever it was: who cannot be verified is not served
            print(f"refused: {error}", flush=True)


main()
