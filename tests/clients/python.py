"""Every call of the unmodified `toxiproxy-python`, against the agent whose address is the first argument.

The second is the port of a server that sends back what it gets. Prints one line a check; exits 1 if any failed.
"""

import json
import socket
import sys
import time
import traceback

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

HOST, PORT = sys.argv[1].rsplit(":", 1)
UPSTREAM = "127.0.0.1:" + sys.argv[2]
server = Toxiproxy()
server.update_api_consumer(HOST, int(PORT))


def ping(proxy):
    """Seconds from a ping to its echo."""
    host, port = proxy.listen.rsplit(":", 1)
    start = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as stream:
        stream.sendall(b"ping")
        if not stream.recv(16):
            raise ConnectionError("closed")
    return time.monotonic() - start


def refuses(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError("%s was expected" % kind.__name__)


def running_and_version():
    assert server.running()
    assert json.loads(server.version())["version"] == "2.12.0"


def create_get_and_list():
    proxy = server.create(upstream=UPSTREAM, name="one")
    assert proxy.listen.startswith("127.0.0.1:") and proxy.enabled
    assert server.get_proxy("one").listen == proxy.listen and server.get_proxy("nobody") is None
    assert list(server.proxies()) == ["one"]
    refuses(ProxyExists, lambda: server.create(upstream=UPSTREAM, name="one"))
    ping(proxy)
    off = server.create(upstream=UPSTREAM, name="off", listen="127.0.0.1:0", enabled=False)
    assert not off.enabled
    refuses(ConnectionRefusedError, lambda: ping(off))


def down_disable_enable():
    proxy = server.get_proxy("one")
    with proxy.down():
        assert not server.get_proxy("one").enabled
        refuses(ConnectionRefusedError, lambda: ping(proxy))
    ping(proxy)
    proxy.disable()
    refuses(ConnectionRefusedError, lambda: ping(proxy))
    proxy.enable()
    ping(proxy)


def toxics_of_each_type():
    proxy = server.get_proxy("one")
    kinds = {
        "latency": {"latency": 1000, "jitter": 0},
        "bandwidth": {"rate": 1000},
        "slow_close": {"delay": 10},
        "timeout": {"timeout": 50},
        "reset_peer": {"timeout": 0},
        "slicer": {"average_size": 2, "size_variation": 1, "delay": 10},
        "limit_data": {"bytes": 2},
    }
    for kind, attributes in kinds.items():
        for stream in ("upstream", "downstream"):
            proxy.add_toxic(type=kind, stream=stream, attributes=attributes)
            toxic = proxy.get_toxic("%s_%s" % (kind, stream))
            assert (toxic.type, toxic.stream, toxic.toxicity, toxic.attributes) == (kind, stream, 1, attributes)
            assert proxy.destroy_toxic(toxic.name)
    assert proxy.toxics() == {} and proxy.get_toxic("nobody") is None
    refuses(InvalidToxic, lambda: proxy.add_toxic(type="nonsense"))
    refuses(NotFound, lambda: proxy.destroy_toxic("nobody"))


def what_toxics_do():
    proxy = server.get_proxy("one")
    proxy.add_toxic(name="slow", type="latency", attributes={"latency": 1000})
    assert ping(proxy) >= 1
    proxy.destroy_toxic("slow")
    assert ping(proxy) < 1
    proxy.add_toxic(name="none", type="reset_peer", toxicity=0.0, attributes={"timeout": 0})
    ping(proxy)
    proxy.destroy_toxic("none")
    proxy.add_toxic(name="gone", type="reset_peer", attributes={"timeout": 0})
    refuses((ConnectionError, OSError), lambda: ping(proxy))
    proxy.destroy_toxic("gone")


def populate_and_reset():
    made = server.populate([{"name": "two", "upstream": UPSTREAM, "listen": "127.0.0.1:0"}])
    assert [proxy.name for proxy in made] == ["two"]
    two = made[0]
    two.add_toxic(type="latency", attributes={"latency": 5000})
    two.disable()
    assert server.reset()
    assert server.get_proxy("two").enabled and two.toxics() == {}
    assert ping(two) < 5


def destroy():
    assert server.destroy(server.get_proxy("two"))
    server.destroy_all()
    assert server.proxies() == {}


failed = 0
for check in (running_and_version, create_get_and_list, down_disable_enable, toxics_of_each_type, what_toxics_do,
              populate_and_reset, destroy):
    name = check.__name__.replace("_", " ")
    try:
        check()
        print("  ok      " + name)
    except Exception:  # Whatever it is, it is told, and the other checks go on.
        failed += 1
        print("  FAILED  %s: %s" % (name, traceback.format_exc()))
sys.exit(1 if failed else 0)
