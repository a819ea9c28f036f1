"""A running Keyswap with sample data. The tests access it only through HTTP."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import requests

from ports import reserve_port
from processes import assert_no_panic, end, run, start

ALGORITHMS = ["ES256", "ES384", "EdDSA", "RS256", "PS256"]
DATABASES = ["sqlite", "postgres"]
PERMISSIONS = ["projects:read", "projects:write"]

CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
API_KEY_TYPE = "urn:keyswap:params:oauth:token-type:api-key"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"


class Server:
    """`resource` is an audience identified by a URI, `audience` one identified by a name."""

    resource = "https://projects.example/api"
    audience = "reports"

    def __init__(self, binary, directory, database_url, algorithm, path="", more=None):
        self.algorithm = algorithm
        self.directory = directory
        port = reserve_port()
        self.root = f"http://127.0.0.1:{port}"
        self.issuer = self.root + path
        self.token_url = self.issuer + "/oauth/token"
        settings = {
            "server.bind": f"127.0.0.1:{port}",
            "server.public_url": self.issuer,
            "server.drain_delay": "0s",
            "database.url": database_url,
            "keys.dir": directory / "keys",
            "keys.create": "true",
            "signing_keys.algorithm": algorithm,
            # Reduces the wait for last-use times and exchange counts.
            "usage.flush_interval": "500ms",
            # Receivers of webhooks are on this machine.
            "webhooks.allowed_networks": '["127.0.0.0/8"]',
            "webhooks.allowed_ports": '["1024-65535"]',
            "webhooks.allow_http": "true",
            **(more or {}),
        }
        flags = [word for path, value in settings.items() for word in ("--set", f"{path}={value}")]
        # Settings in the environment of the caller must not apply.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYSWAP")}
        self.command = lambda *words: run([binary, *words, *flags], env=environment, cwd=directory, check=True)
        self.log = directory / "log"
        with open(self.log, "ab") as log:
            self.process = start([binary, "serve", *flags], stdout=log, stderr=log, env=environment, cwd=directory)
        try:
            self._wait_until_ready()
            self._fill()
        except BaseException:
            end(self.process)
            assert_no_panic(self.log)
            raise

    def _wait_until_ready(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if requests.get(self.root + "/readyz", timeout=5).status_code == 200:
                    return
            except (requests.ConnectionError, requests.Timeout):
                pass
            time.sleep(0.05)
        raise AssertionError("keyswap did not start:\n" + self.log.read_text())

    def _fill(self):
        self.admin_key = (self.directory / "keys" / "administrator.key").read_text().strip()
        for name in PERMISSIONS:
            self.admin("PUT", f"/permissions/{name}", {"assignable_to": ["service_client"]})
        self.admin("POST", "/audiences", {"identifier": self.resource})
        self.admin("POST", "/audiences", {"identifier": self.audience, "permissions": ["projects:read"]})
        client = self.admin("POST", "/service-clients", {"name": "Nightly report", "permissions": PERMISSIONS})
        self.client_id = client["id"]
        self.key = self.new_key()["value"]
        # A well-formed key, so that it is looked up, which is revoked.
        revoked = self.new_key()
        self.admin("POST", f"/api-keys/{revoked['id']}/revoke")
        self.revoked_key = revoked["value"]
        # Issued first, so that a test waits less for its expiry.
        self._expired_token = self.exchange(expires_in=1)["access_token"]
        self._expires = time.monotonic() + 1

    def new_key(self):
        owner = {"type": "service_client", "id": self.client_id}
        return self.admin("POST", "/api-keys", {"name": "Report", "owner": owner, "permissions": PERMISSIONS})

    def admin(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        response = requests.request(method, f"{self.issuer}/v1{path}", json=body, headers=headers, timeout=10)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def exchange(self, **body):
        """The response of an exchange, for clients that only verify."""
        headers = {"Authorization": f"Bearer {self.key}"}
        response = requests.post(self.issuer + "/v1/exchange", json=body, headers=headers, timeout=10)
        assert response.ok, response.text
        return response.json()

    def expired_token(self, leeway=0):
        """A token that expired more than `leeway` seconds ago."""
        time.sleep(max(0, self._expires + leeway + 1 - time.monotonic()))
        return self._expired_token

    def answers(self):
        """The number of requests that were answered, without this one."""
        lines = requests.get(self.root + "/metrics", headers={"X-API-Key": self.admin_key}, timeout=10).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("keyswap_http_responses_total{"))

    def stop(self):
        """Stops the server. Fails if it exits abnormally, or if its log reports a panic."""
        code = end(self.process)
        assert_no_panic(self.log)
        assert code == 0, f"{self.log}: exit code {code} after SIGTERM"


def stop_all(started):
    """Stops all of them concurrently, and then fails with all failures."""

    def failure_of(one):
        try:
            one.stop()
        except AssertionError as failure:
            return str(failure)

    with ThreadPoolExecutor(16) as threads:
        failures = [failure for failure in threads.map(failure_of, started) if failure]
    assert not failures, failures
