//! `packet_loss`: real segments are dropped in the kernel, by a classic BPF program on the socket at which they arrive.
//!
//! A filter sees what comes in, so the loss of one direction sits where its sender's segments arrive: `upstream` on
//! the client's socket, `downstream` on the upstream's. Whatever arrives there is dropped by the same chance: data,
//! acknowledgements (those of the other direction's data among them), ends and resets; the sender finds out as on a
//! real network, and sends again. What `squall-agent` sends itself is never dropped. A connection is opened unharmed
//! and then lossy, but for `syn_only`, which drops on the listening socket what asks for a connection.
//!
//! Here are the programs, as values; `sieve.rs` puts them onto connections and `listener.rs` onto the listening socket.
//! The kernel rolls the dice, so the seed chooses connections only, and nobody counts what was dropped.
//!
//! Invariant: a program answers "drop" or "pass whole", and every jump in it leads forward to one of the two.

use super::{ActiveFault, Claim};
use ipnet::IpNet;
use squall_wire::{FaultKind, fault::PacketLoss};
use std::{net::IpAddr, sync::Arc};

/// One instruction of classic BPF, as `struct sock_filter` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) k: u32,
}

/// More than this the kernel does not take (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

// Codes of `linux/bpf_common.h`.
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const SHIFT_RIGHT: u16 = 0x74;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Loads a fresh random number instead of bytes of the segment (`SKF_AD_OFF + SKF_AD_RANDOM`).
const RANDOM: u32 = 0xffff_f000 + 56;
/// Where the IP header starts (`SKF_NET_OFF`); the TCP header starts at 0.
const NETWORK: u32 = 0xfff0_0000;
/// Flags of TCP are in this byte.
const FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

const PASS: Instruction = statement(RETURN, u32::MAX);
const DROP: Instruction = statement(RETURN, 0);

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, k }
}

const fn jump(code: u16, k: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, k }
}

/// The share of segments that is dropped, in parts of 2^32, as a program compares it to a random number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share(u64);

impl Share {
    /// Every segment.
    const ALL: u64 = 1 << 32;

    /// Nothing is dropped.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn of(fraction: f64) -> Self {
        // A share too small to be told from none is still one; and what is rounded is far below what can be measured.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^32 by the clamp")]
        let parts = (fraction.clamp(0.0, 1.0) * Self::ALL as f64).round() as u64;
        Self(if fraction > 0.0 { parts.max(1) } else { 0 })
    }
}

/// What these faults together take of the segments of one direction of a connection. Counts the connection as hit.
pub(crate) fn share_of(plan: &[Arc<Claim>], upstream: bool) -> Share {
    let mut passes = 1.0;
    for claim in plan {
        let direction = claim.fault.direction();
        let ours = if upstream { direction.covers_upstream() } else { direction.covers_downstream() };
        if let FaultKind::PacketLoss(PacketLoss { loss, syn_only: false }) = claim.fault.kind()
            && ours
            && claim.act()
        {
            passes *= 1.0 - loss.fraction();
        }
    }
    Share::of(1.0 - passes)
}

/// The program for an open connection; none when nothing is to be dropped.
pub(crate) fn segments(share: Share) -> Option<Vec<Instruction>> {
    match share {
        Share::NONE => None,
        share => Some(drop_by_chance(share).into_iter().chain([PASS]).collect()),
    }
}

/// The program for the listening socket: drops what asks for a connection; none when no fault of these does.
pub(crate) fn openings(faults: &[Arc<ActiveFault>]) -> Option<Result<Vec<Instruction>, TooLong>> {
    let mut blocks = Vec::new();
    for fault in faults {
        if let FaultKind::PacketLoss(PacketLoss { loss, syn_only: true }) = fault.kind() {
            let drop = drop_by_chance(Share::of(loss.fraction()));
            blocks.extend(when_from(&fault.only().client, drop));
        }
    }
    if blocks.is_empty() {
        return None;
    }
    let asks = [statement(LOAD_BYTE, FLAGS), statement(AND, SYN | ACK), jump(JUMP_EQUAL, SYN, 1, 0), PASS];
    let program: Vec<_> = asks.into_iter().chain(blocks).chain([PASS]).collect();
    Some(if program.len() > LONGEST { Err(TooLong) } else { Ok(program) })
}

/// A program that the kernel would not take.
#[derive(Debug, thiserror::Error)]
#[error("`where` names more networks than a socket filter can hold: name at most some 200, or larger ones")]
pub(crate) struct TooLong;

/// Drops by chance, and otherwise goes on behind itself.
fn drop_by_chance(Share(parts): Share) -> Vec<Instruction> {
    match u32::try_from(parts) {
        Ok(parts) => vec![statement(LOAD_WORD, RANDOM), jump(JUMP_AT_LEAST, parts, 1, 0), DROP],
        Err(_) => vec![DROP],
    }
}

/// Does `then` if the sender is in one of the networks, or if there are none; and otherwise goes on behind it.
fn when_from(networks: &[IpNet], then: Vec<Instruction>) -> Vec<Instruction> {
    if networks.is_empty() {
        return then;
    }
    let tests: Vec<_> = networks.iter().map(sender_in).collect();
    // From the last one to the first, for each must know how far it is to `then`.
    let mut rest = vec![far_jump(then.len())];
    for test in tests.into_iter().rev() {
        let hit = far_jump(rest.len());
        rest = test.into_iter().chain([hit]).chain(rest).collect();
    }
    rest.into_iter().chain(then).collect()
}

/// Over so many instructions.
fn far_jump(over: usize) -> Instruction {
    // Longer ones are refused as a whole, for the program is then too long.
    statement(JUMP, u32::try_from(over).unwrap_or(u32::MAX))
}

/// Goes on right behind itself if the sender is in the network, and otherwise over one instruction more.
fn sender_in(network: &IpNet) -> Vec<Instruction> {
    const VERSION: u32 = NETWORK;
    let (version, at, words) = match (network.network(), network.netmask()) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => (4, 12, vec![(address.to_bits(), mask.to_bits())]),
        (IpAddr::V6(address), IpAddr::V6(mask)) => {
            let words = |bits: u128| bits.to_be_bytes().chunks(4).map(word).collect::<Vec<_>>();
            (6, 8, words(address.to_bits()).into_iter().zip(words(mask.to_bits())).collect())
        }
        // A network and its mask are of one family.
        _ => (0, 0, Vec::new()),
    };
    let mut test = vec![statement(LOAD_BYTE, VERSION), statement(SHIFT_RIGHT, 4)];
    let compared: Vec<_> = (0_u32..).zip(words).filter(|(_, (_, mask))| *mask != 0).collect();
    // Each word takes three instructions; the last jump leads over the one behind all of them.
    let over = |left: usize| u8::try_from(left * 3 + 1).unwrap_or(u8::MAX);
    test.push(jump(JUMP_EQUAL, version, 0, over(compared.len())));
    for (done, (index, (address, mask))) in compared.iter().enumerate() {
        test.push(statement(LOAD_WORD, NETWORK + at + 4 * index));
        test.push(statement(AND, *mask));
        test.push(jump(JUMP_EQUAL, *address, 0, over(compared.len() - done - 1)));
    }
    test
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;
