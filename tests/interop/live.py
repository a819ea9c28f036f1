"""Replicas on one PostgreSQL that come and go, a balancer before them, a client that swaps keys, and verifiers that check every
token again and again: from when it was minted until they refused it past its end."""

import base64
import collections
import dataclasses
import datetime
import http.client
import http.server
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time

import requests

from live_verifiers import CurlCache, Jose, PyJwt

# How much later than the moment that counts a thread may come to write it down.
LATE = 0.5
# A token that somebody still takes that long past its end is not waited for any longer.
GIVE_UP = 4


@dataclasses.dataclass(frozen=True)
class Rules:
    """What keyswap is told of the verifiers, in seconds."""

    period: int
    cache: int = 5
    staleness: int = 1
    skew: int = 1
    leeway: int = 1
    ttl: int = 3

    def settings(self):
        return {
            "signing_keys.rotation_period": f"{self.period}s",
            "signing_keys.verifier_cache_ttl": f"{self.cache}s",
            "signing_keys.replica_staleness": f"{self.staleness}s",
            "signing_keys.clock_skew": f"{self.skew}s",
            "signing_keys.verifier_leeway": f"{self.leeway}s",
            "tokens.default_ttl": f"{self.ttl}s",
            "tokens.max_ttl": f"{self.ttl}s",
            "status_lists.ttl": "1s",
        }


@dataclasses.dataclass(frozen=True)
class Token:
    text: str
    kid: str
    exp: int


class Replica:
    """A process: one that is killed never comes back, another one takes its place."""

    def __init__(self, binary, directory, name, settings):
        self.port = quiet_port()
        self.log = directory / f"{name}.log"
        self.killed = False
        self.ready = False
        self.was_ready = False
        settings = {**settings, "server.bind": f"127.0.0.1:{self.port}", "keys.witness": directory / f"{name}.witness"}
        flags = [word for path, value in settings.items() for word in ("--set", f"{path}={value}")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYSWAP")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([binary, "serve", *flags], stdout=log, stderr=log, env=environment, cwd=directory)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def look(self):
        """As a balancer does."""
        try:
            self.ready = requests.get(self.url("/readyz"), timeout=2).status_code == 200
        except requests.RequestException:
            self.ready = False
        self.was_ready |= self.ready

    def kill(self):
        self.killed = True
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


class Front(http.server.ThreadingHTTPServer):
    """Hands each request to the next replica that is ready, or to the one after it when that is gone. Notes when a key was last asked
    for and served."""

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


class Watch:
    """One verifier, and what it did with every token."""

    def __init__(self, verifier, deployment):
        self.verifier, self.deployment = verifier, deployment
        self.read = 0
        self.live = {}
        self.checks = self.accepted = self.over = self.forged_refused = self.forged_accepted = 0
        self.last_taken = {}
        self.rejected, self.late, self.unseen = [], [], []

    def run(self):
        while not self.deployment.ended.is_set() or self.live:
            self.look()
            time.sleep(0.05)

    def look(self):
        minted = self.deployment.minted
        read, self.read = self.read, len(minted)
        self.live.update((token, False) for token in minted[read : self.read])
        tokens = list(self.live)
        for token, (began, done, error) in zip(tokens, self.verifier.judge(tokens), strict=True):
            self.note(token, token.exp + self.deployment.rules.leeway, began, done, error)
        self.look_at_what_is_over()

    def note(self, token, end, began, done, error):
        self.checks += 1
        if error is None:
            self.accepted += not self.live[token]
            self.live[token] = True
            if began >= end:
                self.late.append(f"{token.kid}: taken {began - end:.3f} s past its end")
            if began >= end + GIVE_UP:
                del self.live[token]
        elif done < end:
            self.rejected.append(f"{token.kid}: {error}, {end - done:.3f} s before its end")
        elif began >= end:
            self.over += 1
            if not self.live.pop(token):
                self.unseen.append(f"{token.kid}: never accepted")

    def look_at_what_is_over(self):
        """Tokens by keys that sign no more, as if their time were now: what somebody could forge who stole such a key."""
        tokens = self.deployment.samples()
        for token, (began, _, error) in zip(tokens, self.verifier.judge_over(tokens), strict=True):
            if error is None:
                self.forged_accepted += 1
                self.last_taken[token.kid] = began
            else:
                self.forged_refused += 1

    def outlived(self):
        """Keys that were taken for longer after they left the JWKS than a verifier may keep it."""
        rules = self.deployment.rules
        removed = {key["kid"]: moment(key["removed_at"]) for key in self.deployment.keys if key["removed_at"]}
        since = {kid: taken - removed[kid] for kid, taken in list(self.last_taken.items()) if kid in removed}
        return [f"{kid}: {s:.3f} s after its removal" for kid, s in since.items() if s > rules.staleness + rules.cache + LATE]

    def __str__(self):
        return (
            f"{self.verifier.name}: {self.checks} checks; {self.accepted} tokens accepted, {self.over} refused past their end; "
            f"wrong: {len(self.rejected)} valid ones rejected, {len(self.late)} accepted past their end, "
            f"{len(self.unseen)} never accepted; by retired keys: {self.forged_accepted} accepted, {self.forged_refused} refused, "
            f"{len(self.outlived())} of these keys accepted for too long"
        )


class Deployment:
    def __init__(self, binary, directory, scripts, database_url, rules, cache=None, leeway=None):
        """`cache` and `leeway`: what the verifiers really do, where that is not what the rules say."""
        self.binary, self.directory, self.rules = binary, directory, rules
        self.replicas, self.minted, self.latest = [], [], {}
        self.answers = collections.Counter()
        self.faults = []
        self.jumps = set()
        self.names = self.kills = 0
        self.keys = []
        self.threads = []
        self.watches = []
        self.chance = random.Random(4)
        self.stopping, self.ended = threading.Event(), threading.Event()
        self.front = Front(self)
        self.issuer = f"http://127.0.0.1:{self.front.server_port}"
        self.settings = {
            "server.public_url": self.issuer,
            "database.url": database_url,
            "keys.dir": directory / "keys",
            "keys.create": "true",
            "signing_keys.algorithm": "ES256",
            **rules.settings(),
        }
        try:
            self._start(scripts, cache or rules.cache, leeway or rules.leeway)
        except BaseException:
            self.kill_all()
            raise

    def _start(self, scripts, cache, leeway):
        self._thread(self.front.serve_forever)
        first = self._add()
        self._thread(self._every, 0.2, self._look_at_replicas)
        self._wait_until_ready(first)
        self._fill()
        for _ in range(2):
            self._wait_until_ready(self._add())
        facts = (self.issuer, self.issuer + "/.well-known/jwks.json", cache, leeway)
        verifiers = [
            PyJwt("PyJWT that looks anew", *facts, 0),
            PyJwt("PyJWT that never does", *facts, cache),
            Jose(*facts, scripts),
            CurlCache(*facts, self.directory),
        ]
        self.watches = [Watch(verifier, self) for verifier in verifiers]

    def run(self, rotations, deadline, kills=True, until=lambda: False):
        """Until that many rotations have been seen, or `until`; then until every token was refused past its end."""
        began = time.monotonic()
        swapping = [
            self._thread(self._every, 0.2, self._swap),
            self._thread(self._every, 0.25, self._look_at_keys),
            *([self._thread(self._every, 0, self._kill_and_add)] if kills else []),
        ]
        watching = [self._thread(watch.run) for watch in self.watches]
        while self.rotations() < rotations and not until() and not self.faults and time.monotonic() - began < deadline:
            time.sleep(0.1)
        self.stopping.set()
        for thread in swapping:
            thread.join(60)
        self.ended.set()
        for thread in watching:
            thread.join(60)
        self._look_at_keys()
        return time.monotonic() - began

    def rotations(self):
        """How many keys signed a token after the first one did."""
        return max(0, len(self.latest) - 1)

    def samples(self):
        """A token of each of the last keys that signed and do no more."""
        return list(self.latest.values())[:-1][-8:]

    def close(self):
        for watch in self.watches:
            watch.verifier.close()
        self.front.shutdown()
        self.front.server_close()
        self.stopping.set()
        return {replica.stop() for replica in self.replicas if not replica.killed}

    def kill_all(self):
        self.stopping.set()
        self.ended.set()
        for replica in self.replicas:
            replica.kill()

    def _thread(self, work, *arguments):
        def run():
            try:
                work(*arguments)
            except Exception as error:
                self.faults.append(f"{work.__name__}: {error!r}")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def _every(self, seconds, work):
        while not self.stopping.wait(seconds):
            work()

    def _add(self):
        self.names += 1
        replica = Replica(self.binary, self.directory, f"replica-{self.names}", self.settings)
        self.replicas.append(replica)
        return replica

    def _wait_until_ready(self, replica):
        deadline = time.monotonic() + 60
        while not replica.was_ready:
            if time.monotonic() > deadline or replica.process.poll() is not None:
                raise AssertionError("keyswap did not start:\n" + replica.log.read_text())
            time.sleep(0.05)

    def _look_at_replicas(self):
        for replica in list(self.replicas):
            if not replica.killed:
                replica.look()

    def _fill(self):
        admin_key = (self.directory / "keys" / "administrator.key").read_text().strip()
        self.admin = {"Authorization": f"Bearer {admin_key}"}

        def make(path, body):
            answer = requests.post(self.replicas[0].url("/v1" + path), json=body, headers=self.admin, timeout=10)
            assert answer.ok, answer.text
            return answer.json()

        client = make("/service-clients", {"name": "Nightly report"})
        key = make("/api-keys", {"name": "Report", "owner": {"type": "service_client", "id": client["id"]}})
        self.key = {"Authorization": f"Bearer {key['value']}"}

    def _swap(self):
        """At every replica, whether it is ready or not."""
        for replica in list(self.replicas):
            was_ready = replica.was_ready
            try:
                answer = requests.post(replica.url("/v1/exchange"), headers=self.key, timeout=5)
            except requests.RequestException as error:
                gone = replica.killed or not was_ready
                self.answers["not there" if gone else "no answer"] += 1
                if not gone:
                    self.faults.append(f"an exchange at a replica that is up: {error!r}")
                continue
            self.answers[answer.status_code] += 1
            if answer.status_code == 200:
                token = read(answer.json()["access_token"])
                self.minted.append(token)
                # The order is that of the first token of each.
                self.latest[token.kid] = token
            elif answer.status_code != 503 or was_ready:
                self.faults.append(f"an exchange at a replica that was {was_ready=}: {answer.status_code} {answer.text}")

    def _look_at_keys(self):
        for replica in list(self.replicas):
            try:
                answer = requests.get(replica.url("/v1/signing-keys"), headers=self.admin, timeout=5)
            except requests.RequestException:
                continue
            if not answer.ok:
                continue
            told = answer.json()
            self.keys = told["data"]
            states = collections.Counter(key["state"] for key in self.keys)
            if states["active"] != 1:
                self.faults.append(f"keys that sign: {states}")
            if told["rules"]["steady_since"]:
                self.jumps.add(told["rules"]["steady_since"])
            return

    def _kill_and_add(self):
        """One or two at once; what takes their place is there before or after."""
        if self.stopping.wait(self.chance.uniform(1, 3)):
            return
        up = [replica for replica in self.replicas if replica.ready]
        victims = self.chance.sample(up, min(self.chance.choice([1, 1, 2]), len(up) - 1))
        before = self.chance.random() < 0.5
        added = [self._add() for _ in victims] if before else []
        for replica in added:
            self._wait_until_ready(replica)
        for victim in victims:
            victim.kill()
            self.kills += 1
            self.replicas.remove(victim)
        if not before:
            self.stopping.wait(self.chance.uniform(0, 1))
            for replica in [self._add() for _ in victims]:
                self._wait_until_ready(replica)


def quiet_port():
    """A free one that no outgoing connection gets by chance before a server has started there."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def read(text):
    def part(n):
        encoded = text.split(".")[n]
        return json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))

    return Token(text, part(0)["kid"], part(1)["exp"])


def moment(text):
    return datetime.datetime.fromisoformat(text).timestamp()
