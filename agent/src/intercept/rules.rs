//! The rules as the script that `nft` reads. Pure.
//!
//! Neighbours: `mod.rs` fills them in, `nft.rs` applies them.
//! Invariant: one script is one transaction, and applying it again changes nothing; all of it is in one table of our own.
//! Rules that are lifted leave their chains until the end, with one rule that does nothing: with the last of its kind
//! the kernel forgets where connections that are open were redirected to.

use std::{
    collections::BTreeSet,
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

/// Before what others redirect (`dstnat`, -100), for a connection is redirected once only.
const PRIORITY: i32 = -105;

/// Connections to these addresses go to this port of this machine.
#[derive(Debug)]
pub(super) struct Redirect {
    pub(super) addresses: BTreeSet<SocketAddr>,
    pub(super) port: u16,
}

/// One table.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) table: String,
    /// What carries this mark is left alone: the agent's own connections.
    pub(super) mark: u32,
    pub(super) exclude_uids: BTreeSet<u32>,
    pub(super) redirects: Vec<Redirect>,
    pub(super) forwarded: bool,
}

impl Rules {
    /// Puts the table there as it should be, whatever there was of it.
    pub(super) fn laid(&self) -> String {
        self.script(&self.redirects.iter().map(Redirect::rules).collect::<String>())
    }

    /// The same without any redirection: new connections go where they mean to, open ones go on.
    pub(super) fn lifted(&self) -> String {
        // The one rule is a reason for the kernel to go on tracking connections.
        self.script("    ct state new return\n")
    }

    fn script(&self, redirects: &str) -> String {
        let mut script = removal(&self.table);
        let mut add = |text: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = script.write_fmt(text);
        };
        add(format_args!("table inet {} {{\n  chain output {{\n", self.table));
        add(format_args!("    type nat hook output priority {PRIORITY}; policy accept;\n"));
        add(format_args!("    meta mark {:#x} return\n", self.mark));
        for uid in &self.exclude_uids {
            add(format_args!("    meta skuid {uid} return\n"));
        }
        add(format_args!("{redirects}  }}\n"));
        if self.forwarded {
            add(format_args!("  chain prerouting {{\n"));
            add(format_args!("    type nat hook prerouting priority {PRIORITY}; policy accept;\n"));
            add(format_args!("{redirects}  }}\n"));
        }
        add(format_args!("}}\n"));
        script
    }
}

impl Redirect {
    fn rules(&self) -> String {
        let rule = |address: &SocketAddr| {
            let family = if address.is_ipv4() { "ip" } else { "ip6" };
            let ip: IpAddr = address.ip();
            format!("    {family} daddr {ip} tcp dport {} redirect to :{}\n", address.port(), self.port)
        };
        self.addresses.iter().map(rule).collect()
    }
}

/// Takes the table away, and is as good when there is none.
pub(super) fn removal(table: &str) -> String {
    format!("add table inet {table}\ndelete table inet {table}\n")
}

#[cfg(test)]
mod tests {
    use super::{Redirect, Rules};

    fn rules(forwarded: bool) -> Rules {
        let redirect = |addresses: &[&str], port| Redirect {
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            port,
        };
        let redirects = vec![redirect(&["10.0.0.2:80", "10.0.0.3:80"], 40_001), redirect(&["[fd00::2]:80"], 40_002)];
        let exclude_uids = [33, 7].into();
        Rules { table: "squall_7".into(), mark: 0x51, exclude_uids, redirects, forwarded }
    }

    #[test]
    fn the_own_connections_are_let_pass_before_any_is_redirected() {
        insta::assert_snapshot!(rules(false).laid(), @r"
        add table inet squall_7
        delete table inet squall_7
        table inet squall_7 {
          chain output {
            type nat hook output priority -105; policy accept;
            meta mark 0x51 return
            meta skuid 7 return
            meta skuid 33 return
            ip daddr 10.0.0.2 tcp dport 80 redirect to :40001
            ip daddr 10.0.0.3 tcp dport 80 redirect to :40001
            ip6 daddr fd00::2 tcp dport 80 redirect to :40002
          }
        }
        ");
    }

    #[test]
    fn what_others_send_through_this_machine_is_redirected_on_demand() {
        let script = rules(true).laid();
        let (_, prerouting) = script.split_once("chain prerouting").unwrap();
        assert!(prerouting.contains("hook prerouting") && prerouting.matches("redirect to").count() == 3, "{script}");
        assert!(!prerouting.contains("skuid"), "what comes from elsewhere has no user here");
    }

    #[test]
    fn rules_that_are_lifted_redirect_nothing_and_leave_their_chains() {
        let script = rules(true).lifted();
        assert!(!script.contains("redirect") && script.matches("type nat").count() == 2, "{script}");
    }
}
