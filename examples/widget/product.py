#!/usr/bin/env python3
"""A product of one page, with Keyswap's widget in its settings.

    KEYSWAP=http://127.0.0.1:8080 KEYSWAP_KEY=ks_… python3 examples/widget/product.py --user alice --organization acme

KEYSWAP_KEY holds keyswap:sessions, and stays here: the browser gets the token of a session for its user, which lasts minutes. Who that user
is, the product knows from its own sign-in; here it is a command line argument. Keyswap lets the page in by
portal.allowed_origins = ["http://localhost:3000"].
"""

import argparse
import http.server
import json
import os
import pathlib
import urllib.request

KEYSWAP = os.environ.get("KEYSWAP", "http://127.0.0.1:8080")
PAGE = pathlib.Path(__file__).with_name("settings.html").read_text()


def session(user, organization):
    """The token of a new session (POST /v1/portal-sessions)."""
    request = urllib.request.Request(
        f"{KEYSWAP}/v1/portal-sessions",
        data=json.dumps({"user_id": user, "organization_id": organization}).encode(),
        headers={"Authorization": f"Bearer {os.environ['KEYSWAP_KEY']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["token"]


class Product(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.split("?")[0] != "/":
            return self.answer(404, "text/plain", "There is only one page.")
        self.answer(200, "text/html; charset=utf-8", PAGE.replace("{keyswap}", KEYSWAP))

    def do_POST(self):
        # A form of another site cannot send this header.
        if self.path != "/keyswap-token" or self.headers.get("X-Product") != "settings":
            return self.answer(404, "text/plain", "There is nothing here.")
        self.answer(200, "text/plain", session(self.server.user, self.server.organization))

    def answer(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'self' 'sha256-{script_hash()}' {KEYSWAP}; style-src 'self' 'unsafe-inline'; connect-src 'self' {KEYSWAP}",
        )
        self.end_headers()
        self.wfile.write(body)


def script_hash():
    """The one inline script of the page (CSP Level 3, hash-source)."""
    import base64
    import hashlib

    script = PAGE.split('<script type="module">')[1].split("</script>")[0]
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--user", required=True, help="who is signed in to the product")
    parser.add_argument("--organization", help="where they work; left out: nowhere")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Product)
    server.user, server.organization = options.user, options.organization
    print(f"http://localhost:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
