import contextlib
import http.server
import json
import os
import pathlib
import shutil
import threading
import uuid

import psycopg
import pytest

from playwright.sync_api import sync_playwright

from browser import CHROMIUM, FLAGS, NOT, Runway
from exhibit import Exhibit
from keyswap import ALGORITHMS, DATABASES, Server, stop_all
from processes import adopt_orphans, assert_none_left, run

HERE = pathlib.Path(__file__).parent
SNIPPETS = HERE.parents[1] / "examples" / "verify"
VERIFYING = HERE.parents[1] / "examples" / "verifying"
CACHE = pathlib.Path(os.environ["KEYSWAP_INTEROP_CACHE"])


# The order in which workers take the files: the longest first, so that the workers end
# at about the same time.
LONGEST = [
    *("test_rotation.py", "test_openapi.py", "test_verifying.py", "test_console.py", "test_pages.py", "test_accessibility.py"),
    *("test_double_clicks.py", "test_page_attacks.py", "test_status_list_libraries.py", "test_node.py", "test_snippets.py"),
]


def pytest_collection_modifyitems(items):
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


def pytest_generate_tests(metafunc):
    """Parametrizes fixtures by database. Pages do not depend on the database, so browser tests run
    on one, the `DATABASE` of their file; tests marked `every_database` run on each."""
    for fixture, scope in [("runway", "function"), ("deployment", "function"), ("exhibit", "module")]:
        if fixture in metafunc.fixturenames:
            on_each = metafunc.definition.get_closest_marker("every_database")
            metafunc.parametrize(fixture, DATABASES if on_each else [metafunc.module.DATABASE], indirect=True, scope=scope)


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left():
    """Set up first, and therefore torn down last: `binary` depends on it."""
    adopt_orphans()
    yield
    assert_none_left()


@pytest.fixture(scope="session")
def binary(no_process_is_left, tmp_path_factory):
    """A copy, because a build may replace the original while the tests run."""
    return shutil.copy2(os.environ["KEYSWAP_BIN"], tmp_path_factory.mktemp("bin") / "keyswap")


@pytest.fixture(scope="session")
def servers(binary, tmp_path_factory):
    """Starts a server for each requested database, algorithm and path, and stops all of them at the
    end."""
    running = {}

    def get(database, algorithm="ES256", path=""):
        wanted = (database, algorithm, path)
        if wanted not in running:
            directory = tmp_path_factory.mktemp(f"{database}-{algorithm}")
            url = f"sqlite://{directory}/keyswap.db" if database == "sqlite" else new_postgres_database()
            running[wanted] = Server(binary, directory, url, algorithm, path)
        return running[wanted]

    yield get
    stop_all(running.values())


@pytest.fixture(scope="session", autouse=True)
def early_servers(request, servers):
    """Starts the servers whose tokens must be long expired, if other files run first, so that no
    test waits for the expiry."""
    files = {item.path.name for item in request.session.items}
    if len(files) > 1 and files & {"test_snippets.py", "test_node.py"}:
        for database in DATABASES:
            servers(database)


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
    """Each database, for tests that do not depend on the algorithm."""
    return servers(request.param)


@pytest.fixture(params=DATABASES)
def server_with_path(request, servers):
    """A server whose issuer has a path."""
    return servers(request.param, path="/t1")


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    """A copy of the client scripts, because Node resolves packages relative to the importing file.
    """
    directory = tmp_path_factory.mktemp("scripts")
    (directory / "node_modules").symlink_to(CACHE / "node" / "node_modules")
    for script in [*HERE.glob("*.mjs"), *HERE.glob("clients/*.mjs"), SNIPPETS / "node.mjs"]:
        shutil.copy(script, directory)
    return directory


@pytest.fixture(scope="session")
def node(scripts):
    """Runs a function of a client script with its input as JSON, and returns the JSON it prints."""

    def call(script, case, server, **more):
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
        return json.loads(run(["node", scripts / script, case, json.dumps(facts)], check=True).stdout)

    return call


@pytest.fixture(scope="session")
def go_build(tmp_path_factory):
    """Compiles one Go file with the packages of Debian, which are in a GOPATH."""
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str(CACHE / "go"),
        "GOFLAGS": "",
    }

    def build(source):
        program = tmp_path_factory.mktemp("go") / source.stem
        run(["go", "build", "-o", program, source], check=True, env=environment, timeout=300)
        return program

    return build


@pytest.fixture(scope="session")
def runways(binary, tmp_path_factory):
    """A host application per database, stopped at the end."""
    running = {}

    def get(database):
        if database not in running:
            directory = tmp_path_factory.mktemp(f"pages-{database}")
            url = f"sqlite://{directory}/keyswap.db" if database == "sqlite" else new_postgres_database()
            running[database] = Runway(binary, directory, url)
        return running[database]

    yield get
    stop_all(runway.server for runway in running.values())


@pytest.fixture
def runway(request, runways):
    return runways(request.param)


# Short delays, so that an operator need not wait an hour until the next key may sign.
QUICK = {f"signing_keys.{name}": "1s" for name in ["verifier_cache_ttl", "verifier_leeway", "clock_skew"]}
# A server that does not run for longer than this refuses to sign.
QUICK["signing_keys.replica_staleness"] = "5s"


@pytest.fixture(scope="session")
def consoles(binary, tmp_path_factory):
    running = {}

    def get(database):
        if database not in running:
            directory = tmp_path_factory.mktemp(f"console-{database}")
            url = f"sqlite://{directory}/keyswap.db" if database == "sqlite" else new_postgres_database()
            choices = {
                "portal.choices": '["permissions", "roles", "resources"]',
                "access_records.user_resources": '["/projects/{user}/*"]',
            }
            running[database] = Runway(binary, directory, url, **QUICK, **choices)
        return running[database]

    yield get
    stop_all(runway.server for runway in running.values())


@pytest.fixture
def deployment(request, consoles):
    """A deployment for operators. It can rotate at once, and its users may choose
    everything that is configurable."""
    return consoles(request.param)


@pytest.fixture(scope="module")
def exhibit(request, binary, tmp_path_factory):
    directory = tmp_path_factory.mktemp(f"exhibit-{request.param}")
    url = f"sqlite://{directory}/keyswap.db" if request.param == "sqlite" else new_postgres_database()
    exhibit = Exhibit(binary, directory, url, **QUICK)
    yield exhibit
    exhibit.server.stop()


@pytest.fixture
def crowded(runway):
    """Adds ten thousand keys of umbrella directly in the database."""
    runway.crowd(10_000)
    return runway


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, ignore_default_args=NOT)
        yield browser
        browser.close()


class Watched:
    """A browser that records errors which no page catches, in any context."""

    def __init__(self, browser):
        self.browser = browser
        self.faults = []

    def new_context(self, **options):
        context = self.browser.new_context(**options)
        context.on("weberror", lambda error: self.faults.append(str(error.error)))
        return context


@pytest.fixture
def browser(chromium):
    watched = Watched(chromium)
    yield watched
    assert not watched.faults


@pytest.fixture
def page(browser):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def branding():
    """Changes the branding of the hosted pages until the end of the test."""
    changed = []

    def change(runway, body):
        changed.append(runway)
        runway.server.admin("PUT", "/branding", body)

    yield change
    for runway in changed:
        runway.server.admin("PUT", "/branding", {})


@pytest.fixture
def name(request):
    """A name for a key that no other test uses."""
    return f"{request.node.originalname[5:25]} {uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="session")
def axe():
    """Checks a page with axe-core. Fails for violations that it rates serious or critical."""
    script = (CACHE / "node" / "node_modules" / "axe-core" / "axe.min.js").read_text()

    def look(page):
        page.evaluate(script)
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        grave = [fault for fault in found if fault["impact"] in ("serious", "critical")]
        assert not grave, [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in grave]

    return look


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The directory for pictures of pages: KEYSWAP_PICTURES (docs/pictures), or else a temporary
    one."""
    kept = os.environ.get("KEYSWAP_PICTURES")
    return pathlib.Path(kept) if kept else tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="session")
def react_page(scripts):
    """A page with React and clients/react, on the origin that may call the API."""
    built = scripts / "react_page.js"
    modules = CACHE / "node" / "node_modules"
    command = [modules / ".bin" / "esbuild", HERE / "clients" / "react_page.jsx", "--bundle", "--jsx=automatic", f"--outfile={built}"]
    command.append(f"--alias:keyswap-react={HERE.parents[1] / 'clients' / 'react' / 'index.js'}")
    run(command, check=True, env={**os.environ, "NODE_PATH": str(modules)})

    @contextlib.contextmanager
    def serve(runway):
        page = f"<!doctype html><div id=root></div><script>window.keyswap = {json.dumps(runway.root)}</script><script src=page.js></script>"
        answers = {
            "/": lambda: ("text/html", page.encode()),
            "/page.js": lambda: ("text/javascript", built.read_bytes()),
            "/keyswap-token": lambda: ("text/plain", runway.session()["token"].encode()),
        }
        with serving(answers, runway.port):
            yield runway.origin

    return serve


@contextlib.contextmanager
def serving(answers, port=0):
    """A server of another origin on loopback. `answers` maps each path to a function that returns a
    content type and a body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content_type, body = answers.get(self.path, lambda: ("text/plain", b""))()
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    # A connection that the browser opened and never used must not block its thread.
    Handler.timeout = 30
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
