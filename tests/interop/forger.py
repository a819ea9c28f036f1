"""An issuer that signs arbitrary tokens, including those that Keyswap never signs and that
a verifier must refuse."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm


class Forger:
    audience = "https://projects.example/api"

    def __init__(self):
        curves = {"ES256": ec.SECP256R1(), "ES512": ec.SECP521R1()}
        self._curves, self._keys, self._jwks = curves, {}, []
        # The number of fetches of the keys, and further documents by path.
        self.fetched, self.pages = 0, {}
        for algorithm in curves:
            self.add_key(algorithm, algorithm)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler):
                answer = {"issuer": self.issuer, "jwks_uri": self.issuer + "/jwks"}
                if handler.path in ["/jwks", "/.well-known/jwks.json"]:
                    self.fetched += 1
                    answer = {"keys": self._jwks}
                body = (self.pages.get(handler.path) or json.dumps(answer)).encode()
                handler.send_response(200)
                handler.send_header("Content-Type", "application/json")
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def add_key(self, kid, algorithm="ES256", published=True):
        self._keys[kid] = key = ec.generate_private_key(self._curves[algorithm])
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        if published:
            self._jwks.append({**jwk, "kid": kid, "alg": algorithm, "use": "sig"})

    def token(self, algorithm="ES256", typ="at+jwt", kid=None, **changes):
        """A token as Keyswap signs it, apart from the changes. A claim of None is omitted."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.audience, "sub": "svc_1", "iat": now, "exp": now + 600}
        claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        kid = kid or algorithm
        return jwt.encode(claims, self._keys[kid], algorithm, {"typ": typ, "kid": kid})

    def stop(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
