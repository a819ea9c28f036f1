"""Webhooks, verified with the library that receivers use (standardwebhooks of PyPI)."""

import http.server
import threading
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError


@pytest.fixture
def receiver():
    """A receiver on the loopback interface. `messages` holds the headers and the body of each
    request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.server.messages.append((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.messages = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_only_genuine_deliveries_verify(one_server, receiver):
    url = f"http://127.0.0.1:{receiver.server_port}/"
    hook = one_server.admin("POST", "/webhooks", {"url": url, "event_types": ["api_key.created"]})
    tested = one_server.admin("POST", f"/webhooks/{hook['id']}/test")
    assert tested["delivered"] and tested["status"] == 204
    key = one_server.new_key()
    deadline = time.monotonic() + 20
    while len(receiver.messages) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    types = []
    for headers, body in receiver.messages:
        types.append(Webhook(hook["secret"]).verify(body, headers)["type"])
        with pytest.raises(WebhookVerificationError):
            Webhook(hook["secret"]).verify(body + b" ", headers)
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "A" * 43 + "=").verify(body, headers)
    assert types == ["webhook.test", "api_key.created"]
    event = Webhook(hook["secret"]).verify(receiver.messages[1][1], receiver.messages[1][0])["data"]
    assert event["subject"] == {"type": "api_key", "id": key["id"]}
    assert receiver.messages[1][0]["webhook-id"] == event["id"]
