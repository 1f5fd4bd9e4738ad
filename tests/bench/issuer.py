"""A team's own identity provider: publishes a key of its own beside those of a ring's auth service, and signs anything.

So a test can make tokens that the auth service never would: expired, too long-lived, for another audience.
"""

import base64
import json
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def encode(value: bytes | dict[str, Any]) -> str:
    """Return a part of a JSON Web Token: base64url without padding (RFC 7515, 2)."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Serves `url`; signs with `key_id`. Set `also` to where the auth service publishes its keys."""

    key_id = "key-of-a-test"

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.also = ""
        issuer = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = issuer.document()
                self.send_response(200 if body else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass  # not into the output of the tests

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"

    def __enter__(self) -> "Issuer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def public(self) -> bytes:
        """The public key's 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def document(self) -> bytes:
        """Return the key set; nothing as long as the other keys are not published."""
        try:
            with urllib.request.urlopen(self.also, timeout=2) as answer:
                keys = json.load(answer)["keys"]
        except (OSError, ValueError):
            return b""
        own = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.key_id}
        return json.dumps({"keys": [*keys, own | {"x": encode(self.public)}]}).encode()

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """Return the token of exactly that header and those claims."""
        signed = f"{encode(header)}.{encode(claims)}"
        return f"{signed}.{encode(self._key.sign(signed.encode()))}"

    def token(self, user: str, seconds: float = 600, **claims: Any) -> str:
        """Return an access token of `user` that ends in `seconds`; a claim of None is left out."""
        now = time.time()
        usual = {
            "iss": "parley",
            "aud": "parley",
            "typ": "access",
            "sub": user,
            "sid": f"session{user}"[:32],
            "name": f"Name of {user}",
            "iat": int(min(now, now + seconds - 1)),
            "exp": now + seconds,
            "jti": "1",
        }
        return self.sign(self.header(), {key: value for key, value in (usual | claims).items() if value is not None})

    def header(self, **fields: Any) -> dict[str, Any]:
        """Return the usual header, changed by `fields`."""
        return {"alg": "EdDSA", "typ": "at+jwt", "kid": self.key_id} | fields
