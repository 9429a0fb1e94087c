//! Holm's correction: several tests at once, with one promise for all of them. Pure.
//!
//! The chance that any true hypothesis among them is rejected stays below the level, however they depend on each other
//! (Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979).

/// The p-values corrected for their number, in the same order.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|one, other| p_values[*one].total_cmp(&p_values[*other]));
    let (mut adjusted, mut highest) = (vec![1.0; p_values.len()], 0.0_f64);
    for (rank, index) in order.into_iter().enumerate() {
        highest = highest.max(p_values[index] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[index] = highest;
    }
    adjusted
}
