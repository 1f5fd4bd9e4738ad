"""Tokens that a team's own backend signs: for connections and for subscriptions."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.identity import ANONYMOUS, Identity
from gateway.settings import GatewaySettings
from gateway.subscription_tokens import Bad, Expired, Foreign, Grant, Refused, verify_subscription
from gateway.tokens import BadToken, ExpiredToken, Rules, keys_of, verify

SECRET = b"secret"  # short, as in the SDKs' own suites: it must work, and without a warning
RULES = Rules("parley", "parley", 900, 5, hmac_secret=SECRET)
NOW = int(time.time())
PRIVATE = ed25519.Ed25519PrivateKey.generate()
PUBLIC_PEM = PRIVATE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
PUBLIC_RAW = PRIVATE.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
KEYS = keys_of(
    {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64.urlsafe_b64encode(PUBLIC_RAW).rstrip(b"=").decode(),
                "kid": "k1",
                "alg": "EdDSA",
            }
        ]
    }
)
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def part(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(body: Any, secret: bytes = SECRET, alg: str = "HS256", **header: Any) -> str:
    """A token by nothing but the standard library, as a backend in any language makes it; `body` may be bytes."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    unsigned = f"{part(json.dumps({'typ': 'JWT', 'alg': alg} | header).encode())}.{part(payload)}"
    return f"{unsigned}.{part(hmac.new(secret, unsigned.encode(), HASHES.get(alg, hashlib.sha256)).digest())}"


def b64(value: bytes) -> str:
    """Base64 as `b64info` has it."""
    return base64.b64encode(value).decode()


def identity(rules: Rules = RULES, **claims: Any) -> Identity:
    """What a token with these claims makes of its bearer."""
    return verify(signed({"sub": "42"} | claims), KEYS, rules)


@pytest.mark.parametrize("alg", HASHES)
@pytest.mark.parametrize("secret", [b"s", SECRET, b"x" * 64, b"y" * 200], ids=len)
def test_a_token_of_the_secret_names_its_user(alg: str, secret: bytes) -> None:
    """HS256, HS384 and HS512 are accepted with a secret of any length; without an end they never expire."""
    rules = Rules("parley", "parley", 900, 5, hmac_secret=secret)
    assert verify(signed({"sub": "42"}, secret, alg), {}, rules) == Identity("42", "42", "", 0)


@pytest.mark.parametrize("user", ["ann@example.org", "a.b.*", "Zoë", "user 1", "u" * 255, "1,2#3"])
def test_user_ids_of_another_system_are_free(user: str) -> None:
    """Any string up to 255 characters is a user there, and none of them is a session of ours."""
    found = identity(sub=user)
    assert found.user == user
    assert not found.is_native


def test_a_foreign_user_with_the_id_of_ours_is_not_ours() -> None:
    """An HMAC token cannot speak for an account: it has no session."""
    assert not identity(sub="ann1", sid="s1", session="s1", typ="access").is_native
    assert Identity("ann1", "Ann", "s1", 0).is_native
    assert not Identity("ann@x", "Ann", "s1", 0).is_native
    assert not ANONYMOUS.is_native


def test_the_user_without_an_id_needs_leave() -> None:
    """An empty or missing `sub` is anonymous: refused, unless that is allowed."""
    allowed = Rules("parley", "parley", 900, 5, hmac_secret=SECRET, anonymous=True)
    assert identity(allowed, sub="") == ANONYMOUS
    assert verify(signed({}), KEYS, allowed) == ANONYMOUS
    for body in ({}, {"sub": ""}):
        with pytest.raises(BadToken):
            verify(signed(body), KEYS, RULES)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, 0),
        ({"exp": NOW + 60000}, NOW + 60000),
        ({"exp": NOW + 60000.5}, NOW + 60000),
        ({"exp": NOW + 86400 * 365}, NOW + 86400 * 365),
        ({"expire_at": NOW + 6000}, NOW + 6000),
        ({"exp": NOW + 60000, "expire_at": NOW + 6000}, NOW + 6000),
        ({"exp": NOW + 6000, "expire_at": NOW + 60000}, NOW + 60000),
        ({"exp": NOW + 6000, "expire_at": 0}, 0),
    ],
    ids=str,
)
def test_the_connection_ends_at_expire_at_else_at_exp(claims: dict[str, Any], expected: int) -> None:
    """`expire_at` is the connection's end independently of the token's own; 0 means none."""
    assert identity(**claims).expires_at == expected
    assert granted(**claims).expires_at == expected


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 1},
        {"exp": 0},
        {"exp": -5},
        {"exp": NOW - 1, "expire_at": NOW + 60000},
        {"expire_at": NOW - 1},
        {"exp": NOW + 60000, "expire_at": NOW - 1},
        {"nbf": NOW + 60000},
    ],
    ids=str,
)
def test_what_has_ended_is_told_apart(claims: dict[str, Any]) -> None:
    """Expired is its own answer for both kinds of token, to the second: none is let in by leeway."""
    with pytest.raises(ExpiredToken):
        identity(**claims)
    with pytest.raises(Expired):
        granted(**claims)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, b""),
        ({"info": None}, b""),
        ({"info": {"name": "Ann", "n": [1, 2.50]}}, b'{"name":"Ann","n":[1,2.5]}'),
        ({"info": "text"}, b'"text"'),
        ({"b64info": b64(b'{\n "name": "Zo\xc3\xab"\n}')}, b'{"name":"Zo\xc3\xab"}'),
        ({"info": {"a": 1}, "b64info": b64(b'{"b":2}')}, b'{"b":2}'),
        ({"info": {"a": 1}, "b64info": ""}, b'{"a":1}'),
    ],
    ids=str,
)
def test_info_becomes_compact_json(claims: dict[str, Any], expected: bytes) -> None:
    """`b64info` goes before `info`; a line break within would split a frame of JSON."""
    assert identity(**claims).info == expected
    assert granted(**claims).info == expected


def test_channels_are_what_the_server_subscribes_to() -> None:
    """`channels` is a list, each once; `subs` goes before it and has an info for each channel."""
    assert identity(channels=["news", "#42", "news"]).channels == ("news", "#42")
    subs = {"news": {"info": {"role": "reader"}, "override": {"presence": {"value": True}}}, "x:y": {}, "z": None}
    found = identity(channels=["other"], subs=subs)
    assert found.channels == ("news", "x:y", "z")
    assert found.channel_info("news") == b'{"role":"reader"}'
    assert found.channel_info("x:y") == found.channel_info("z") == found.channel_info("other") == b""


def test_unknown_claims_are_ignored() -> None:
    """`meta` and what a library adds by itself do no harm, nor does an `aud` nobody asked for."""
    assert identity(meta={"a": 1}, jti="x", iat=NOW + 6000, aud="theirs", iss="them", kid="?").user == "42"


def test_audience_and_issuer_count_only_if_set() -> None:
    """Set, they must be there and right, for both kinds of token."""
    rules = Rules("parley", "parley", 900, 5, hmac_secret=SECRET, hmac_issuer="them", hmac_audience="us")
    assert identity(rules, iss="them", aud=["others", "us"]).user == "42"
    assert identity(rules, iss="them", aud="us").user == "42"
    wrong: list[dict[str, Any]] = [{}, {"iss": "them"}, {"aud": "us"}, {"iss": "them", "aud": ["u", "s"]}]
    for claims in [*wrong, {"iss": "we", "aud": "us"}]:
        with pytest.raises(BadToken):
            identity(rules, **claims)
        with pytest.raises(Bad):
            verify_subscription(signed({"sub": "42", "channel": "news"} | claims), *ASKED, (SECRET,), "them", "us")


def refused(**claims: Any) -> str:
    """A genuine token with claims that are not acceptable."""
    return signed({"sub": "42"} | claims)


ACCESS = {"sub": "ann1", "sid": "s1", "aud": "parley", "iss": "parley", "typ": "access", "iat": NOW, "exp": NOW + 890}
FORGED = {
    "wrong secret": signed({"sub": "42"}, b"another"),
    "empty secret": signed({"sub": "42"}, b""),
    "none": signed({"sub": "42"}, alg="none"),
    "None without signature": signed({"sub": "42"}, alg="None").rpartition(".")[0] + ".",
    "lower case": signed({"sub": "42"}, alg="hs256"),
    "empty signature": signed({"sub": "42"}).rpartition(".")[0] + ".",
    "HS256 signature as HS512": signed({"sub": "42"}, alg="HS256").replace(
        part(b'{"typ": "JWT", "alg": "HS256"}'), part(b'{"typ": "JWT", "alg": "HS512"}')
    ),
    "HS256 with our public key as PEM": signed(ACCESS, PUBLIC_PEM, typ="at+jwt", kid="k1"),
    "HS256 with our public key as bytes": signed(ACCESS, PUBLIC_RAW, typ="at+jwt", kid="k1"),
    "EdDSA by the secret": signed(ACCESS, alg="EdDSA", typ="at+jwt", kid="k1"),
    "RS256 by the secret": signed({"sub": "42"}, alg="RS256"),
    "list as algorithm": signed({"sub": "42"}, alg="HS256").replace(
        part(b'{"typ": "JWT", "alg": "HS256"}'), part(b'{"typ": "JWT", "alg": ["HS256"]}')
    ),
    "jwk": signed({"sub": "42"}, jwk={"kty": "oct", "k": "c2VjcmV0"}),
    "jku": signed({"sub": "42"}, jku="http://127.0.0.1:1/keys"),
    "crit": signed({"sub": "42"}, crit=["x"], x=1),
    "detached payload": signed({"sub": "42"}, b64=False),
    "a subscription token": refused(channel="news"),
    "int subject": refused(sub=42),
    "list subject": refused(sub=["42"]),
    "long subject": refused(sub="u" * 256),
    "lone surrogate": signed(b'{"sub":"\\ud800"}'),
    "text as end": refused(exp=str(NOW + 60000)),
    "bool as end": refused(exp=True),
    "milliseconds": refused(exp=NOW * 1000),
    "endless": signed(b'{"sub":"42","exp":1e400}'),
    "huge": signed(b'{"sub":"42","exp":1' + b"0" * 400 + b"}"),
    "before the epoch": refused(expire_at=-1),
    "NaN": signed(b'{"sub":"42","exp":NaN}'),
    "b64info is not base64": refused(b64info="{}"),
    "b64info is not JSON": refused(b64info=b64(b"\x00\xff")),
    "b64info is not UTF-8": refused(b64info=b64(b'"\xff"')),
    "b64info is two values": refused(b64info=b64(b"1\n2")),
    "info is not UTF-8": signed(b'{"sub":"42","info":"\xff"}'),
    "info with a lone surrogate": signed(b'{"sub":"42","info":"\\ud800"}'),
    "info out of range": signed(b'{"sub":"42","info":1e999}'),
    "sub with a bad info": refused(subs={"news": {"b64info": "?"}}),
    "channels is a text": refused(channels="news"),
    "channel is a number": refused(channels=[1]),
    "channel is empty": refused(channels=[""]),
    "channel with a line break": refused(channels=["a\nb"]),
    "channel beyond ASCII": refused(subs={"é": {}}),
    "channel too long": refused(channels=["c" * 256]),
    "a room": refused(channels=["room:general"]),
    "another user's own": refused(subs={"user:ann1": {}}),
    "no object": signed([]),
    "no JSON": signed(b"sub=42"),
    "empty payload": signed(b""),
    "two values": signed(b'{"sub":"42"} {}'),
    "deep": signed(b"[" * 2900),
    "8 KB": refused(name="n" * 8192),
    "beyond ASCII": signed({"sub": "42"}) + "é",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_forged_tokens_are_refused(forged: str) -> None:
    """Each token of the corpus raises BadToken, not as expired, and nothing else."""
    with pytest.raises(BadToken) as refusal:
        verify(forged, KEYS, RULES)
    assert not isinstance(refusal.value, ExpiredToken)


NOT_FOR_SUBSCRIPTIONS = ("a subscription token", "sub", "channel", "a room", "another user's own", "long subject")


@pytest.mark.parametrize(
    "forged",
    [token for name, token in FORGED.items() if not name.startswith(NOT_FOR_SUBSCRIPTIONS)],
    ids=[name for name in FORGED if not name.startswith(NOT_FOR_SUBSCRIPTIONS)],
)
def test_forged_subscription_tokens_are_bad(forged: str) -> None:
    """The same corpus opens no channel: error 103."""
    with pytest.raises(Bad):
        verify_subscription(forged, *ASKED, (SECRET,))


@pytest.mark.parametrize("secret", [b"", SECRET, b"\0"], ids=["none", "the usual", "zero"])
def test_without_a_secret_no_hmac_token_counts(secret: bytes) -> None:
    """The family is off by default; an empty secret verifies nothing, whatever the token was signed with."""
    off = Rules("parley", "parley", 900, 5)
    with pytest.raises(BadToken):
        verify(signed({"sub": "42"}, secret), KEYS, off)
    with pytest.raises(Bad):
        verify_subscription(signed({"sub": "42", "channel": "news"}, secret), *ASKED, (b"", b""))


ASKED = ("news", "42", "c1")


def granted(**claims: Any) -> Grant:
    """What a subscription token with these claims grants to client c1 of user 42 for the channel news."""
    return verify_subscription(signed({"sub": "42", "channel": "news"} | claims), *ASKED, (SECRET,))


def test_a_subscription_token_opens_its_channel() -> None:
    """For its user, and for the client it names if it names one; the user without an id has tokens too."""
    assert granted() == granted(client="c1") == granted(client="") == Grant(0, b"")
    anonymous = signed({"channel": "news"})
    assert verify_subscription(anonymous, "news", "", "c1", (SECRET,)) == Grant(0, b"")


@pytest.mark.parametrize(
    "claims", [{"channel": "other"}, {"channel": "News"}, {"sub": "43"}, {"sub": ""}, {"client": "c2"}], ids=str
)
def test_a_token_of_somebody_else_ends_the_connection(claims: dict[str, Any]) -> None:
    """Another channel, user or client is told apart from a bad token."""
    with pytest.raises(Foreign):
        granted(**claims)


def test_a_connection_token_opens_no_channel() -> None:
    """Without `channel` it is of the other kind."""
    for claims in ({"channel": ""}, {"channel": None}):
        with pytest.raises(Bad):
            granted(**claims)


def test_an_expired_token_of_somebody_else_is_expired() -> None:
    """The end is judged before the channel, as in the reference; in no case is it granted."""
    with pytest.raises(Expired):
        granted(channel="other", exp=NOW - 1)


def test_an_access_token_opens_no_channel() -> None:
    """Keys of the auth service and the secret are never mixed."""
    import jwt

    token = jwt.encode(ACCESS | {"channel": "news"}, PRIVATE, "EdDSA", headers={"typ": "at+jwt", "kid": "k1"})
    with pytest.raises(Refused):
        verify_subscription(token, "news", "ann1", "c1", (SECRET,))
    assert verify(token, KEYS, RULES).is_native


def test_subscriptions_may_have_a_secret_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """TOKEN_SUBSCRIPTION_HMAC_SECRET replaces TOKEN_HMAC_SECRET for subscriptions; neither is ever shown."""
    assert (GatewaySettings.load().hmac_secret, GatewaySettings.load().subscription_secret) == (b"", b"")
    monkeypatch.setenv("TOKEN_HMAC_SECRET", "one")
    assert GatewaySettings.load().subscription_secret == b"one"
    monkeypatch.setenv("TOKEN_SUBSCRIPTION_HMAC_SECRET", "two")
    settings = GatewaySettings.load()
    assert (settings.hmac_secret, settings.subscription_secret) == (b"one", b"two")
    assert "'one'" not in repr(settings)
    assert "'two'" not in repr(settings)


def test_a_backend_may_change_its_secret_while_clients_come() -> None:
    """Tokens of the secret before count as long as it is named, and no longer; those of neither never."""
    both = Rules("parley", "parley", 900, 5, hmac_secret=b"new" * 16, hmac_previous=SECRET)
    for secret in (b"new" * 16, SECRET):
        assert verify(signed({"sub": "42"}, secret), KEYS, both).user == "42"
        grant = verify_subscription(signed({"sub": "42", "channel": "news"}, secret), *ASKED, (b"new" * 16, SECRET))
        assert grant == Grant(0, b"")
    only_new = Rules("parley", "parley", 900, 5, hmac_secret=b"new" * 16)
    for secret, rules in ((SECRET, only_new), (b"neither", both)):
        with pytest.raises(BadToken):
            verify(signed({"sub": "42"}, secret), KEYS, rules)
