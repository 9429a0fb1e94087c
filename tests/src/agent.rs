//! More agents for a world: real processes with a proxy `web` each.
//!
//! Neighbour: `process` ends them.

use crate::{Running, World, binary, get, wait_for};
use squall_wire::ProxyInfo;
use std::{path::Path, process::Command};

/// An agent with a proxy `web`.
pub struct Agent {
    /// Its process.
    pub process: Running,
    /// Its address.
    pub url: String,
    /// Where clients reach what is behind its proxy.
    pub proxy_url: String,
}

impl Agent {
    /// Starts one more before the world's server.
    #[must_use]
    pub fn start(world: &World, name: &str, more: &[&str]) -> Self {
        Self::start_in(&world.path(""), name, &world.web.address().to_string(), more)
    }

    /// Starts one before something else, which speaks this protocol.
    ///
    /// # Panics
    /// When its proxy cannot be made.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its proxy must fail loudly")]
    pub fn start_before(world: &World, name: &str, upstream: &str, protocol: &str) -> Self {
        let mut agent = Self::start(world, name, &[]);
        let set = |arguments: &[&str]| {
            world.squall().args(arguments).args(["--agent", &agent.url]).output().expect("squall starts")
        };
        set(&["proxy", "remove", "web"]);
        let made = set(&["proxy", "set", "web", "--upstream", upstream, "--protocol", protocol]);
        assert!(made.status.success(), "{}", crate::printed(&made));
        let listen = get(&format!("{}/v1/proxies/web", agent.url)).expect("the agent answers")["listen"].clone();
        agent.proxy_url = format!("http://{}", listen.as_str().expect("an address"));
        agent
    }

    #[expect(clippy::expect_used, reason = "a test without its agent must fail loudly")]
    pub(crate) fn start_in(directory: &Path, name: &str, upstream: &str, more: &[&str]) -> Self {
        let ready = directory.join(format!("{name}.json"));
        let mut command = Command::new(binary("squall-agent"));
        command.args(["--listen", "127.0.0.1:0", "--name", name, "--drain", "1s"]);
        command.arg("--proxy").arg(format!("web=127.0.0.1:0->{upstream}"));
        command.arg("--ready-file").arg(&ready).args(more);
        let process = Running::spawn(command, &directory.join(format!("{name}.log")));
        let bound = wait_for("the agent's ready file", || {
            serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(&ready).ok()?).ok()
        });
        let api = bound["api"].as_str().expect("the API's address").to_owned();
        let proxy = bound["proxies"]["web"].as_str().expect("the proxy's address").to_owned();
        Self { process, url: format!("http://{api}"), proxy_url: format!("http://{proxy}") }
    }

    /// Its proxy.
    #[must_use]
    pub fn proxy(&self) -> ProxyInfo {
        proxy_of(&self.url)
    }
}

#[expect(clippy::expect_used, reason = "a test without its agent must fail loudly")]
pub(crate) fn proxy_of(url: &str) -> ProxyInfo {
    serde_json::from_value(get(&format!("{url}/v1/proxies/web")).expect("the agent answers"))
        .expect("the agent speaks our language")
}
