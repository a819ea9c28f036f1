"""Attacks on the hosted pages and the console."""

import pytest
import requests
from playwright.sync_api import expect

from browser import ORGANIZATION_KEYS, Console, Shown, until
from conftest import serving

DATABASE = "postgres"
SCRIPT = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


class Elsewhere:
    """A page of another origin, whose contents the test sets."""

    text = ""

    def answer(self):
        return "text/html", self.text.encode()


@pytest.fixture
def elsewhere():
    page = Elsewhere()
    with serving({"/": page.answer}) as port:
        page.url = f"http://127.0.0.1:{port}/"
        yield page


def test_stored_scripts_are_text(runway, page, name):
    runway.server.admin("PUT", "/permissions/scripted", {"assignable_to": ["organization"], "description": SCRIPT})
    runway.server.admin("PUT", "/roles/scripted", {"permissions": [*managed(runway), "scripted"]})
    organization = runway.organization(ada="scripted")
    runway.key(SCRIPT, {"type": "organization", "id": organization}, metadata={"note": SCRIPT})
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(runway.session("ada", organization)["url"])
    keys = Shown(page)
    expect(page.get_by_role("rowheader", name=SCRIPT).first).to_be_visible()
    page.get_by_role("button", name="Create API key").click()
    expect(keys.dialog.get_by_text(SCRIPT)).to_be_visible()
    keys.dialog.get_by_label("Name").fill(SCRIPT + name)
    keys.dialog.get_by_role("button", name="Create API key").click()
    keys.dialog.get_by_role("heading", name="Copy your API key").wait_for()
    keys.keep()
    keys.act("Revoke", SCRIPT + name)
    expect(keys.dialog.get_by_role("heading")).to_contain_text(SCRIPT)
    assert page.title() != "taken" and not dialogs
    assert page.locator("img").count() == 0


def managed(runway):
    """The permissions of an administrator of an organization."""
    return runway.server.admin("GET", "/roles/admin")["permissions"]


def test_forged_cross_site_posts_change_nothing(runway, page, elsewhere):
    page.goto(runway.session()["url"])
    page.get_by_role("button", name="Create API key").wait_for()
    before = [key["id"] for key in runway.server.admin("GET", "/api-keys?limit=100")["data"]]
    elsewhere.text = f"""<form id=f method=post enctype="text/plain" action="{runway.root}/v1/api-keys">
        <input name='{{"name":"forged","x":"' value='"}}'></form>
        <form id=g method=post action="{runway.root}/portal/sign-out"></form>"""
    statuses = []
    for form in ["f", "g"]:
        page.goto(elsewhere.url)
        with page.expect_navigation() as answer:
            page.evaluate("(form) => document.getElementById(form).submit()", form)
        statuses.append(answer.value.status)
    assert statuses == [401, 400]
    page.goto(elsewhere.url)
    # With a script, the browser sends a preflight request, which is refused.
    for header in [{}, {"Keyswap-Page": "1"}]:
        said = page.evaluate(
            """([url, headers]) => fetch(url, { method: "POST", credentials: "include", headers: { "Content-Type": "application/json", ...headers },
                 body: '{"name":"forged"}' }).then((answer) => answer.status, () => "refused")""",
            [f"{runway.root}/v1/api-keys", header],
        )
        assert said == "refused"
    assert [key["id"] for key in runway.server.admin("GET", "/api-keys?limit=100")["data"]] == before
    page.goto(runway.root + "/portal/organization-keys")
    page.get_by_role("button", name="Create API key").wait_for()


def test_pages_cannot_be_framed(runway, page, elsewhere):
    for path in ["organization-keys", "user-keys"]:
        elsewhere.text = f'<iframe src="{runway.root}/portal/{path}" onload="document.title=\'loaded\'"></iframe>'
        page.goto(elsewhere.url)
        until(page, "document.title === 'loaded'")
        assert "chrome-error" in page.frames[1].url
    policy = requests.get(f"{runway.server.root}/portal/user-keys", timeout=10).headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy and "unsafe" not in policy


# Features: W11.
def test_one_organization_reaches_nothing_of_another(runway, page):
    theirs = runway.key("theirs")
    page.goto(runway.session("eve", "umbrella")["url"])
    page.get_by_role("button", name="Create API key").wait_for()
    calls = [("GET", ""), ("POST", "/revoke"), ("POST", "/rotate"), ("POST", "/suspend"), ("DELETE", "")]
    for method, step in calls:
        answer = in_page(page, method, f"api-keys/{theirs['id']}{step}")
        assert answer == 404, (method, step)
    assert in_page(page, "POST", "api-keys", {"name": "x", "owner": ORGANIZATION_KEYS}) in (404, 422), "the session says whose"
    assert runway.swap(theirs["value"]) == 200


def in_page(page, method, path, body=None):
    """The status of a call that the page makes with its cookie."""
    return page.evaluate(
        """([method, path, body]) => fetch(new URL(`../v1/${path}`, location), { method, credentials: "same-origin",
             headers: { "Keyswap-Page": "1", ...(body && { "Content-Type": "application/json" }) }, body: body && JSON.stringify(body) })
             .then((answer) => answer.status)""",
        [method, path, body],
    )


def test_code_works_once_and_is_removed_from_the_address_bar(runway, page, browser):
    session = runway.session()
    page.goto(session["url"])
    page.get_by_role("button", name="Create API key").wait_for()
    assert "#" not in page.url and "code" not in page.url
    page.reload()
    page.get_by_role("button", name="Create API key").wait_for()
    code = session["url"].split("#code=")[1]
    everything = page.content() + page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, history.state])")
    cookie = page.context.cookies()[0]
    assert code not in everything and cookie["value"] not in everything
    assert cookie["name"] == "__Host-keyswap" and cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Strict"
    other = browser.new_context().new_page()
    other.goto(session["url"])
    expect(other.get_by_text("Sign in to manage API keys")).to_be_visible()
    other.context.close()
    # If a code is not accepted, the page does not continue with the previous session.
    page.goto("about:blank")
    page.goto(session["url"])
    expect(page.get_by_text("Sign in to manage API keys")).to_be_visible()


def test_link_of_another_user_asks_first(runway, page):
    """A stranger sends a link that signs in the stranger, to receive the keys that the user
    creates."""
    page.goto(runway.session("ada")["url"])
    page.get_by_role("button", name="Create API key").wait_for()
    theirs = runway.session("bob")["url"].replace("organization-keys", "user-keys")
    page.goto("about:blank")
    page.goto(theirs)
    ask = page.get_by_role("alertdialog", name="Switch to another user?")
    expect(ask).to_contain_text("You are signed in as ada")
    stay = ask.get_by_role("button", name="Stay signed in as ada")
    expect(stay).to_be_focused()
    stay.click()
    expect(page.get_by_text("ada at acme")).to_be_visible()
    page.goto("about:blank")
    page.goto(theirs)
    ask.get_by_role("button", name="Switch user").click()
    expect(page.get_by_text("bob at acme")).to_be_visible()


def test_credentials_are_not_interchangeable(runway, page):
    session = runway.session()
    code = session["url"].split("#code=")[1]
    url = runway.server.root + "/v1/portal-sessions/current"
    cookie = lambda value: {"Cookie": f"__Host-keyswap={value}", "Keyswap-Page": "1"}
    status = lambda headers: requests.get(url, headers=headers, timeout=10).status_code
    assert status({"Authorization": f"Bearer {session['token']}"}) == 200
    assert status({"Authorization": f"Bearer {code}"}) == 401
    for value in [session["token"], code, runway.server.admin_key, "x"]:
        assert status(cookie(value)) == 401, value
    page.goto(session["url"])
    page.get_by_role("button", name="Create API key").wait_for()
    value = page.context.cookies()[0]["value"]
    assert status(cookie(value)) == 200
    assert status({"Authorization": f"Bearer {value}"}) == 401
    assert status({"Cookie": f"__Host-keyswap={value}"}) == 401, "not without the header that no form can send"
    assert status({**cookie(value), "Sec-Fetch-Site": "cross-site"}) == 401
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("Sign in to manage API keys")).to_be_visible()
    assert status(cookie(value)) == 401, "who has signed out is out"


def test_session_ends_when_its_user_is_blocked(runway, page):
    runway.join("dan", "acme", "admin")
    page.goto(runway.session("dan")["url"])
    page.get_by_role("button", name="Create API key").wait_for()
    runway.server.admin("PATCH", "/users/dan", {"blocked": True})
    page.reload()
    expect(page.get_by_text("Sign in to manage API keys")).to_be_visible()


def test_value_is_not_stored_after_leaving_its_page(runway, page, name):
    page.goto(runway.session()["url"])
    keys = Shown(page)
    value = keys.create(name)
    secret = value.rsplit("_", 1)[1]
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto("about:blank")
    assert asked == ["beforeunload"], "who leaves is warned"
    page.go_back(wait_until="commit")
    keys.row(name).wait_for()
    expect(keys.dialog).to_have_count(0)
    shadow = "document.querySelector('keyswap-api-keys').shadowRoot.innerHTML"
    kept = page.content() + page.evaluate(shadow) + page.evaluate("JSON.stringify([localStorage, sessionStorage, history.state, location.href])")
    assert secret not in kept
    assert page.evaluate("indexedDB.databases().then((all) => all.length)") == 0
    assert page.evaluate("caches.keys().then((all) => all.length)") == 0
    value = keys.rotate(name)
    keys.keep()
    assert value.rsplit("_", 1)[1] not in page.content() + page.evaluate(shadow)


def test_pages_send_nothing_to_third_parties(runway, page):
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(runway.session()["url"])
    page.get_by_role("button", name="Create API key").wait_for()
    assert hosts == {runway.root.split("/")[2]}


def test_only_configured_origins_reach_the_api(runway):
    url = runway.server.root + "/v1/portal-sessions/current"
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    allowed = requests.options(url, headers={"Origin": runway.origin, **asks}, timeout=10)
    assert allowed.headers["access-control-allow-origin"] == runway.origin
    assert "access-control-allow-credentials" not in allowed.headers
    for origin in ["https://evil.example", "null", runway.origin + ".evil.example"]:
        assert "access-control-allow-origin" not in requests.options(url, headers={"Origin": origin, **asks}, timeout=10).headers
    marked = {**asks, "Access-Control-Request-Headers": "keyswap-page"}
    assert "access-control-allow-origin" not in requests.options(url, headers={"Origin": runway.origin, **marked}, timeout=10).headers


def test_stored_scripts_are_text_in_the_console(deployment, page, branding):
    put = lambda path, body: deployment.server.admin("PUT", path, body)
    put("/permissions/scripted", {"assignable_to": ["user"], "description": SCRIPT})
    put("/roles/scripted", {"permissions": [], "description": SCRIPT})
    put("/organizations/scripted", {"name": SCRIPT, "metadata": {"note": SCRIPT}})
    put("/users/scripted", {"profile": {"name": SCRIPT, "email": SCRIPT}, "metadata": {SCRIPT: SCRIPT}})
    post = lambda path, body: deployment.server.admin("POST", path, body)
    key = deployment.key(SCRIPT, metadata={"note": SCRIPT})
    post("/service-clients", {"name": SCRIPT, "permissions": []})
    post("/webhooks", {"url": "http://127.0.0.1:2049/x", "description": SCRIPT})
    post("/access-records", {"name": SCRIPT, "principals": [{"type": "user", "id": "ada"}], "statements": [{"roles": ["guest"], "resources": ["/x"]}]})
    branding(deployment, {"name": SCRIPT, "texts": {"organization_help": SCRIPT}})
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.add_init_script("window.refused = []; addEventListener('securitypolicyviolation', (event) => window.refused.push(event.violatedDirective))")
    console = Console(deployment, page).enter()
    lists = ["permissions", "roles", "organizations", "users", "keys", "service-clients", "webhooks", "access-records"]
    for view in [*lists, "pages", "organizations/scripted", "users/scripted", f"keys/{key['id']}"]:
        console.go(view)
        expect(page.get_by_text(SCRIPT).first).to_be_visible()
        # Shown as text only: the content security policy would block markup and report a violation.
        assert page.locator("img[src=x]").count() == 0 and page.locator(".page script").count() == 0, view
    console.go("events")
    page.locator(".entries summary").first.click()
    assert page.evaluate("window.refused") == []
    console.go(f"keys/{key['id']}")
    console.press(f"Revoke {SCRIPT}")
    expect(console.dialog.get_by_role("heading")).to_contain_text(SCRIPT)
    page.goto(deployment.session()["url"])
    expect(page.locator("header strong", has_text="onerror")).to_be_visible()
    assert page.title() != "taken" and not dialogs
    assert page.locator("img[src=x]").count() == 0


def test_operator_key_is_not_stored_after_sign_in(deployment, page):
    console = Console(deployment, page).enter()
    key = deployment.server.admin_key
    secret = key.split("_")[-1]
    kept = page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state])")
    drawn = page.evaluate("document.querySelector('keyswap-console').shadowRoot.innerHTML")
    fields = page.evaluate("[...document.querySelector('keyswap-console').shadowRoot.querySelectorAll('input')].map((input) => input.value).join()")
    cookies = str(page.context.cookies())
    assert "__Host-keyswap-console" in cookies and "__Host-keyswap-console" not in page.evaluate("document.cookie")
    for place in [kept, drawn, fields, cookies, page.content()]:
        assert secret not in place
    # The cookie that the browser sends along is not accepted without the header of the console.
    [cookie] = [one for one in page.context.cookies() if one["name"] == "__Host-keyswap-console"]
    assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Strict"
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    for mark in [{}, {"Keyswap-Page": "1"}, {"Keyswap-Page": "console", "Sec-Fetch-Site": "same-site"}]:
        answer = requests.get(deployment.server.root + "/v1/caller", headers={**headers, **mark}, timeout=10)
        assert answer.status_code == 401
    # Signing out ends the session for every holder of the cookie.
    for view in ["signing-keys", "keys"]:
        console.go(view)
    page.get_by_role("button", name="Sign out").click()
    gate = page.get_by_role("heading", name="Sign in to the console")
    gate.wait_for()
    mark = {"Keyswap-Page": "console"}
    assert requests.get(deployment.server.root + "/v1/caller", headers={**headers, **mark}, timeout=10).status_code == 401
    page.go_back()
    page.wait_for_timeout(300)
    assert page.url.endswith("#/signing-keys")
    expect(gate).to_be_visible()
    assert page.get_by_role("button", name="Rotate now").count() == 0


def test_user_session_cannot_open_the_console(deployment, page):
    page.goto(deployment.session()["url"])
    page.get_by_role("button", name="Create API key").wait_for()
    page.goto(deployment.root + "/console")
    expect(page.get_by_role("heading", name="Sign in to the console")).to_be_visible()
    for key in [deployment.session()["token"], deployment.key("nothing")["value"]]:
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text(["accepted", "needed"][key.startswith("ks_")])


def test_console_cannot_be_framed_and_refuses_forged_posts(deployment, page, elsewhere):
    Console(deployment, page).enter()
    # The same site, so that the browser sends the cookie along, and another origin.
    elsewhere.url = elsewhere.url.replace("127.0.0.1", "localhost")
    elsewhere.text = f"""<iframe src="{deployment.root}/console"></iframe>
        <form id=f method=post enctype="text/plain" action="{deployment.root}/v1/signing-keys/rotate"><input name='{{"x":"' value='"}}'></form>
        <form id=g method=post action="{deployment.root}/console/sign-out"></form>"""
    page.goto(elsewhere.url)
    page.wait_for_timeout(300)
    assert [frame.url for frame in page.frames[1:]] == ["chrome-error://chromewebdata/"]
    for form, status in [("f", 401), ("g", 400)]:
        page.goto(elsewhere.url)
        with page.expect_navigation() as answer:
            page.evaluate("(form) => document.getElementById(form).submit()", form)
        assert answer.value.status == status
    Console(deployment, page).go("overview")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
