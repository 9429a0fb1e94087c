//! `corrupt`: a share of the bytes that pass is changed, and their number is not.
//!
//! Which bytes, and how, is drawn from the seed, the connection's number and the direction: the gaps between them are
//! geometric, so that each byte is as likely as any other and nothing is drawn for those that are left alone. `flip`
//! turns one bit round and `random` puts another value, so both always change the byte; `zero` may meet one that is 0
//! already. All three choose the same bytes. A `rate` that is changed counts from where the stream is then.
//!
//! Acts (and counts a hit) when the first byte is chosen.
//!
//! Invariant: what is drawn depends on a byte's place in the stream alone, however the stream is cut into pieces.

use super::{Item, Stage, StageContext, hold::Hold};
use bytes::{Bytes, BytesMut};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use squall_wire::{
    FaultKind,
    fault::{Corrupt, CorruptHow},
};
use std::{collections::VecDeque, time::Instant};

/// The corruption of one direction.
#[derive(Debug)]
pub(crate) struct Corruption {
    corrupt: Corrupt,
    random: ChaCha8Rng,
    /// Bytes that pass as they are before the next one that does not.
    gap: u64,
    hold: Hold,
}

impl Corruption {
    pub(crate) fn new(corrupt: Corrupt, context: &StageContext<'_>) -> Self {
        let mut random = context.random();
        let gap = draw_gap(&mut random, corrupt.rate);
        Self { corrupt, random, gap, hold: Hold::default() }
    }

    /// The same piece with its chosen bytes changed.
    fn spoil(&mut self, bytes: Bytes) -> Bytes {
        let length = bytes.len() as u64;
        if self.gap >= length {
            self.gap -= length;
            return bytes;
        }
        // Copied only where another fault still looks at the same bytes.
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut place = self.gap;
        while let Some(chosen) = usize::try_from(place).ok().and_then(|place| bytes.get_mut(place)) {
            *chosen = changed(*chosen, self.corrupt.how, self.random.random());
            place = place.saturating_add(draw_gap(&mut self.random, self.corrupt.rate)).saturating_add(1);
        }
        self.gap = place - length;
        bytes.freeze()
    }
}

/// How many bytes pass before the next one that is chosen, when each is chosen with the chance `rate`.
pub(super) fn draw_gap(random: &mut ChaCha8Rng, rate: f64) -> u64 {
    // Above 0, for there is no logarithm of it. A rate of 1 divides by minus infinity, which gives no gap.
    let draw = 1.0 - random.random::<f64>();
    (draw.ln() / (-rate).ln_1p()) as u64
}

pub(super) fn changed(byte: u8, how: CorruptHow, draw: u32) -> u8 {
    match how {
        CorruptHow::Flip => byte ^ (1 << (draw % 8)),
        CorruptHow::Zero => 0,
        // From 1 to 255, so the value is another one.
        CorruptHow::Random => byte ^ (draw % 255 + 1) as u8,
    }
}

impl Stage for Corruption {
    fn accepts(&self) -> bool {
        !self.hold.is_full()
    }

    fn touches(&self, item: &Item, _: Instant) -> bool {
        self.gap < item.len() as u64
    }

    fn push(&mut self, item: Item, _: Instant) {
        let item = match item {
            Item::Bytes(bytes) => Item::Bytes(self.spoil(bytes)),
            other => other,
        };
        self.hold.push(item);
    }

    fn pull(&mut self, _: Instant) -> Option<Item> {
        self.hold.pop()
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (!self.hold.is_empty()).then_some(now)
    }

    fn change(&mut self, kind: &FaultKind, _: Instant) {
        let FaultKind::Corrupt(corrupt) = kind else { return };
        if corrupt.rate != self.corrupt.rate {
            self.gap = draw_gap(&mut self.random, corrupt.rate);
        }
        self.corrupt = *corrupt;
    }

    fn release(&mut self) -> VecDeque<Item> {
        self.hold.release()
    }
}

#[cfg(test)]
mod tests {
    use super::{Corruption, Hold, draw_gap};
    use crate::fault::{random_stream, stage::Stage};
    use bytes::Bytes;
    use squall_wire::{
        FaultKind,
        fault::{Corrupt, CorruptHow},
    };
    use std::time::Instant;

    fn corruption(rate: f64, how: CorruptHow, seed: u64) -> Corruption {
        let mut random = random_stream(seed, 0, 0);
        let gap = draw_gap(&mut random, rate);
        Corruption { corrupt: Corrupt { rate, how }, random, gap, hold: Hold::default() }
    }

    fn spoilt(corruption: &mut Corruption, stream: &[u8], piece: usize) -> Vec<u8> {
        stream.chunks(piece).flat_map(|part| corruption.spoil(Bytes::copy_from_slice(part))).collect()
    }

    fn places(stream: &[u8], got: &[u8]) -> Vec<usize> {
        assert_eq!(stream.len(), got.len());
        (0..stream.len()).filter(|at| stream[*at] != got[*at]).collect()
    }

    static STREAM: [u8; 200_000] = [0b0101_0101; 200_000];

    #[test]
    fn the_share_of_bytes_is_the_rate() {
        for (rate, least, most) in [(0.001, 155, 245), (0.1, 19_400, 20_600), (0.9, 179_400, 180_600)] {
            for seed in [1, 2, 3] {
                let got = spoilt(&mut corruption(rate, CorruptHow::Random, seed), &STREAM, 1 << 16);
                let count = places(&STREAM, &got).len();
                assert!((least..=most).contains(&count), "rate {rate}, seed {seed}: {count}");
            }
        }
    }

    #[test]
    fn a_rate_of_one_takes_every_byte_and_the_smallest_ones_none() {
        let got = spoilt(&mut corruption(1.0, CorruptHow::Flip, 1), &STREAM, 999);
        assert_eq!(places(&STREAM, &got).len(), STREAM.len());
        let got = spoilt(&mut corruption(1e-300, CorruptHow::Flip, 1), &STREAM, 999);
        assert_eq!(places(&STREAM, &got), [0; 0]);
    }

    #[test]
    fn every_byte_is_as_likely_as_any_other() {
        let got = spoilt(&mut corruption(0.05, CorruptHow::Flip, 4), &STREAM, 1 << 16);
        let mut tenths = [0; 10];
        places(&STREAM, &got).iter().for_each(|at| tenths[at % 10] += 1);
        // 1000 each on average, 31 of standard deviation.
        assert!(tenths.iter().all(|count| (870..1130).contains(count)), "{tenths:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_however_the_stream_is_cut() {
        let whole = spoilt(&mut corruption(0.01, CorruptHow::Random, 9), &STREAM, STREAM.len());
        for piece in [1, 7, 1000, 65_536] {
            assert!(spoilt(&mut corruption(0.01, CorruptHow::Random, 9), &STREAM, piece) == whole, "{piece}");
        }
        assert!(spoilt(&mut corruption(0.01, CorruptHow::Random, 10), &STREAM, 1000) != whole);
    }

    #[test]
    fn a_flip_turns_one_bit_a_zero_is_zero_and_all_choose_the_same_bytes() {
        let [flip, zero, random] = [CorruptHow::Flip, CorruptHow::Zero, CorruptHow::Random]
            .map(|how| spoilt(&mut corruption(0.01, how, 3), &STREAM, 4096));
        let chosen = places(&STREAM, &flip);
        assert!(chosen.iter().all(|at| (flip[*at] ^ STREAM[*at]).count_ones() == 1));
        assert!(chosen.iter().all(|at| zero[*at] == 0));
        assert_eq!((places(&STREAM, &zero), places(&STREAM, &random)), (chosen.clone(), chosen));
    }

    #[test]
    fn a_changed_rate_takes_hold_at_once_and_another_how_keeps_the_place() {
        let mut rare = corruption(1e-300, CorruptHow::Flip, 3);
        rare.change(&FaultKind::Corrupt(Corrupt { rate: 1.0, how: CorruptHow::Zero }), Instant::now());
        assert_eq!(spoilt(&mut rare, &STREAM[..1000], 100), [0; 1000]);
        let mut kept = corruption(0.01, CorruptHow::Flip, 3);
        let gap = kept.gap;
        kept.change(&FaultKind::Corrupt(Corrupt { rate: 0.01, how: CorruptHow::Zero }), Instant::now());
        assert_eq!(kept.gap, gap);
    }
}
