"""Status lists as other libraries read them, behind verifiers that use no list at or after its
`iat + ttl`. Three libraries read every list: two in TypeScript, and one in Python, because the two
have the same code in common."""

import time

import jwt
import pytest
import requests
from token_status_list import BitArray

from conftest import new_postgres_database
from keyswap import ALGORITHMS, DATABASES, Server, stop_all

TTL, STALENESS = 3, 3
# For how long nothing is requested before a list is fetched, in seconds: longer than `ttl`, and
# until different moments in the life of a list.
QUIET = [3.2, 4.0, 4.8]
VALID, INVALID, SUSPENDED = 0, 1, 2
LIBRARIES = {"@owf/token-status-list", "@sd-jwt/jwt-status-list", "token-status-list"}
TOO_OLD = dict.fromkeys(LIBRARIES, {"refused": "the list is older than its ttl"})


@pytest.fixture(scope="module")
def both(binary, tmp_path_factory):
    """A server for each database. Nothing else requests anything from them."""
    running = {}
    try:
        for database in DATABASES:
            directory = tmp_path_factory.mktemp(f"status-{database}")
            url = f"sqlite://{directory}/keyswap.db" if database == "sqlite" else new_postgres_database()
            more = {"status_lists.ttl": f"{TTL}s", "signing_keys.replica_staleness": f"{STALENESS}s"}
            running[database] = Server(binary, directory, url, "ES256", more=more)
        yield running
    finally:
        stop_all(running.values())


@pytest.fixture(params=DATABASES)
def quick(request, both):
    return both[request.param]


@pytest.fixture
def read(node):
    """What each library reports of each token, with `list` instead of fetching one and `at` instead of the
    present time."""

    def read(server, *tokens, **more):
        said = node("status_lists.mjs", "read", server, tokens=tokens, **more)
        for token, of_token in zip(tokens, said, strict=True):
            of_token["token-status-list"] = read_in_python(server, token, **more)
        return said if len(said) > 1 else said[0]

    return read


def read_in_python(server, token, list=None, at=None):
    """As `read` in status_lists.mjs: the library knows the format, and the verifier the rules."""
    reference = jwt.decode(token, options={"verify_signature": False})["status"]["status_list"]
    list = list or fetch(reference["uri"])
    now = time.time() if at is None else at
    key = jwt.PyJWKClient(server.issuer + "/.well-known/jwks.json").get_signing_key_from_jwt(list)
    # PyJWT knows no other clock than that of the machine.
    options = {"require": ["iat", "exp", "ttl"], "verify_exp": False, "verify_iat": False}
    claims = jwt.decode(list, key, algorithms=ALGORITHMS, issuer=server.issuer, subject=reference["uri"], options=options)
    if now >= claims["exp"]:
        return {"refused": "ERR_JWT_EXPIRED"}
    if now >= claims["iat"] + claims["ttl"]:
        return {"refused": "the list is older than its ttl"}
    statuses = BitArray.load(claims["status_list"])
    others = [[index, statuses[index]] for index in range(len(statuses)) if statuses[index]]
    return {"status": statuses[reference["idx"]], "others": others, "bits": statuses.bits, "age": now - claims["iat"]}


def fetch(uri):
    response = requests.get(uri, timeout=10)
    assert response.ok, response.text
    return response.text


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def uri_of(token):
    return claims_of(token)["status"]["status_list"]["uri"]


def statuses(said):
    """The status by library. Fails with the reason if a library refuses the list."""
    assert set(said) == LIBRARIES
    refused = {library: one for library, one in said.items() if "refused" in one}
    assert not refused, refused
    return {library: one["status"] for library, one in said.items()}


def test_lists_of_quiet_servers_are_accepted(both, read):
    """However long nothing was requested, the next list can be used: a server that keeps the list that
    it signed last would serve one of the past."""
    tokens = {database: server.exchange()["access_token"] for database, server in both.items()}
    ages = []
    for quiet in QUIET:
        time.sleep(quiet)
        for database, server in both.items():
            # The first request after the pause is that for the list, and the check follows at once.
            list, at = fetch(uri_of(tokens[database])), time.time()
            said = read(server, tokens[database], list=list, at=at)
            assert statuses(said) == dict.fromkeys(LIBRARIES, VALID), (database, quiet)
            ages.append(said["token-status-list"]["age"])
    print(f"ages of the lists in seconds: {[round(age, 1) for age in ages]}")


def test_lists_are_used_until_their_ttl_ends(quick, read):
    """With the clock of the verifier on both sides of `iat + ttl`, and then with the time itself: the old
    copy is refused, and a new one accepted."""
    token = quick.exchange()["access_token"]
    copy = fetch(uri_of(token))
    claims = claims_of(copy)
    end = claims["iat"] + claims["ttl"]
    assert (claims["ttl"], claims["exp"] > end) == (TTL, True)
    assert statuses(read(quick, token, list=copy, at=end - 1)) == dict.fromkeys(LIBRARIES, VALID)
    for later in [0, 1, claims["exp"] - end - 1]:
        assert read(quick, token, list=copy, at=end + later) == TOO_OLD, later
    assert read(quick, token, list=copy, at=claims["exp"] + 1) == dict.fromkeys(LIBRARIES, {"refused": "ERR_JWT_EXPIRED"})

    time.sleep(max(0, end - time.time()))
    assert read(quick, token, list=copy) == TOO_OLD
    list, at = fetch(uri_of(token)), time.time()
    assert statuses(read(quick, token, list=list, at=at)) == dict.fromkeys(LIBRARIES, VALID)


def test_libraries_read_the_same_statuses(quick, read):
    """A suspended key, a resumed one, a revoked one, and all other indexes of the list."""
    keys = {name: quick.new_key() for name in ["suspended", "resumed", "revoked", "other"]}
    tokens = {name: exchange(quick, key) for name, key in keys.items()}
    assert {uri_of(token) for token in tokens.values()} == {uri_of(tokens["other"])}
    for name, change in [("suspended", "suspend"), ("resumed", "suspend"), ("resumed", "resume"), ("revoked", "revoke")]:
        quick.admin("POST", f"/api-keys/{keys[name]['id']}/{change}")
    expected = {"suspended": SUSPENDED, "resumed": VALID, "revoked": INVALID, "other": VALID}
    deadline = time.monotonic() + TTL + STALENESS + 10
    while True:
        list, at = fetch(uri_of(tokens["other"])), time.time()
        said = dict(zip(tokens, read(quick, *tokens.values(), list=list, at=at)))
        if {name: statuses(one) for name, one in said.items()} == {name: dict.fromkeys(LIBRARIES, status) for name, status in expected.items()}:
            break
        assert time.monotonic() < deadline, said
        time.sleep(0.2)
    everything = [(one["bits"], one["others"]) for one in said["other"].values()]
    assert everything[0] == everything[1] == everything[2]
    # The two of this test, and the key that every server revokes when it starts.
    assert everything[0][0] == 2 and sorted(status for _, status in everything[0][1]).count(SUSPENDED) == 1


def exchange(server, key):
    headers = {"Authorization": f"Bearer {key['value']}"}
    response = requests.post(server.issuer + "/v1/exchange", json={}, headers=headers, timeout=10)
    assert response.ok, response.text
    return response.json()["access_token"]
