//! Levels of a ramp: from one amount to another in even steps or by a factor.
//!
//! Pure. Neighbours: `validate::ramp` makes them, of what `amount` reads. Invariant: the first level and the last are as written, and the
//! levels between them, of three digits each, go one way.

/// So many levels, evenly apart, both ends included.
pub(crate) fn evenly(from: f64, to: f64, levels: u32) -> Vec<f64> {
    let apart = (to - from) / f64::from(levels.saturating_sub(1).max(1));
    let between = (1..levels.saturating_sub(1)).map(|n| three_digits(from + apart * f64::from(n)));
    distinct(std::iter::once(from).chain(between).chain([to]))
}

/// Each level so many times the one before, or a part of it where the ramp goes down; the last is `to` itself.
pub(crate) fn by_factor(from: f64, to: f64, factor: f64, most: usize) -> Option<Vec<f64>> {
    let up = to > from;
    let mut levels = vec![from];
    let mut level = from;
    loop {
        level = if up { level * factor } else { level / factor };
        if levels.len() >= most {
            return None;
        }
        if (up && level >= to) || (!up && level <= to) {
            levels.push(to);
            return Some(distinct(levels.into_iter()));
        }
        levels.push(three_digits(level));
    }
}

fn distinct(levels: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut levels: Vec<f64> = levels.collect();
    levels.dedup();
    levels
}

fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{by_factor, evenly};
    use proptest::prelude::*;

    #[test]
    fn levels_are_even_or_by_a_factor_and_end_where_they_should() {
        assert_eq!(evenly(0.05, 5.0, 4), [0.05, 1.7, 3.35, 5.0]);
        assert_eq!(evenly(10.0, 50.0, 2), [10.0, 50.0]);
        assert_eq!(by_factor(0.05, 0.5, 2.0, 100).unwrap(), [0.05, 0.1, 0.2, 0.4, 0.5]);
        assert_eq!(by_factor(1000.0, 100.0, 3.0, 100).unwrap(), [1000.0, 333.0, 111.0, 100.0]);
        assert_eq!(by_factor(1.0, 1e9, 1.01, 100), None);
    }

    proptest! {
        #[test]
        fn levels_go_one_way(from in 0.001f64..1e6, times in 1.01f64..1e4, levels in 2u32..50, down: bool) {
            let (from, to) = if down { (from * times, from) } else { (from, from * times) };
            for levels in [Some(evenly(from, to, levels)), by_factor(from, to, 1.5, 100)].into_iter().flatten() {
                prop_assert_eq!((levels[0], *levels.last().unwrap()), (from, to));
                prop_assert!(levels.len() < 4 || levels[1..levels.len() - 1].windows(2).all(|w| (w[1] > w[0]) != down));
            }
        }
    }
}
