//! Against published values, and against chance itself: seeded draws that say how often a test is wrong and how often it
//! finds what is there.

use super::{Values, exceedance, fisher, holm, mann_whitney, mann_whitney::u};
use proptest::prelude::{prop, prop_assert, proptest};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn values(values: &[f64]) -> Values {
    values.iter().copied().collect()
}

fn near(found: f64, published: f64, within: f64) {
    assert!((found - published).abs() <= within, "{found}, and {published} is published");
}

/// R's documentation of `wilcox.test`: permeability of the human chorioamnion, Hollander and Wolfe (1973), page 69.
/// `wilcox.test(x, y, alternative = "g")`: W = 35, p-value = 0.1272.
#[test]
fn mann_whitney_is_that_of_rs_documentation() {
    let x = values(&[0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]);
    let y = values(&[1.15, 0.88, 0.90, 0.74, 1.21]);
    near(u(&x, &y), 35.0, 0.0);
    near(mann_whitney(&x, &y), 0.1272, 0.000_05);
}

/// R's documentation of `wilcox.test`: `wilcox.test(Ozone ~ Month, data = airquality, subset = Month %in% c(5, 8))`, with
/// ties and the normal approximation, W = 127.5, p-value = 0.0001208, two-sided; the one side is half of it. The data are
/// R's `airquality` (New York, May and August 1973; Chambers et al. 1983) without what is missing. Together
/// they are too many to be counted.
#[test]
fn the_approximation_with_ties_is_that_of_rs_documentation() {
    let may = values(&[
        41., 36., 12., 18., 28., 23., 19., 8., 7., 16., 11., 14., 18., 14., 34., 6., 30., 11., 1., 11., 4., 32., 23.,
        45., 115., 37.,
    ]);
    let august = values(&[
        39., 9., 16., 78., 35., 66., 122., 89., 110., 44., 28., 65., 22., 59., 23., 31., 44., 21., 9., 45., 168., 73.,
        76., 118., 84., 85.,
    ]);
    near(u(&may, &august), 127.5, 0.0);
    near(2.0 * mann_whitney(&august, &may), 0.000_120_8, 0.000_000_05);
}

/// The first of the tables of Mann and Whitney (1947), the probability of a U as small as this: n = 4, m = 4.
#[test]
fn mann_whitney_is_that_of_the_first_tables() {
    for (below, published) in [(0_u32, 0.014), (1, 0.029), (2, 0.057), (3, 0.100), (4, 0.171), (5, 0.243), (6, 0.343)] {
        // A group of four whose values are the greater one in all pairs of 16 but so many.
        let group = match below {
            0..=4 => vec![10., 20., 30., 4.5 - f64::from(below)],
            _ => vec![10., 20., 8.5 - f64::from(below), 0.5],
        };
        let (group, control) = (values(&group), values(&[1., 2., 3., 4.]));
        near(u(&group, &control), 16.0 - f64::from(below), 0.0);
        near(mann_whitney(&group, &control), published, 0.0005);
    }
}

/// R's documentation of `fisher.test`: the lady tasting tea (Agresti 1990, page 61; Fisher 1935), p-value = 0.2429, and the
/// convictions of twins (Fisher 1962, 1970), `alternative = "less"`: p-value = 0.0004652.
#[test]
fn fisher_is_that_of_rs_documentation() {
    near(fisher((3, 4), (1, 4)), 0.2429, 0.000_05);
    // Of 17 dizygotic twins 15 were not convicted, of 13 monozygotic 3.
    near(fisher((15, 17), (3, 13)), 0.000_465_2, 0.000_000_05);
    near(fisher((0, 4), (0, 9)), 1.0, 1e-12);
    near(fisher((0, 0), (0, 0)), 1.0, 1e-12);
}

/// Above all of the control, the chance is known in closed form (Rosenbaum 1954): C(n + m - w, m) / C(n + m, m); in large
/// groups of one size it comes near to 2^-w (Neave 1966).
#[test]
fn exceedance_of_the_greatest_is_rosenbaums() {
    let control = values(&[1., 2., 3., 4., 5.]);
    // w = 3 of n = 4 above the greatest of m = 5: C(6, 5) / C(9, 5) = 6 / 126.
    near(exceedance(&values(&[0.5, 6., 7., 8.]), &control, 1.0), 6.0 / 126.0, 1e-12);
    let many: Values = (0..5000).map(f64::from).collect();
    let group: Values =
        (0..4995).map(|n| f64::from(n) + 0.5 - 5000.0).chain((1..=5).map(|n| f64::from(n) + 5000.0)).collect();
    near(exceedance(&group, &many, 1.0), 0.031_25, 0.0002);
}

/// The distribution sums to 1, and its tail is the sum of its terms, counted here by all ways to interleave 4 and 5.
#[test]
fn exceedance_is_what_counting_all_orders_gives() {
    for (share, rank) in [(0.2, 1_u32), (0.5, 3), (0.9, 5)] {
        let mut ways = [0_u32; 5];
        for picked in 0_u32..(1 << 9) {
            if picked.count_ones() == 5 {
                // Bits from the lowest value up: 1 is of the control.
                let places: Vec<u32> = (0..9).filter(|bit| picked >> bit & 1 == 1).collect();
                let limit = places[rank as usize - 1];
                ways[(limit + 1..9).filter(|bit| picked >> bit & 1 == 0).count()] += 1;
            }
        }
        assert_eq!(ways.iter().sum::<u32>(), 126);
        let control = values(&[1., 2., 3., 4., 5.]);
        for above in 0..=4_usize {
            let group: Values = (0..4).map(|n| if n < above { 9.0 } else { 0.0 }).collect();
            let counted = f64::from(ways[above..].iter().sum::<u32>()) / 126.0;
            near(exceedance(&group, &control, share), counted, 1e-9);
        }
    }
}

/// The worked example of Wikipedia's "Holm–Bonferroni method": 0.01, 0.04, 0.03 and 0.005 at 5 %, of which the first and the
/// last are rejected; R's `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")` is 0.03 0.06 0.06 0.02.
#[test]
fn holm_is_that_of_the_worked_example() {
    for (found, published) in holm(&[0.01, 0.04, 0.03, 0.005]).into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
        near(found, published, 1e-12);
    }
    assert_eq!(holm(&[]), Vec::<f64>::new());
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
}

/// Exponential times, as of a queue; `slower` times as long.
fn times(chance: &mut ChaCha8Rng, count: u32, slower: f64) -> Values {
    (0..count).map(|_| -slower * f64::ln(1.0 - chance.random::<f64>())).collect()
}

/// Five comparisons of one distribution with itself, 400 times: any alarm at all may come in 5 % of them. So many that
/// 400 draws at 5 % exceed it with a chance of one in a thousand: 34.
#[test]
fn without_a_difference_several_rows_raise_an_alarm_in_no_more_than_5_percent_of_runs() {
    let mut chance = ChaCha8Rng::seed_from_u64(7);
    let mut alarms = 0;
    for _ in 0..400 {
        let (hit, spared) = (times(&mut chance, 90, 1.0), times(&mut chance, 210, 1.0));
        let failed = |chance: &mut ChaCha8Rng, all: u64| (0..all).filter(|_| chance.random_bool(0.03)).count() as u64;
        let p_values = [
            mann_whitney(&hit, &spared),
            exceedance(&hit, &spared, 0.9),
            exceedance(&hit, &spared, 0.95),
            mann_whitney(&times(&mut chance, 9, 1.0), &times(&mut chance, 14, 1.0)),
            fisher((failed(&mut chance, 90), 90), (failed(&mut chance, 210), 210)),
        ];
        alarms += u32::from(holm(&p_values).iter().any(|p| *p <= 0.05));
    }
    assert!(alarms <= 34, "{alarms} of 400");
    assert!(alarms >= 2, "{alarms} of 400: a test that never rejects has no power either");
}

/// Each test by itself at 5 %: the false alarms are not above it, by the same bound over 1000 draws (72 has a chance of
/// one in a thousand), with groups of many sizes and with ties.
#[test]
fn each_test_alone_keeps_its_level() {
    let mut chance = ChaCha8Rng::seed_from_u64(11);
    let mut alarms = [0_u32; 4];
    for round in 0..1000 {
        let (few, many) = (8 + round % 40, 12 + round % 90);
        let (hit, spared) = (times(&mut chance, few, 1.0), times(&mut chance, many, 1.0));
        let coarse = |values: &Values| values.mapped(|value| (value * 4.0).round());
        let all = [
            mann_whitney(&hit, &spared),
            mann_whitney(&coarse(&hit), &coarse(&spared)),
            exceedance(&hit, &spared, 0.5),
            exceedance(&hit, &spared, 0.9),
        ];
        for (count, p) in alarms.iter_mut().zip(all) {
            *count += u32::from(p <= 0.05);
        }
    }
    assert!(alarms.iter().all(|count| *count <= 72), "{alarms:?} of 1000");
    assert!(alarms.iter().all(|count| *count >= 10), "{alarms:?} of 1000");
}

/// 1.85 times as long, 90 hit and 210 spared: found in at least nine of ten runs as a whole, also among five rows; a tail
/// that is twice as long is found at its 90th percentile.
#[test]
fn a_real_difference_is_found() {
    let mut chance = ChaCha8Rng::seed_from_u64(13);
    let mut found = [0_u32; 3];
    for _ in 0..200 {
        let (hit, spared) = (times(&mut chance, 90, 1.85), times(&mut chance, 210, 1.0));
        let p = mann_whitney(&hit, &spared);
        found[0] += u32::from(p <= 0.05);
        found[1] += u32::from(holm(&[p, 0.5, 0.6, 0.7, 0.9])[0] <= 0.05);
        let doubled = times(&mut chance, 90, 2.0);
        found[2] += u32::from(exceedance(&doubled, &spared, 0.9) <= 0.05);
    }
    assert!(found.iter().all(|count| *count >= 180), "{found:?} of 200");
}

proptest! {
    #[test]
    fn every_p_value_is_one(
        group in prop::collection::vec((0_u32..20, 0_u64..50), 0..30),
        control in prop::collection::vec((0_u32..20, 0_u64..50), 0..30),
        share in 0.0_f64..=1.0,
    ) {
        let of = |list: Vec<(u32, u64)>| Values::new(list.into_iter().map(|(value, count)| (f64::from(value), count)));
        let (group, control) = (of(group), of(control));
        let (all, others) = (group.count(), control.count());
        for p in [
            mann_whitney(&group, &control),
            exceedance(&group, &control, share),
            fisher((all / 2, all), (others / 3, others)),
        ] {
            prop_assert!((0.0..=1.0).contains(&p), "{p}");
        }
    }
}
