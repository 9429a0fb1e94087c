// Every call of the unmodified `toxiproxy-node-client`, against the agent whose address is the first argument.
// The second is the port of a server that sends back what it gets. Prints one line a check; exits 1 if any failed.
"use strict";
const assert = require("node:assert");
const net = require("node:net");
const { Toxiproxy, ToxiproxyError } = require("toxiproxy-node-client");

const toxiproxy = new Toxiproxy(`http://${process.argv[2]}`);
const upstream = `127.0.0.1:${process.argv[3]}`;

/** Milliseconds from a ping to its echo; rejects when the connection ends before. */
function ping(proxy) {
  const [host, port] = proxy.listen.split(":");
  return new Promise((resolve, reject) => {
    const start = Date.now();
    const socket = net.connect(Number(port), host, () => socket.write("ping"));
    socket.setTimeout(10000, () => socket.destroy(new Error("no answer in time")));
    socket.on("data", () => { socket.destroy(); resolve(Date.now() - start); });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("closed")));
  });
}

const toxics = {
  latency: { latency: 1000, jitter: 0 },
  bandwidth: { rate: 1000 },
  slow_close: { delay: 10 },
  timeout: { timeout: 50 },
  reset_peer: { timeout: 0 },
  slicer: { average_size: 2, size_variation: 1, delay: 10 },
  limit_data: { bytes: 2 },
};

const checks = {
  "getVersion": async () => assert.strictEqual(JSON.parse(await toxiproxy.getVersion()).version, "2.12.0"),
  "createProxy, get, getAll": async () => {
    const proxy = await toxiproxy.createProxy({ name: "one", listen: "localhost:0", upstream });
    assert.match(proxy.listen, /^127\.0\.0\.1:[1-9]/);
    assert.deepStrictEqual((await toxiproxy.get("one")).toJson(), proxy.toJson());
    assert.deepStrictEqual(Object.keys(await toxiproxy.getAll()), ["one"]);
    await ping(proxy);
  },
  "an error is a ToxiproxyError with its status": async () => {
    await assert.rejects(toxiproxy.get("nobody"), (e) => e instanceof ToxiproxyError && /404/.test(e.message));
    await assert.rejects(toxiproxy.createProxy({ name: "one", listen: "localhost:0", upstream }), /409/);
  },
  "Proxy.update": async () => {
    const proxy = await toxiproxy.get("one");
    const down = await proxy.update({ enabled: false, listen: proxy.listen, upstream: proxy.upstream });
    assert.strictEqual(down.enabled, false);
    await assert.rejects(ping(proxy), /ECONNREFUSED/);
    const up = await proxy.update({ enabled: true, listen: proxy.listen, upstream: proxy.upstream });
    assert.strictEqual(up.listen, proxy.listen);
    await ping(up);
  },
  "Proxy.addToxic, getToxic, Toxic.update, Toxic.remove, each type": async () => {
    const proxy = await toxiproxy.get("one");
    for (const [type, attributes] of Object.entries(toxics)) {
      for (const stream of ["upstream", "downstream"]) {
        const toxic = await proxy.addToxic({ name: `my_${type}`, type, stream, toxicity: 1, attributes });
        assert.deepStrictEqual(toxic.toJson(), { name: `my_${type}`, type, stream, toxicity: 1, attributes });
        assert.deepStrictEqual((await proxy.getToxic(toxic.name)).toJson(), toxic.toJson());
        const changed = await toxic.update({ attributes, toxicity: 0.5 });
        assert.strictEqual(changed.toxicity, 0.5);
        await toxic.remove();
        await assert.rejects(proxy.getToxic(toxic.name), /404/);
      }
    }
  },
  "what latency, timeout, reset_peer and limit_data do": async () => {
    const proxy = await toxiproxy.get("one");
    const latency = await proxy.addToxic({ type: "latency", attributes: toxics.latency });
    assert.ok((await ping(proxy)) >= 1000);
    await latency.remove();
    assert.ok((await ping(proxy)) < 1000);
    for (const [type, ends] of [["timeout", /closed|ECONNRESET/], ["reset_peer", /ECONNRESET|EPIPE/]]) {
      const toxic = await proxy.addToxic({ type, attributes: toxics[type] });
      await assert.rejects(ping(proxy), ends);
      await toxic.remove();
    }
    await ping(proxy);
  },
  "populate": async () => {
    const list = [{ name: "two", listen: "127.0.0.1:0", upstream }, { name: "three", listen: "127.0.0.1:0", upstream }];
    const made = await toxiproxy.populate(list);
    assert.deepStrictEqual(Object.keys(made), ["two", "three"]);
    await ping(made.three);
  },
  "reset": async () => {
    const proxy = await toxiproxy.get("two");
    await proxy.addToxic({ type: "latency", attributes: { latency: 5000, jitter: 0 } });
    await proxy.update({ enabled: false, listen: proxy.listen, upstream: proxy.upstream });
    await toxiproxy.reset();
    assert.strictEqual((await toxiproxy.get("two")).enabled, true);
    assert.ok((await ping(proxy)) < 5000);
    await assert.rejects(proxy.getToxic("latency_downstream"), /404/);
  },
  "Proxy.remove": async () => {
    for (const proxy of Object.values(await toxiproxy.getAll())) await proxy.remove();
    assert.deepStrictEqual(await toxiproxy.getAll(), {});
  },
};

(async () => {
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`  ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`  FAILED  ${name}: ${error.stack}`);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
})();
