"""Cases for the check of a resource, as docs/guides/verify-tokens.md describes it."""

TYPE = "urn:keyswap:params:oauth:authorization-details:access"
PERMISSION = "projects:read"

# A location, a resource, and whether the location grants it.
CASES = [
    ("/users/a/*", "/users/a/1", True),
    ("/users/a/*", "/users/a/1/x", True),
    ("/users/a/*", "/users/a", False),
    ("/users/a/*", "/users/b/1", False),
    ("/users/a/*", "/users/A/1", False),
    ("/users/*/x", "/users/b/x", True),
    ("/users/*/x", "/users/b/c/x", False),
    ("/users/auth0%7Ca/*", "/users/auth0%7Ca/1", True),
    ("/users/auth0%7Ca/*", "/users/auth0|a/1", False),
    ("/a", "/a", True),
    ("/a", "/a/b", False),
    ("https://h/*", "https://h/a", True),
    ("https://h/*", "https://i/a", False),
    ("/*", "https://h/a", False),
    # Texts that another server could read differently.
    ("/users/a/*", "/users/a/../b", False),
    ("/users/a/*", "/users/a/./b", False),
    ("/users/a/*", "/users/a/..;x/b", False),
    ("/users/a/*", "/users/a//b", False),
    ("/users/a/*", "/users/a/", False),
    ("/users/a/*", "/users/a/%2e%2E/b", False),
    ("/users/a/*", "/users/a/%2Fb", False),
    ("/users/a/*", "/users/a/%252e", False),
    ("/users/a/*", "/users/a/x%5Cy", False),
    ("/users/a/*", "/users/a/*", False),
    ("/users/a/*", "/users/a/x?y", False),
    ("/users/a/*", "/users/a/x#y", False),
    ("/users/a/*", "/users/a/x\\y", False),
    ("/users/a/*", "/users/a/x y", False),
    ("https://h/*", "https://h/../a", False),
]


def detail(location, **changes):
    return {"type": TYPE, "actions": [PERMISSION], "locations": [location], **changes}


# Claims that grant nothing on /users/a/1. Each token also has the permission in its scope, which does not matter.
WITHOUT = [
    {},
    {"authorization_details": []},
    {"authorization_details": [detail("/users/a/*", type="urn:example")]},
    {"authorization_details": [detail("/users/a/*", actions=["projects:write"])]},
    {"authorization_details": [detail("/users/a/*", actions=[])]},
    {"authorization_details": [detail("/users/a/*", locations=[])]},
    {"authorization_details": [detail("/users/b/*"), detail("/users/a/*", actions=["projects:write"])]},
]
