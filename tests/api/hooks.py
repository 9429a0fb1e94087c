"""Keeps what schemathesis makes up on this machine: listeners on the loopback, upstreams on it too."""

import schemathesis


def at_home(address, port):
    """The same port on the loopback, where the address has one; what is no address stays as it is."""
    if not isinstance(address, str):
        return address
    host, colon, last = address.rpartition(":")
    if not colon or not host or not last.isascii() or not last.isdigit():
        return address
    return "127.0.0.1:" + (port or last)


@schemathesis.hook
def before_call(ctx, case, kwargs):
    body = case.body
    if isinstance(body, dict):
        if "listen" in body:
            body["listen"] = at_home(body["listen"], "0")
        if "upstream" in body:
            body["upstream"] = at_home(body["upstream"], None)
