"""Repeated clicks at the same point never change two different things, on the hosted pages, in the widget
and in the console."""

import itertools
import re
import time

import pytest
from playwright.sync_api import expect

from browser import Console, Shown

DATABASE = "sqlite"
PAUSES = [120, 250, 500]


@pytest.fixture(params=["hosted", "widget"])
def keys(request, runway, page):
    """The keys `key 0` to `key 3` of an organization of its own, on the hosted page and in the sample
    application."""
    organization = runway.organization(ada="admin")
    made = [runway.key(f"key {number}", {"type": "organization", "id": organization}) for number in range(4)]
    ids = {key["id"]: key["name"] for key in made}
    shown = Shown(page)
    shown.changed = lambda: {ids[key["id"]] for key in versions(runway, organization) if key["version"] != 1}
    if request.param == "hosted":
        page.goto(runway.session("ada", organization)["url"])
        yield shown
    else:
        with runway.settings_page("ada", organization) as url:
            page.goto(url)
            yield shown


def versions(runway, organization):
    return runway.server.admin("GET", f"/api-keys?organization={organization}&limit=100")["data"]


def click_twice(page, target, pause):
    click_repeatedly(page, target, pause, 2)


def click_repeatedly(page, target, pause, count):
    """Clicks at the same point, and waits until the page has reacted to each click. The
    events state the times of the clicks, because a loaded machine delays them."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    page.mouse.move(**point)
    browser = page.context.new_cdp_session(page)
    begin = time.time()
    for number in range(count):
        at, wait = begin + number * pause / 1000, pause if number < count - 1 else 150
        for kind in ["mousePressed", "mouseReleased"]:
            event = {"type": kind, **point, "button": "left", "clickCount": 1, "timestamp": at}
            browser.send("Input.dispatchMouseEvent", event)
        page.wait_for_timeout(wait)
    browser.detach()


def place_over(page, dialog_button, target):
    """Moves the open dialog so that its button covers a button of the page."""
    to, from_ = target.bounding_box(), dialog_button.bounding_box()
    shift = [to[axis] + to[size] / 2 - from_[axis] - from_[size] / 2 for axis, size in (("x", "width"), ("y", "height"))]
    dialog_button.evaluate("(button, [x, y]) => { button.closest('dialog').style.translate = `${x}px ${y}px`; }", shift)


# The component is the same in both.
@pytest.mark.parametrize("keys, pause", [*(("hosted", pause) for pause in PAUSES), ("widget", 250)], indirect=["keys"])
def test_two_clicks_change_one_key(keys, page, pause):
    first, second, third = "key 3", "key 2", "key 1"
    row = lambda one: keys.row(one).bounding_box()
    of = lambda one, action: keys.row(one).get_by_role("button", name=f"{action} {one}")
    expect(keys.row(third)).to_be_visible()
    before = [row(one) for one in (first, second, third)]

    # What stops programs asks, however often it is clicked.
    for action in ["Suspend", "Revoke", "Rotate"]:
        click_twice(page, of(first, action), pause)
        expect(keys.dialog).to_contain_text(first)
        assert keys.changed() == set()
        page.keyboard.press("Escape")
        keys.dialog.wait_for(state="detached")

    # The second click does not reach the key that the dialog covered.
    keys.act("Suspend", second)
    keys.confirm("Suspend key")
    expect(of(second, "Undo")).to_be_visible()
    keys.act("Suspend", first)
    confirm = keys.dialog.get_by_role("button", name="Suspend key")
    place_over(page, confirm, of(second, "Undo"))
    click_twice(page, confirm, pause)
    expect(keys.row(first)).to_contain_text("Suspended")
    expect(keys.row(second)).to_contain_text("Suspended")
    expect(page.get_by_role("status").filter(has_text=f"{first} was suspended")).to_be_visible()

    # Rows stay where they are, and the focus is on the row.
    assert [row(one) for one in (first, second, third)] == before
    expect(keys.row(first)).to_be_focused()
    click_twice(page, of(first, "Undo"), pause)
    expect(keys.row(first)).to_contain_text("Active")
    assert [row(one) for one in (first, second, third)] == before

    keys.act("Revoke", first)
    keys.dialog.get_by_role("textbox").fill(first)
    confirm = keys.dialog.get_by_role("button", name="Revoke key")
    place_over(page, confirm, of(second, "Undo"))
    click_twice(page, confirm, pause)
    expect(keys.row(first)).to_contain_text("Revoked")
    expect(keys.row(first)).to_be_focused()
    expect(keys.row(second)).to_contain_text("Suspended")
    assert [row(one)["y"] for one in (first, second, third)] == [box["y"] for box in before]
    assert keys.changed() == {first, second}


def test_suspending_is_undone_with_the_keyboard(keys, page):
    one = "key 2"
    keys.row(one).get_by_role("button", name=f"Suspend {one}").focus()
    page.keyboard.press("Enter")
    keys.dialog.get_by_role("button", name="Suspend key").focus()
    page.keyboard.press("Enter")
    expect(keys.row(one)).to_contain_text("Suspended")
    # A held Enter key does not undo it.
    expect(keys.row(one)).to_be_focused()
    page.keyboard.press("Enter")
    expect(keys.row(one)).to_contain_text("Suspended")
    page.keyboard.press("Tab")
    expect(keys.row(one).get_by_role("button", name=f"Undo {one}")).to_be_focused()
    page.keyboard.press("Enter")
    expect(keys.row(one)).to_contain_text("Active")
    expect(keys.row(one).get_by_role("button", name=f"Suspend {one}")).to_be_visible()
    assert keys.changed() == {one}


# The buttons of the console that act without a question. None of them stops a program.
IMMEDIATE = re.compile("^(Send test event|Resend|Unblock|Unlock|Enable)")


def labels_of_loaded_view(page):
    """The labels of the buttons of a view, once it has any and they no longer change."""
    labels = []
    for _ in range(40):
        found = page.locator("main button:visible").evaluate_all("(all) => all.map((one) => one.ariaLabel ?? one.innerText)")
        if found and found == labels:
            break
        labels = found
        page.wait_for_timeout(250)
    return labels


def test_two_clicks_in_the_console_change_at_most_one_thing(deployment, page, name):
    """Clicks each kind of button twice. What changes something asks first, or is in the list above.
    """
    post = lambda path, body=None: deployment.server.admin("POST", path, body)
    key = deployment.key(name)["id"]
    held = deployment.key(f"{name} held")["id"]
    post(f"/api-keys/{held}/suspend")
    user = f"user-{name[-6:]}"
    deployment.join(user, "acme", "guest")
    webhook = post("/webhooks", {"url": "http://127.0.0.1:2049/absent", "description": name})["id"]
    post("/service-clients", {"name": name, "permissions": []})
    post("/access-records", {"name": name, "principals": [{"type": "user", "id": user}], "statements": [{"roles": ["guest"], "resources": ["/x"]}]})
    console = Console(deployment, page).enter()
    calls = []

    def record(request):
        if request.method != "GET" and "/v1/" in request.url and "dry_run" not in (request.post_data or ""):
            calls.append(f"{request.method} {request.url.split('/v1/')[1]}")

    page.on("request", record)
    pauses = itertools.cycle(PAUSES)
    views = ["roles", "permissions", "audiences", "service-clients", "access-records", "signing-keys", "organizations/acme"]
    views += [f"users/{user}", f"keys/{key}", f"keys/{held}", f"webhooks/{webhook}"]
    seen = set()
    for view in views:
        console.go(view)
        for label in labels_of_loaded_view(page):
            kind = label.split(" ")[0]
            if kind in seen:
                continue
            seen.add(kind)
            button = page.get_by_role("button", name=label, exact=True).first
            if not button.is_visible():
                continue
            calls.clear()
            click_twice(page, button, next(pauses))
            assert len(calls) <= (1 if IMMEDIATE.match(label) else 0), (view, label, calls)
            page.keyboard.press("Escape")
            if calls or not page.url.endswith(view):
                console.go("permissions")
                console.go(view)
    assert seen >= {"Create", "Edit", "Delete", "Add", "Remove", "Rotate", "Revoke", "Suspend", "Resume", "Block", "Lock", "End", "Send", "Disable"}


@pytest.mark.parametrize("count", [2, 3])
def test_repeated_clicks_remove_one_statement(deployment, page, count):
    console = Console(deployment, page).enter()
    console.go("access-records")
    console.press("Create access record")
    for _ in range(3):
        console.press("Add statement")
    remove = console.dialog.get_by_role("button", name="Remove statement")
    for left, pause in zip([3, 2, 1], PAUSES):
        click_repeatedly(page, remove.nth(0), pause, count)
        expect(remove).to_have_count(left)
        # Longer than the interval of `click_guard.js`.
        page.wait_for_timeout(1000)
