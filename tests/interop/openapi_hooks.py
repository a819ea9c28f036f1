"""The hooks of schemathesis, which test_openapi.py gives it: how JSON Lines are sent, and the
failures of two checks that are no faults.

`positive_data_acceptance` expects that a request which the document permits is accepted, and
`negative_data_rejection` that one which it does not permit is refused. A schema cannot state every
rule. Each rule that it cannot state is listed here with the words in which the server refuses such a
request: a refusal in other words fails the test."""

import json
import re

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import RejectedPositiveData

JSON_LINES = "application/x-ndjson"

# By the code of the problem: the header that the refusal is about. The object has another version
# than the one it names, or another request had the same key.
HEADERS = {"precondition_failed": ["If-Match", "If-None-Match"], "idempotency_mismatch": ["Idempotency-Key"]}

RULES = [
    # Which objects exist, and what they permit.
    r"there is no .+",
    r"does not exist, or is not the organization of the caller",
    r"the user is not a member of this organization",
    r"\S+ cannot be assigned to .+",
    r"\S+ is not in the catalog: .+",
    r"\S+ is not a permission of .+",
    r"\S+ can be given to service clients only",
    r"the audience or resource does not exist, or the key may not be used for it",
    # Settings of the deployment.
    r"must be from 1s to tokens\.max_ttl, which is 1h",
    r"is in the past",
    r"must be at most 2months 29days 2h 52m 48s",
    r"may be 30days at most",
    r"expires_in may be \d+ seconds at most for this key and these audiences",
    r"imported keys are not accepted: .+",
    r"the host has no allowed address",
    # Whom the credential represents.
    r"the caller is not a user: .+",
    # A credential in the header and another one in the body. All requests here have the header.
    r"send the client's credentials in the header or in the body, not in both",
    r"send one kind of credentials: in the header or in the body, not in both",
    # Members that depend on each other, or on the owner.
    r"needs the id of an? \w+",
    r"not an id of this kind: .+",
    r"is required, unless a user is the owner",
    r"is required: a user, an organization, a service client or none",
    r"cannot be combined with import: .+",
    r"one of the filters user, organization and opened_by is required",
    # The contents of a text or of a list, where a pattern would be unreadable.
    r"neither PEM nor a JWK: .+",
    r"a resource is an absolute path or URI: .+",
    r"the name of a claim has .+",
    r"a claim is taken from .+",
    r"give a length of time such as .+",
    r"must be at least one second",
    r"give the type of an event, .+",
    r"give an https:// URL of at most 2048 ASCII characters, .+",
    r"must be the id of an API key, user:<id>, cli or system",
    r"must not be empty: use null to accept any audience",
    # A number such as 5.0, which JSON Schema counts as an integer.
    r"must be (a nonzero )?[iu]\d+",
    # RFC 6749 §3.2: no parameter more than once, also none that is ignored.
    r"a parameter is repeated",
]
RULE = re.compile("|".join(f"(?:{rule})" for rule in RULES), re.DOTALL)


@schemathesis.serializer(JSON_LINES)
def lines(context, value):
    """Sends a text unchanged: schemathesis does not support JSON Lines."""
    return value.encode() if isinstance(value, str) else str(value).encode()


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a failure is one."""
    if isinstance(failure, RejectedPositiveData):
        return not is_refused_by_a_rule(response)
    if isinstance(failure, AcceptedNegativeData):
        return not is_valid_as_sent(failure.message, case)
    return True


def is_refused_by_a_rule(response):
    """Whether a rule that no schema states is the only reason of a refusal."""
    if response.headers.get("content-type") not in (["application/problem+json"], ["application/json"]):
        return False
    problem = json.loads(response.content)
    code = problem.get("code")
    if code in HEADERS:
        return any(name in response.request.headers for name in HEADERS[code])
    reasons = [error["message"] for error in problem.get("errors", [])] or [problem.get("detail") or problem.get("error_description")]
    return all(RULE.fullmatch(reason) for reason in reasons)


def is_valid_as_sent(message, case):
    """Whether the invalid part did not arrive. Any text is a body of JSON Lines, whose faulty lines the
    report names; and `wait` is always that of the configuration."""
    if case.media_type == JSON_LINES:
        return "Invalid component: in body" in message
    return case.operation.label == "GET /v1/events" and "Invalid component: parameter `wait` in query" in message
