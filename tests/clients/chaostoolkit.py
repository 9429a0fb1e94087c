"""Every action and probe of the unmodified `chaostoolkit-toxiproxy`, against the agent at the first argument.

The second is the port of a server that sends back what it gets. Prints one line a check; exits 1 if any failed.
"""

import json
import os
import socket
import sys
import time
import traceback
import urllib.request

from chaostoxi.proxy import actions as proxy
from chaostoxi.proxy import probes
from chaostoxi.toxic import actions as toxic

AGENT = sys.argv[1]
PORT = int(sys.argv[2])
HERE = {"toxiproxy_host": AGENT.rsplit(":", 1)[0], "toxiproxy_port": AGENT.rsplit(":", 1)[1]}


def ping(name):
    """Seconds from a ping to its echo, through the port that the extension put into the configuration."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", int(HERE[name + "_PORT"])), timeout=10) as stream:
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


def toxics(name):
    with urllib.request.urlopen("http://%s/proxies/%s/toxics" % (AGENT, name), timeout=10) as answer:
        return {found["name"]: found for found in json.load(answer)}


def create_proxy_and_the_probes():
    assert proxy.create_proxy("one", "127.0.0.1", PORT, listen_host="127.0.0.1", configuration=HERE)
    assert os.environ["one_PORT"] == HERE["one_PORT"]
    os.environ["BEHIND"] = "127.0.0.1"
    assert proxy.create_proxy("off", "env:BEHIND", PORT, "127.0.0.1", 0, False, configuration=HERE)
    assert probes.proxy_exist("one", configuration=HERE) and not probes.proxy_exist("nobody", configuration=HERE)
    assert probes.get_proxy_attribute("one", "upstream", configuration=HERE) == "127.0.0.1:%d" % PORT
    assert probes.get_proxy_attribute("off", "enabled", configuration=HERE) is False
    assert probes.get_proxy_attribute("nobody", "enabled", configuration=HERE) is None
    refuses(AssertionError, lambda: proxy.create_proxy("one", "127.0.0.1", PORT, "127.0.0.1", configuration=HERE))
    ping("one")


def disable_enable_modify():
    assert proxy.disable_proxy("one", configuration=HERE)
    refuses(ConnectionRefusedError, lambda: ping("one"))
    assert proxy.enable_proxy("one", configuration=HERE)
    ping("one")
    assert proxy.modify_proxy("one", upstream_address="127.0.0.1:1", configuration=HERE)
    refuses(ConnectionError, lambda: ping("one"))
    assert proxy.modify_proxy(
        "one", listen_address="127.0.0.1:0", upstream_address="127.0.0.1:%d" % PORT, enabled=True, configuration=HERE
    )
    ping("one")
    refuses(AssertionError, lambda: proxy.modify_proxy("nobody", enabled=True, configuration=HERE))


def toxics_of_each_kind():
    assert toxic.create_toxic("one", "any", "latency", "upstream", 0.5, {"latency": 1, "jitter": 0}, HERE)
    assert toxic.create_latency_toxic("one", "late", 10, 1, configuration=HERE)
    assert toxic.create_bandwith_degradation_toxic("one", "thin", 1000, configuration=HERE)
    assert toxic.create_slow_connection_close_toxic("one", "slow", 10, configuration=HERE)
    assert toxic.create_timeout_toxic("one", "never", 50, configuration=HERE)
    assert toxic.create_slicer_toxic("one", "slices", 2, 1, 10, configuration=HERE)
    assert toxic.create_limiter_toxic("one", "short", 2, configuration=HERE)
    found = toxics("one")
    assert set(found) == {"any", "late", "thin", "slow", "never", "slices", "short"}
    assert (found["any"]["stream"], found["any"]["toxicity"]) == ("upstream", 0.5)
    assert found["slices"]["attributes"] == {"average_size": 2, "size_variation": 1, "delay": 10}
    for name in found:
        toxic.delete_toxic("one", name, configuration=HERE)
    assert toxics("one") == {}


def what_toxics_do():
    toxic.create_latency_toxic("one", "late", 1000, configuration=HERE)
    assert ping("one") >= 1
    toxic.delete_toxic("one", "late", configuration=HERE)
    assert ping("one") < 1
    toxic.create_timeout_toxic("one", "never", 50, configuration=HERE)
    refuses(ConnectionError, lambda: ping("one"))


def reset_and_delete_proxy():
    proxy.disable_proxy("one", configuration=HERE)
    proxy.reset(configuration=HERE)
    assert toxics("one") == {} and probes.get_proxy_attribute("off", "enabled", configuration=HERE) is True
    ping("one")
    for name in ("one", "off"):
        proxy.delete_proxy(name, configuration=HERE)
        assert not probes.proxy_exist(name, configuration=HERE)


failed = 0
for check in (create_proxy_and_the_probes, disable_enable_modify, toxics_of_each_kind, what_toxics_do,
              reset_and_delete_proxy):
    name = check.__name__.replace("_", " ")
    try:
        check()
        print("  ok      " + name)
    except Exception:  # Whatever it is, it is told, and the other checks go on.
        failed += 1
        print("  FAILED  %s: %s" % (name, traceback.format_exc()))
sys.exit(1 if failed else 0)
