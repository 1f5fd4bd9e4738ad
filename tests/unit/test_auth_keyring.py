"""The rules of the key ring: which key signs, which are published, when the next is due."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth_service.keyring import Key, Ring

PRIVATE = Ed25519PrivateKey.generate()


def ring(*starts: float) -> Ring:
    """A ring whose keys sign from these times on."""
    return Ring(tuple(Key(n, f"k{n}", PRIVATE, start) for n, start in enumerate(starts, 1)))


def published(of: Ring, now: float) -> list[str]:
    """The ids published at `now`, when retired keys are kept for 900 s."""
    return [key.kid for key in of.published(now, 900)]


def signer(of: Ring, now: float) -> str | None:
    """The id of the key that signs at `now`."""
    key = of.current(now)
    return key.kid if key else None


def test_empty_ring() -> None:
    """An empty ring signs nothing, publishes nothing, and waits for nothing."""
    assert signer(ring(), 0) is None
    assert ring().next(0) is None
    assert published(ring(), 0) == []
    assert not ring().due(0, 100, 10)


def test_life_of_a_key() -> None:
    """A key is next, then current, then retired and still published, then gone."""
    keys = ring(0, 1000)
    assert (signer(keys, 999), published(keys, 999)) == ("k1", ["k1", "k2"])
    assert (signer(keys, 1000), published(keys, 1000)) == ("k2", ["k1", "k2"])
    assert published(keys, 1899) == ["k1", "k2"]
    assert published(keys, 1900) == ["k2"]
    waiting = keys.next(500)
    assert waiting is not None
    assert waiting.kid == "k2"
    assert keys.next(1000) is None


def test_clock_behind_the_first_key() -> None:
    """A replica whose clock is behind signs with the first key all the same."""
    assert signer(ring(100), 90) == "k1"
    assert published(ring(100), 90) == ["k1"]


def test_due() -> None:
    """The next key is due so early that the current one signs for its life, and only once."""
    assert not ring(0).due(689, 1000, 300)
    assert ring(0).due(700, 1000, 300)
    assert not ring(0, 1000).due(700, 1000, 300)
    assert not ring(0, 1000).due(1699, 1000, 300)
    assert ring(0, 1000).due(1700, 1000, 300)


def test_jwk_is_public() -> None:
    """What is published of a key holds no private part."""
    jwk = ring(0).keys[0].jwk()
    assert set(jwk) == {"kty", "crv", "alg", "use", "kid", "x"}
    assert len(jwk["x"]) == 43
