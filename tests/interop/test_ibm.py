"""IBM's SDK core: an application for IBM Cloud works with Keyswap after a change of the URL alone.
"""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ibm_cloud_sdk_core import ApiException, BaseService
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator

import verify


class Sink(BaseHTTPRequestHandler):
    """A service that verifies the token in each request."""

    def do_GET(self):
        token = self.headers["Authorization"].removeprefix("Bearer ")
        claims = verify.pyjwt(self.server.keyswap, token, self.server.keyswap.issuer)
        verify.check(self.server.keyswap, claims, self.server.keyswap.issuer, self.server.scope)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def service(server):
    sink = HTTPServer(("127.0.0.1", 0), Sink)
    sink.keyswap = server
    thread = threading.Thread(target=sink.serve_forever)
    thread.start()
    yield sink
    sink.shutdown()
    thread.join()
    sink.server_close()


@pytest.mark.parametrize("scope", [None, "projects:read"], ids=["whole", "narrow"])
def test_request(server, service, scope):
    service.scope = [scope] if scope else ["projects:read", "projects:write"]
    authenticator = IAMAuthenticator(server.key, url=server.issuer, scope=scope)
    client = BaseService(service_url=f"http://127.0.0.1:{service.server_port}", authenticator=authenticator)
    before = server.answers()
    for _ in range(2):
        # A response other than 2xx raises.
        assert client.send(client.prepare_request("GET", "/")).get_status_code() == 204
    # The metrics request, one token for both requests, and metadata and JWKS for each request to
    # the service, which caches neither.
    assert server.answers() - before == 1 + 1 + 2 * 2


def test_refused(one_server):
    authenticator = IAMAuthenticator(one_server.revoked_key, url=one_server.issuer)
    client = BaseService(service_url="http://127.0.0.1:9", authenticator=authenticator)
    with pytest.raises(ApiException) as refused:
        client.prepare_request("GET", "/")
    assert refused.value.status_code == 400
    assert "invalid_grant" in refused.value.http_response.text
