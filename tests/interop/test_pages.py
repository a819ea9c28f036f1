"""The hosted pages, and the widget in a page of a host application on another
origin, in a browser."""

import re
import statistics

import pytest
from playwright.sync_api import expect

from browser import Shown, reload_until, until

DATABASE = "sqlite"
every_database = pytest.mark.every_database


@pytest.fixture(params=["hosted", "widget"])
def keys(request, runway, page):
    """The keys of acme as shown to ada, on the hosted page and in the sample application."""
    if request.param == "hosted":
        page.goto(runway.session()["url"])
        yield Shown(page)
    else:
        with runway.settings_page() as url:
            page.goto(url)
            yield Shown(page)


def heading(page, name):
    return page.get_by_role("heading", name=name)


# Features: W8, D4, A13.
@every_database
def test_key_is_created_used_and_revoked(keys, runway, page, name):
    expect(heading(page, "Organization API keys")).to_be_visible()
    value = keys.create(name, ["projects:read", "projects:write"])
    keys.dialog.get_by_role("button", name="Copy").click()
    expect(keys.dialog.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == value
    with page.expect_download() as download:
        keys.dialog.get_by_role("button", name="Download").click()
    assert download.value.path().read_text() == value + "\n"
    keys.dialog.get_by_text("Example request").click()
    assert f"Bearer {value}" in keys.dialog.locator("pre").inner_text()
    keys.keep()

    row = keys.row(name)
    expect(row).to_contain_text("projects:write")
    expect(row).to_contain_text("by you")
    expect(row).to_contain_text("Never")
    assert runway.swap(value) == 200
    used = row.locator("td[data-label='Last used']")

    def is_used():
        used.wait_for()
        return "Never" not in used.inner_text()

    reload_until(page, is_used)

    newer = keys.rotate(name)
    keys.keep()
    expect(keys.row(name)).to_contain_text("Old value works until")
    assert newer != value
    assert [runway.swap(value), runway.swap(newer)] == [200, 200]

    keys.suspend(name)
    expect(keys.row(name)).to_contain_text("Suspended")
    assert runway.swap(newer) == 401
    keys.show("Revoked or expired")
    expect(keys.row(name)).to_have_count(0)
    keys.show("All keys")
    keys.act("Resume", name)
    expect(keys.row(name)).to_contain_text("Active")
    assert runway.swap(newer) == 200

    keys.revoke(name)
    expect(keys.row(name)).to_contain_text("Revoked")
    assert [runway.swap(value), runway.swap(newer)] == [401, 401]


def test_description_is_below_the_name_and_found_by_a_search(keys, page, name):
    keys.create(name, description=f"Nightly export of {name}")
    keys.keep()
    row = page.get_by_role("row").filter(has_text=f"Nightly export of {name}")
    expect(row.get_by_role("rowheader")).to_contain_text(name)
    page.get_by_label("Search").fill("nightly export of")
    expect(row).to_be_visible()


# Features: W25.
@every_database
def test_administrator_revokes_a_key_of_a_departed_creator(runway, page, name):
    runway.join("leaver", "acme", "admin")
    with_token = runway.session("leaver")["token"]
    made = runway.as_user(with_token, "POST", "/api-keys", {"name": name, "permissions": ["projects:read"]}).json()
    runway.server.admin("PUT", "/organizations/acme/members/ada", {"roles": ["admin"]})
    gone = runway.as_user(runway.server.admin_key, "DELETE", "/organizations/acme/members/leaver")
    assert gone.status_code == 204
    assert runway.swap(made["value"]) == 200, "a key of the organization goes on"
    keys = Shown(page)
    page.goto(runway.session()["url"])
    expect(keys.row(name)).to_contain_text("by leaver")
    keys.revoke(name)
    assert runway.swap(made["value"]) == 401


# Features: D1.
@every_database
def test_member_without_permission_gets_neither_page_nor_api(runway, page):
    session = runway.session("cyd")
    assert runway.as_user(session["token"], "GET", "/api-keys").status_code == 403
    with page.expect_response(lambda response: response.url.endswith("/current")) as answer:
        page.goto(session["url"])
    assert answer.value.status == 403
    expect(page.get_by_role("alert")).to_contain_text("You don’t have permission to manage these API keys")
    expect(page.get_by_role("button", name="Create API key")).to_have_count(0)


# Features: W10, P5.
def test_user_with_manage_self_sees_own_keys_only(runway, page, name):
    page.goto(runway.session("bob")["url"])
    expect(page.get_by_role("alert")).to_contain_text("You don’t have permission")
    page.get_by_role("link", name="Personal").click()
    keys = Shown(page)
    value = keys.create(name)
    keys.keep()
    assert runway.swap(value) == 200
    expect(keys.row(name)).to_contain_text("by you")
    # A user who manages all keys sees it and may revoke it.
    page.goto(runway.session("ada")["url"])
    page.get_by_role("button", name="Switch user").click()
    expect(keys.row(name)).to_contain_text("Owner: bob")
    expect(keys.row(name).get_by_role("button", name="Rotate")).to_have_count(0)
    keys.revoke(name)
    assert runway.swap(value) == 401


# Features: W9.
def test_widget_emits_events_and_accepts_a_string_token(runway, page, name):
    token = runway.session()["token"]
    with runway.settings_page() as url:
        page.goto(url)
        page.evaluate(
            """(token) => {
                 const keys = document.querySelector("keyswap-api-keys");
                 window.received = [];
                 for (const what of ["created", "revoked"]) {
                   keys.addEventListener(`keyswap-${what}`, ({ detail }) => window.received.push([what, detail.name, "value" in detail]));
                 }
                 keys.authToken = token;
               }""",
            token,
        )
        keys = Shown(page)
        keys.create(name)
        keys.keep()
        keys.revoke(name)
        assert page.evaluate("window.received") == [["created", name, False], ["revoked", name, False]]
        page.evaluate("document.querySelector('keyswap-api-keys').authToken = 'kps_no'")
        expect(page.get_by_text("Sign in to manage API keys")).to_be_visible()


# Features: W9.
def test_token_function_is_called_again_after_expiry(runway, page):
    with runway.settings_page() as url:
        page.goto(url)
        good = runway.session()["token"]
        page.evaluate(
            """(good) => {
                 window.asked = 0;
                 document.querySelector("keyswap-api-keys").authToken = async () => (window.asked++ ? good : "kps_over");
               }""",
            good,
        )
        expect(heading(page, "Organization API keys")).to_be_visible()
        until(page, "window.asked === 2")


# Features: W9.
def test_widget_works_in_react(runway, page, name, react_page):
    with react_page(runway) as url:
        page.goto(url)
        keys = Shown(page)
        value = keys.create(name)
        keys.keep()
        expect(page.locator("#made")).to_have_text(name)
        assert runway.swap(value) == 200
        keys.revoke(name)
        expect(page.locator("#made")).to_have_text(f"{name},-{name}")
        assert runway.swap(value) == 401


def test_pages_are_usable_from_the_keyboard(runway, page, name):
    page.goto(runway.session()["url"])
    create = page.get_by_role("button", name="Create API key")
    create.wait_for()
    for _ in range(20):
        page.keyboard.press("Tab")
        if create.evaluate("element => element === element.getRootNode().activeElement"):
            break
    page.keyboard.press("Enter")
    keys = Shown(page)
    keys.dialog.wait_for()
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    keys.dialog.get_by_role("heading", name="Copy your API key").wait_for()
    # A key pressed by accident or twice does not discard the value.
    for _ in range(3):
        page.keyboard.press("Escape")
    assert runway.swap(keys.value()) == 200
    for _ in range(10):
        page.keyboard.press("Tab")
        if keys.dialog.get_by_role("button", name="Done").evaluate("element => element.matches(':focus')"):
            break
    page.keyboard.press("Enter")
    expect(keys.row(name)).to_be_visible()
    # The focus moves to the row of the new key.
    expect(keys.row(name)).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    keys.dialog.get_by_role("textbox").wait_for()
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    expect(keys.row(name)).to_contain_text("Revoked")
    revoked = runway.server.admin("GET", "/api-keys?state=revoked&limit=100")["data"]
    assert name in [key["name"] for key in revoked]


# Features: W12.
def test_input_survives_an_outage(runway, page, name):
    page.goto(runway.session()["url"])
    keys = Shown(page)
    page.get_by_role("button", name="Create API key").click()
    keys.dialog.get_by_label("Name").fill(name)
    page.context.set_offline(True)
    keys.dialog.get_by_role("button", name="Create API key").click()
    expect(keys.dialog.get_by_role("alert").last).to_contain_text("Your input has been kept")
    expect(keys.dialog.get_by_label("Name")).to_have_value(name)
    page.context.set_offline(False)
    page.route("**/v1/api-keys", lambda route: route.fulfill(status=503, body="{}"))
    keys.dialog.get_by_role("button", name="Create API key").click()
    expect(keys.dialog.get_by_role("alert").last).to_contain_text("Your input has been kept")
    page.unroute("**/v1/api-keys")
    keys.dialog.get_by_role("button", name="Create API key").click()
    keys.value()
    keys.keep()
    expect(keys.row(name)).to_be_visible()
    page.context.set_offline(True)
    keys.show("All keys")
    expect(page.get_by_role("alert")).to_contain_text("temporarily unavailable")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(keys.row(name)).to_be_visible()


# Features: W12.
def test_leaving_during_creation_requires_confirmation(runway, page, name):
    page.goto(runway.session()["url"])
    keys = Shown(page)
    page.get_by_role("button", name="Create API key").click()
    keys.dialog.get_by_label("Name").fill(name)
    waiting = []
    page.route("**/v1/api-keys", lambda route: waiting.append(route))
    keys.dialog.get_by_role("button", name="Create API key").click()
    expect(keys.dialog.get_by_role("button", name="Cancel")).to_be_disabled()
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(keys.dialog).to_be_visible()
    waiting[0].continue_()
    keys.dialog.get_by_role("heading", name="Copy your API key").wait_for()
    page.unroute("**/v1/api-keys")
    assert runway.swap(keys.value()) == 200


# Features: W12.
def test_repeated_request_creates_one_key(runway, page, name):
    page.goto(runway.session()["url"])
    keys = Shown(page)
    page.get_by_role("button", name="Create API key").click()
    keys.dialog.get_by_label("Name").fill(name)

    def lost(route):
        route.fetch()
        route.abort()

    page.route("**/v1/api-keys", lost)
    keys.dialog.get_by_role("button", name="Create API key").click()
    expect(keys.dialog.get_by_role("alert").last).to_contain_text("Your input has been kept")
    page.unroute("**/v1/api-keys")
    keys.dialog.get_by_role("button", name="Create API key").click()
    expect(page.get_by_text("the response with its value was lost")).to_be_visible()
    expect(keys.row(name)).to_have_count(1)


# Features: W11.
def test_page_of_another_session_creates_no_key(runway, page, name):
    """Two tabs share a cookie: the first tab does not show the session that the
    second tab has opened."""
    page.goto(runway.session()["url"])
    keys = Shown(page)
    page.get_by_role("button", name="Create API key").click()
    keys.dialog.get_by_label("Name").fill(name)
    other = page.context.new_page()
    other.goto(runway.session("ada", runway.organization(ada="admin"))["url"])
    other.get_by_role("button", name="Create API key").wait_for()
    keys.dialog.get_by_role("button", name="Create API key").click()
    expect(keys.dialog.get_by_role("alert").last).not_to_be_empty()
    made = runway.server.admin("GET", "/api-keys?limit=100")["data"]
    assert name not in [key["name"] for key in made]


# Features: W12.
def test_failed_sign_in_keeps_the_code(runway, page):
    page.route("**/portal/sign-in", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(runway.session()["url"])
    expect(page.get_by_role("alert")).to_contain_text("temporarily unavailable")
    page.unroute("**/portal/sign-in")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Create API key").wait_for()


# Features: W12.
def test_page_without_javascript_shows_a_message(runway, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(runway.root + "/portal/organization-keys")
    expect(page.locator("noscript p")).to_contain_text("This page needs JavaScript")
    context.close()


# Features: W20.
def test_unused_keys_are_found(runway, page, name):
    old, used, new = (runway.key(f"{name} {kind}") for kind in ["old", "used", "new"])
    runway.age([old["id"], used["id"]], days=40)
    assert runway.swap(used["value"]) == 200
    runway.wait_until_used(used)
    page.goto(runway.session()["url"])
    keys = Shown(page)
    expect(keys.row(f"{name} new")).to_be_visible()
    keys.show("Unused for 30 days")
    expect(keys.row(f"{name} old")).to_contain_text("Never")
    expect(keys.row(f"{name} new")).to_have_count(0)
    expect(keys.row(f"{name} used")).to_have_count(0)


def test_ten_thousand_keys_can_be_searched(crowded, page):
    page.goto(crowded.session("eve", "umbrella")["url"])
    keys = Shown(page)
    expect(page.get_by_role("row")).to_have_count(26)
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("row")).to_have_count(51)
    # The keyboard focus moves to the first of the new rows.
    rows = "document.querySelector('keyswap-api-keys').shadowRoot"
    until(page, f"{rows}.activeElement?.closest('tr') === {rows}.querySelectorAll('tbody tr')[25]")
    # The oldest key is at the end of the list. Each letter starts a search.
    page.get_by_label("Search").press_sequentially("the first of all", delay=30)
    expect(keys.row("the first of all")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("1 key found")).to_be_visible()


def test_page_is_small_and_fast(runway, browser, branding):
    """Less than 150 KB are transferred. With a processor slowed down four times, the first paint
    takes less than 1 s, and the page uses less than 1 s of processor time until it is usable. Of
    three loads, the paint, in wall-clock time, is that of the best one, because other tests run
    concurrently; the processor time is the median."""
    paints, work = [], []
    # With the largest permitted logo.
    branding(runway, {"logo": "data:image/png;base64," + "A" * 40 * 1024})
    for _ in range(3):
        context = browser.new_context()
        page = context.new_page()
        cdp = context.new_cdp_session(page)
        cdp.send("Network.enable")
        cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        cdp.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        sizes = []
        cdp.on("Network.loadingFinished", lambda done: sizes.append(done["encodedDataLength"]))
        page.goto(runway.session()["url"])
        page.get_by_role("button", name="Create API key").wait_for()
        durations = {metric["name"]: metric["value"] for metric in cdp.send("Performance.getMetrics")["metrics"]}
        work.append(durations["TaskDuration"] - durations["DevToolsCommandDuration"])
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        context.close()
    print(f"{sum(sizes)} bytes on the wire, first contentful paint after {sorted(paints)} ms, {sorted(work)} s of work")
    assert len(sizes) > 8 and sum(sizes) < 150_000
    assert min(paints) < 1000
    assert statistics.median(work) < 1
