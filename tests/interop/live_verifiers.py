"""Long-running verifiers that cache the JWKS for the configured time. Each checks tokens and
returns the times at which the check began and ended, and the reason for a refusal."""

import json
import os
import pathlib
import time

import jwt
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from processes import Program, run

ALGORITHM = "ES256"


class PyJwt:
    """With `cooldown` 0, it refetches at once for an unknown kid; with the cache time, it never
    does."""

    def __init__(self, name, issuer, jwks, cache, leeway, cooldown):
        self.name, self.issuer, self.leeway = name, issuer, leeway
        self.client = jwt.PyJWKClient(jwks, lifespan=cache, cooldown_duration=cooldown, timeout=10)

    def judge(self, tokens):
        return [verdict(self._check, token.text) for token in tokens]

    def judge_over(self, tokens):
        return [verdict(self._check_signature, token) for token in tokens]

    def _check(self, text):
        self._decode(text, self.client.get_signing_key_from_jwt(text), {})

    def _check_signature(self, token):
        # Uses the cached keys: a request for a forged kid must not keep the cache fresh.
        key = self.client.match_kid(self.client.get_signing_keys(), token.kid)
        if key is None:
            raise jwt.PyJWKClientError("no such key")
        self._decode(token.text, key, {"verify_exp": False})

    def _decode(self, text, key, options):
        options = {"require": ["iss", "sub", "aud", "exp", "iat"], **options}
        jwt.decode(
            text, key, algorithms=[ALGORITHM], issuer=self.issuer, audience=self.issuer, leeway=self.leeway, options=options
        )

    def close(self):
        pass

    kill = close


class CurlCache:
    """A JWKS file that curl fetches at most once per cache time, and joserfc."""

    name = "curl and joserfc"

    def __init__(self, issuer, jwks, cache, leeway, directory):
        self.jwks, self.cache = jwks, cache
        self.file = directory / "jwks.json"
        self.keys = None
        must = {"essential": True}
        rules = {"iss": {**must, "value": issuer}, "aud": {**must, "value": issuer}, "sub": must, "exp": must}
        self.claims = lambda: joserfc_jwt.JWTClaimsRegistry(leeway=leeway, **rules)

    def judge(self, tokens):
        return [verdict(self._check, token.text) for token in tokens]

    def judge_over(self, tokens):
        return [verdict(self._signed, token.text) for token in tokens]

    def _check(self, text):
        self.claims().validate(self._signed(text).claims)

    def _signed(self, text):
        if not self.file.exists() or time.time() - self.file.stat().st_mtime >= self.cache:
            new = self.file.with_suffix(".new")
            run(["curl", "-sSf", "--max-time", "10", "-o", new, self.jwks], timeout=20, check=True)
            os.replace(new, self.file)
            self.keys = KeySet.import_key_set(json.loads(self.file.read_text()))
        return joserfc_jwt.decode(text, self.keys, algorithms=[ALGORITHM])

    def close(self):
        pass

    kill = close


class Jose:
    """jose in a long-running Node process."""

    name = "jose"

    def __init__(self, issuer, jwks, cache, leeway, scripts: pathlib.Path):
        facts = json.dumps({"issuer": issuer, "jwks": jwks, "cache": cache, "leeway": leeway})
        self.program = Program(["node", scripts / "live_jose.mjs", facts])

    def judge(self, tokens):
        return self._ask([{"token": token.text} for token in tokens])

    def judge_over(self, tokens):
        return self._ask([{"token": token.text, "at": token.exp - 1} for token in tokens])

    def _ask(self, asked):
        if not asked:
            return []
        self.program.write_line(json.dumps(asked))
        return json.loads(self.program.read_line())

    def close(self):
        code = self.program.close()
        assert code == 0, f"{self.name}: exit code {code}"

    def kill(self):
        self.program.end()


def verdict(check, token):
    began = time.time()
    error = None
    try:
        check(token)
    except Exception as refusal:
        error = f"{type(refusal).__name__}: {refusal}"
    return began, time.time(), error
