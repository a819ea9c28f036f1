import json
import os
import pathlib
import shutil
import subprocess
import uuid

import psycopg
import pytest

from keyswap import ALGORITHMS, DATABASES, Server

HERE = pathlib.Path(__file__).parent
SNIPPETS = HERE.parents[1] / "examples" / "verify"
VERIFYING = HERE.parents[1] / "examples" / "verifying"
CACHE = pathlib.Path(os.environ["KEYSWAP_INTEROP_CACHE"])


def pytest_collection_modifyitems(items):
    """The snippets last: by then there is a token that has long expired, and nobody waits for it."""
    items.sort(key=lambda item: item.path.name == "test_snippets.py")


@pytest.fixture(scope="session")
def binary(tmp_path_factory):
    """A copy: somebody may build while the tests run."""
    return shutil.copy2(os.environ["KEYSWAP_BIN"], tmp_path_factory.mktemp("bin") / "keyswap")


@pytest.fixture(scope="session")
def servers(binary, tmp_path_factory):
    """Starts a server for each database, algorithm and path that is asked for, and keeps it to the end."""
    running = {}

    def get(database, algorithm="ES256", path=""):
        wanted = (database, algorithm, path)
        if wanted not in running:
            directory = tmp_path_factory.mktemp(f"{database}-{algorithm}")
            url = f"sqlite://{directory}/keyswap.db" if database == "sqlite" else new_postgres_database()
            running[wanted] = Server(binary, directory, url, algorithm, path)
        return running[wanted]

    yield get
    ended = {wanted: server.stop() for wanted, server in running.items()}
    assert set(ended.values()) <= {0}, f"exit codes after SIGTERM: {ended}"


def new_postgres_database():
    server, name = os.environ["KEYSWAP_TEST_POSTGRES"], f"interop_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


@pytest.fixture(params=[(database, algorithm) for database in DATABASES for algorithm in ALGORITHMS], ids="-".join)
def server(request, servers):
    """Each database with each algorithm."""
    return servers(*request.param)


@pytest.fixture(params=DATABASES)
def one_server(request, servers):
    """Each database, where the algorithm makes no difference."""
    return servers(request.param)


@pytest.fixture(params=DATABASES)
def server_with_path(request, servers):
    """An issuer with a path."""
    return servers(request.param, path="/t1")


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    """Node looks for packages beside the file that imports them."""
    directory = tmp_path_factory.mktemp("scripts")
    (directory / "node_modules").symlink_to(CACHE / "node" / "node_modules")
    for script in [*HERE.glob("*.mjs"), *HERE.glob("clients/*.mjs"), SNIPPETS / "node.mjs"]:
        shutil.copy(script, directory)
    return directory


@pytest.fixture(scope="session")
def node(scripts):
    """Runs a function of a client script with what it needs as JSON; hands back the JSON it prints."""

    def run(script, case, server, **more):
        facts = {
            "issuer": server.issuer,
            "root": server.root,
            "clientId": server.client_id,
            "key": server.key,
            "algorithm": server.algorithm,
            "resource": server.resource,
            "audience": server.audience,
            **more,
        }
        done = subprocess.run(
            ["node", scripts / script, case, json.dumps(facts)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def go_build(tmp_path_factory):
    """Compiles one Go file against Debian's packages, which lie in a GOPATH."""
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str(CACHE / "go"),
        "GOFLAGS": "",
    }

    def build(source):
        program = tmp_path_factory.mktemp("go") / source.stem
        subprocess.run(["go", "build", "-o", program, source], check=True, env=environment, timeout=300)
        return program

    return build
