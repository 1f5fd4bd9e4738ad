"""docs/asyncapi.json says what the code says."""

import json

from docs import asyncapi
from protocol.client import REQUESTS
from protocol.subjects import CHAT_METHODS


def test_the_document_is_up_to_date() -> None:
    """The file is what `make docs` would write."""
    assert asyncapi.PAGE.read_text() == asyncapi.text()


def test_every_method_and_request_is_in_it() -> None:
    """Each RPC method has its types, and each request of the wire is a field of a command."""
    document = json.loads(asyncapi.PAGE.read_text())
    assert set(document["x-rpc"]) == set(CHAT_METHODS)
    assert set(document["components"]["schemas"]["Command"]["properties"]) == {"id", *REQUESTS}


def test_every_reference_leads_somewhere() -> None:
    """No schema refers to one that is not there."""
    document = json.loads(asyncapi.PAGE.read_text())
    schemas = document["components"]["schemas"]
    found = json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    assert found
    assert {one.partition('"')[0] for one in found} <= set(schemas)
