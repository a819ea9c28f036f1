"""Replicas on one PostgreSQL that come and go, a client that exchanges a key at all of them, and
verifiers that check every token."""

import base64
import collections
import dataclasses
import json
import random
import signal
import threading
import time

import requests

from live_servers import Front, Replica
from live_verifiers import CurlCache, Jose, PyJwt
from live_watch import Watch


# An exchange that a replica refused because its snapshot of the signing keys was stale.
STALE = "stale view"


@dataclasses.dataclass(frozen=True)
class Rules:
    """The settings of Keyswap that describe the verifiers, in seconds."""

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


class Deployment:
    def __init__(self, binary, directory, scripts, database_url, rules, cache=None, leeway=None):
        """`cache` and `leeway` are the actual behavior of the verifiers, where it
        differs from the rules."""
        self.binary, self.directory, self.rules = binary, directory, rules
        self.replicas, self.issued, self.latest = [], [], {}
        self.answers = collections.Counter()
        self.faults = []
        self.jumps = set()
        self.looks = 0
        self.names = self.kills = self.freezes = 0
        self.keys = []
        self.watches = []
        self.chance = random.Random(4)
        # The ends of exchanges and kills, of all new tokens, and of everything.
        self.stopping, self.ended, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.front = Front(self)
        self.issuer = f"http://127.0.0.1:{self.front.server_port}"
        self.settings = {
            "server.public_url": self.issuer,
            "database.url": database_url,
            # Longer than replicas are suspended: here, only the age of their signing keys counts. The tests of failovers
            # are those of the lease.
            "database.lease": "10s",
            "keys.dir": directory / "keys",
            "keys.create": "true",
            "signing_keys.algorithm": "ES256",
            "usage.flush_interval": "500ms",
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
        self._thread(self._every, 0.2, self._look_at_replicas, self.closed)
        self._wait_until_ready(first)
        self._fill()
        for _ in range(2):
            self._wait_until_ready(self._add())
        facts = (self.issuer, self.issuer + "/.well-known/jwks.json", cache, leeway)
        verifiers = [
            PyJwt("PyJWT that refetches", *facts, 0),
            PyJwt("PyJWT that never does", *facts, cache),
            Jose(*facts, scripts),
            CurlCache(*facts, self.directory),
        ]
        self.watches = [Watch(verifier, self) for verifier in verifiers]

    def run(self, rotations, deadline, disturb=None, until=lambda: False):
        """Runs until this number of rotations or until `until` is true, and then until every token
        was refused after its expiry."""
        began = time.monotonic()
        swapping = [
            self._thread(self._every, 0.2, self._swap, self.stopping),
            self._thread(self._every, 0.25, self._look_at_keys, self.stopping),
            *([self._thread(self._every, 0, disturb, self.stopping)] if disturb else []),
        ]
        watching = [self._thread(watch.run) for watch in self.watches]
        while self.rotations() < rotations and not until() and not self.faults and time.monotonic() - began < deadline:
            time.sleep(0.1)
        self.stopping.set()
        self._join(swapping)
        self.ended.set()
        self._join(watching)
        self._look_at_keys()
        return time.monotonic() - began

    def _join(self, threads):
        deadline = time.monotonic() + 60
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
            if thread.is_alive():
                self.faults.append(f"{thread.name} did not end")

    def rotations(self):
        """The number of keys that signed a token after the first key."""
        return max(0, len(self.latest) - 1)

    def samples(self):
        """A token of each of the last keys that no longer sign."""
        return list(self.latest.values())[:-1][-8:]

    def close(self):
        """Stops everything in order. Returns the exit codes of the replicas."""
        for watch in self.watches:
            watch.verifier.close()
        self._close_front()
        return {replica.stop() for replica in self.replicas if not replica.killed}

    def kill_all(self):
        """Ends everything that is still running after a failure."""
        for event in (self.stopping, self.ended):
            event.set()
        self._close_front()
        failures = []
        for end in [watch.verifier.kill for watch in self.watches] + [replica.kill for replica in self.replicas]:
            try:
                end()
            except AssertionError as failure:
                failures.append(str(failure))
        assert not failures, failures

    def _close_front(self):
        self.closed.set()
        self.front.shutdown()
        self.front.server_close()

    def _thread(self, work, *arguments):
        def run():
            try:
                work(*arguments)
            except Exception as error:
                self.faults.append(f"{work.__name__} {arguments}: {error!r}")

        thread = threading.Thread(target=run, name=work.__qualname__, daemon=True)
        thread.start()
        return thread

    def _every(self, seconds, work, end):
        while not end.wait(seconds):
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
        """Polls the readiness of the replicas. A killed replica is removed only here, as a load
        balancer would detect it."""
        for replica in list(self.replicas):
            replica.look()
            if replica.killed and not replica.ready:
                self.replicas.remove(replica)

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
        """Exchanges the key at every replica, ready or not."""
        for replica in list(self.replicas):
            was_ready = replica.was_ready
            try:
                answer = requests.post(replica.url("/v1/exchange"), headers=self.key, timeout=10)
            except requests.RequestException as error:
                gone = replica.killed or not was_ready
                self.answers["not there" if gone else "no answer"] += 1
                if not gone:
                    self.faults.append(f"an exchange at a replica that is up: {error!r}")
                continue
            if answer.status_code == 503 and was_ready and self._was_stale(replica):
                self.answers[STALE] += 1
                continue
            self.answers[answer.status_code] += 1
            if answer.status_code == 200:
                token = read(answer.json()["access_token"])
                self.issued.append(token)
                # The order is that of the first token of each key.
                self.latest[token.kid] = token
            elif answer.status_code != 503 or was_ready:
                self.faults.append(f"an exchange at a replica that was {was_ready=}: {answer.status_code} {answer.text}")

    def _was_stale(self, replica):
        try:
            return replica.was_stale(self.admin)
        except requests.RequestException as error:
            if not replica.killed:
                self.faults.append(f"the metrics of a replica that is up: {error!r}")
            return replica.killed

    def _look_at_keys(self):
        for replica in list(self.replicas):
            try:
                answer = requests.get(replica.url("/v1/signing-keys"), headers=self.admin, timeout=5)
            except requests.RequestException:
                continue
            if not answer.ok:
                continue
            self.looks += 1
            timeline = answer.json()
            self.keys = timeline["data"]
            states = collections.Counter(key["state"] for key in self.keys)
            if states["active"] != 1:
                self.faults.append(f"keys that sign: {states}")
            if timeline["rules"]["stable_since"]:
                self.jumps.add(timeline["rules"]["stable_since"])
            return

    def kill_and_add(self):
        """Kills one or two replicas at once. Their replacements start before or after."""
        if self.stopping.wait(self.chance.uniform(1, 3)):
            return
        up = [replica for replica in self.replicas if replica.ready and not replica.killed]
        # At least one replica remains.
        victims = self.chance.sample(up, min(self.chance.choice([1, 1, 2]), max(0, len(up) - 1)))
        before = self.chance.random() < 0.5
        added = [self._add() for _ in victims] if before else []
        for replica in added:
            self._wait_until_ready(replica)
        for victim in victims:
            victim.kill()
            self.kills += 1
        if not before:
            self.stopping.wait(self.chance.uniform(0, 1))
            for replica in [self._add() for _ in victims]:
                self._wait_until_ready(replica)

    def freeze(self):
        """Suspends one or two replicas for a while, as on a paused machine. They
        resume with their old state."""
        if self.stopping.wait(self.chance.uniform(0.3, 1)):
            return
        victims = self.chance.sample(self.replicas, self.chance.choice([1, 1, 2]))
        for victim in victims:
            victim.process.send_signal(signal.SIGSTOP)
        self.freezes += len(victims)
        time.sleep(self.chance.uniform(1.5, 4.5))
        for victim in victims:
            victim.process.send_signal(signal.SIGCONT)


def read(text):
    def part(n):
        encoded = text.split(".")[n]
        return json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))

    return Token(text, part(0)["kid"], part(1)["exp"])
