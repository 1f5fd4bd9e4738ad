"""How HTTP streams look on the wire: headers, encodings, and the message that ends them."""

import io

import pytest
from centrifuge.protocol import client_pb2 as pb
from google.protobuf.proto import parse_length_prefixed

from tests.bench.clients import http
from tests.bench.ring import Ring
from tests.bench.streamed import FORMS, OCTETS, Streamed
from tests.system.conftest import Come


@pytest.mark.parametrize(
    ("form", "media_type"),
    [("lines", "application/x-ndjson"), ("protobuf", "application/octet-stream"), ("events", "text/event-stream")],
)
async def test_nobody_on_the_way_may_keep_a_stream(calm_ring: Ring, come: Come, form: str, media_type: str) -> None:
    """The headers forbid caching, buffering and compressing, and name the form."""
    one = await come(calm_ring, form)
    assert one.head is not None
    assert one.head.status_code == 200
    assert one.head.headers["content-type"].partition(";")[0] == media_type
    assert {"no-cache", "no-store", "no-transform"} <= set(one.head.headers["cache-control"].split(", "))
    assert one.head.headers["x-accel-buffering"] == "no"
    assert "content-length" not in one.head.headers


@pytest.mark.parametrize("query", ["?cf_protocol=protobuf", "?format=protobuf"])
async def test_the_query_may_choose_protobuf(calm_ring: Ring, query: str) -> None:
    """As on a WebSocket, Protobuf may be asked for in the address."""
    frame = Streamed(calm_ring, "protobuf").encode({"id": 1, "connect": {"token": "x"}})
    answer = await http("POST", f"{calm_ring.gateway_url}/connection/http_stream{query}", content=frame)
    message = parse_length_prefixed(pb.Reply, io.BytesIO(answer.content))
    assert message is not None
    assert message.push.disconnect.code == 3500


@pytest.mark.parametrize("form", FORMS)
async def test_a_refused_connect_is_the_last_message(calm_ring: Ring, form: str) -> None:
    """A token that is no token ends the stream with its code, in whatever form."""
    one = await Streamed(calm_ring, form).open(token="x")
    assert await one.end() == (3500, "invalid token")


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"", {}), (b"nonsense", {}), (b"\xff", {}), (b"", OCTETS), (b"\xff\xff\xff", OCTETS)],
)
async def test_a_bad_first_frame_ends_the_stream(calm_ring: Ring, body: bytes, headers: dict[str, str]) -> None:
    """What is no command is answered as on a WebSocket: 3501."""
    url = f"{calm_ring.gateway_url}/connection/http_stream"
    answer = await http("POST", url, content=body, headers=headers)
    assert answer.status_code == 200
    assert b"bad request" in answer.content
    if not headers:
        assert answer.json() == {"push": {"disconnect": {"code": 3501, "reason": "bad request"}}}


@pytest.mark.parametrize("form", FORMS)
async def test_a_bad_later_frame_ends_the_stream(calm_ring: Ring, come: Come, form: str) -> None:
    """A posted frame that is no command ends the connection with 3501. Posts that cross with the end are dropped, not
    refused, since SDKs would give the stream up before they have read why it ended."""
    one = await come(calm_ring, form)
    assert (await one.post(b"\xff" if form == "protobuf" else b"nonsense")).status_code == 204
    assert (await one.post(one.encode({"id": 9, "rpc": {"method": "echo"}}))).status_code == 204
    assert await one.end() == (3501, "bad request")
    assert 9 not in one.replies


async def test_the_other_encoding_ends_the_stream(calm_ring: Ring, come: Come) -> None:
    """A Protobuf frame for a JSON stream ends it with 3506."""
    one = await come(calm_ring, "lines")
    other = Streamed(calm_ring, "protobuf")
    assert (await other.post(b"\0", node=one.node, session=one.session)).status_code == 204
    assert await one.end() == (3506, "inappropriate protocol")
