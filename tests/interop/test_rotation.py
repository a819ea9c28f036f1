"""Automatic rotations with real verifiers, while replicas are killed and added: no valid token is
rejected, and none is accepted after its expiry or with a removed key. KEYSWAP_LIVE_ROTATIONS is the
number of rotations (3); `scripts/prove live` runs a hundred."""

import itertools
import os

import pytest

from conftest import new_postgres_database
from live import STALE, Deployment, Rules
from live_watch import LATE, moment

ROTATIONS = int(os.environ.get("KEYSWAP_LIVE_ROTATIONS", "3"))
# The percentage of exchanges that replicas may refuse because the machine did not let them refresh
# the signing keys in time. With a staleness limit of one second, two busy cores are enough for
# that. These refusals are correct; no other failure is permitted.
STALE_AT_MOST = 5
pytestmark = pytest.mark.timeout(240 + ROTATIONS * 25)


@pytest.fixture
def deploy(binary, scripts, tmp_path):
    running = []

    def start(rules, **what_verifiers_do):
        running.append(Deployment(binary, tmp_path, scripts, new_postgres_database(), rules, **what_verifiers_do))
        return running[-1]

    yield start
    for deployment in running:
        deployment.kill_all()


def test_rotates_by_its_period(deploy):
    deployment = deploy(Rules(period=10))
    hold(deployment, ROTATIONS, deployment.kill_and_add)
    assert deployment.kills >= ROTATIONS / 2


@pytest.mark.skipif(ROTATIONS < 5, reason="takes longer: scripts/prove live")
def test_rotates_as_fast_as_the_rules_allow(deploy):
    """Each key signs at the first moment at which every verifier must have it."""
    deployment = deploy(Rules(period=1))
    hold(deployment, ROTATIONS // 5, deployment.kill_and_add)
    assert deployment.kills >= ROTATIONS / 10


def test_resumed_server_serves_no_stale_keys(deploy):
    """Its snapshot may be older than the staleness limit, so it must refresh before it responds."""
    deployment = deploy(Rules(period=1))
    hold(deployment, max(2, ROTATIONS // 5), deployment.freeze)
    assert deployment.freezes >= max(1, ROTATIONS / 10)


def hold(deployment, rotations, disturb):
    rules = deployment.rules
    took = deployment.run(rotations, deadline=60 + rotations * 20, disturb=disturb)
    ended = deployment.close()
    keys = {key["kid"]: key for key in deployment.keys}
    print(report(deployment, took))

    assert not deployment.faults, deployment.faults[:10]
    assert deployment.answers[STALE] <= STALE_AT_MOST / 100 * deployment.answers.total(), deployment.answers
    assert deployment.rotations() >= rotations
    # The keys are read four times a second, if a replica responds.
    assert deployment.looks > took / 2, "hardly ever was it seen how many keys sign"
    assert deployment.front.unserved == 0
    assert ended == {0}
    for watch in deployment.watches:
        assert not (wrong := watch.rejected + watch.late + watch.unseen + watch.outlived()), wrong[:10]
        # Every verifier checked every token, before and after its expiry.
        assert watch.accepted == watch.over == len(deployment.issued) > 0
        # A key that no longer signs is accepted for a while, and then refused.
        assert watch.forged_accepted > 0
        assert watch.forged_refused > 0

    signed = [keys[kid] for kid in deployment.latest]
    for before, after in itertools.pairwise(signed):
        assert moment(before["retired_at"]) <= moment(after["activated_at"]), "two keys were active at once"
    for key in signed[1:]:
        published, activated = moment(key["published_at"]), moment(key["activated_at"])
        assert activated - published >= rules.staleness + rules.cache + rules.skew
    for key in signed:
        if key["removed_at"]:
            removed, retired = moment(key["removed_at"]), moment(key["retired_at"])
            assert removed - retired >= rules.staleness + rules.ttl + rules.leeway + rules.skew
            assert deployment.front.last_asked[key["kid"]] <= removed + rules.staleness + LATE


def test_detects_verifiers_that_break_the_rules(deploy):
    """Verifies the test itself: it detects verifiers that keep a JWKS for 8 s where Keyswap was
    configured for 1 s, and that accept tokens for 3 s too long."""
    deployment = deploy(Rules(period=1, cache=1, ttl=2), cache=8, leeway=4)
    looks_anew, *others = deployment.watches

    def found():
        return all(watch.rejected and watch.late and watch.outlived() for watch in others)

    took = deployment.run(100, deadline=60, until=found)
    deployment.close()
    print(report(deployment, took))
    assert found()
    assert not deployment.faults, deployment.faults[:10]
    # A verifier that refetches for an unknown kid recovers.
    assert not looks_anew.rejected


def report(deployment, took):
    lines = [
        f"{deployment.rotations()} rotations in {took:.0f} s by {deployment.rules}, "
        f"{deployment.kills} replicas killed and added, {deployment.freezes} frozen",
        f"{len(deployment.issued)} tokens by {len(deployment.latest)} keys; exchanges: {dict(deployment.answers)}",
        f"{deployment.front.served} JWKS served, {deployment.front.unserved} not; jumps of the clock: {deployment.jumps or 'none'}",
        *map(str, deployment.watches),
        *deployment.faults[:10],
    ]
    return "\n".join(lines)
