"""Replicas that are killed and added, and a load balancer in front of them."""

import http.client
import http.server
import json
import os
import re
import signal
import time

import requests

from ports import reserve_port
from processes import assert_no_panic, end, start


class Replica:
    """A server process. A killed replica is not restarted, but replaced by another one."""

    def __init__(self, binary, directory, name, settings):
        self.port = reserve_port()
        self.log = directory / f"{name}.log"
        self.killed = False
        self.stale = 0
        self.ready = False
        self.was_ready = False
        own = {"server.bind": f"127.0.0.1:{self.port}", "keys.rollback_guard": directory / f"{name}.rollback-guard"}
        settings = {**settings, **own, "server.drain_delay": "0s"}
        flags = [word for path, value in settings.items() for word in ("--set", f"{path}={value}")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYSWAP")}
        with open(self.log, "ab") as log:
            self.process = start([binary, "serve", *flags], stdout=log, stderr=log, env=environment, cwd=directory)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def look(self):
        """Polls the readiness, as a load balancer does."""
        try:
            self.ready = requests.get(self.url("/readyz"), timeout=2).status_code == 200
        except requests.RequestException:
            self.ready = False
        self.was_ready |= self.ready

    def was_stale(self, headers):
        """Whether the replica has refused to sign since the last call because its snapshot of the
        signing keys was stale. This happens if the machine does not run it for
        `signing_keys.replica_staleness`."""
        metrics = requests.get(self.url("/metrics"), headers=headers, timeout=10).text
        [count] = re.findall(r'^keyswap_signings_refused_total\{reason="stale"\} (\d+)', metrics, re.MULTILINE)
        before, self.stale = self.stale, int(count)
        return self.stale > before

    def kill(self):
        # Set first, because a client that gets no response reads it.
        self.killed = True
        end(self.process, signal.SIGKILL)
        assert_no_panic(self.log)

    def stop(self):
        """Stops the replica and returns its exit code."""
        code = end(self.process)
        assert_no_panic(self.log)
        return code


class Front(http.server.ThreadingHTTPServer):
    """Forwards each request to the next ready replica, or to the following one if that is
    unavailable. Records when each key was last requested and served."""

    daemon_threads = True

    def __init__(self, deployment):
        self.deployment = deployment
        self.turn = 0
        self.served = 0
        self.unserved = 0
        self.last_asked = {}
        super().__init__(("127.0.0.1", 0), Handler)

    def fetch(self, path):
        replicas = [replica for replica in self.deployment.replicas if replica.ready]
        self.turn += 1
        for n in range(len(replicas)):
            replica = replicas[(self.turn + n) % len(replicas)]
            connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=5)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.getheader("content-type"), answer.read()
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
        return 503, "text/plain", b"no replica is ready"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = time.time()
        status, kind, body = self.server.fetch(self.path)
        self.server.served += status == 200
        self.server.unserved += status != 200
        kids = [key["kid"] for key in json.loads(body)["keys"]] if status == 200 else []
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        for kid in kids:
            self.server.last_asked[kid] = max(asked, self.server.last_asked.get(kid, 0))

    def log_message(self, *_):
        pass
