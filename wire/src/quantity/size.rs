//! A number of bytes: `512B`, `64KiB`, `1MB`.

use super::{InvalidQuantity, decimal, number_and_unit, text_quantity};
use std::{fmt, str::FromStr};

/// A number of bytes, at most 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

pub(crate) const UNITS: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];
const LARGEST: f64 = 9_007_199_254_740_992.0;

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many KiB.
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// So many MiB.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl FromStr for ByteSize {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        bytes_of(text, "a size", "64KiB").map(Self)
    }
}

/// Parses bytes with a unit; shared by sizes and rates, which differ in how they are shown.
pub(crate) fn bytes_of(text: &str, what: &str, example: &str) -> Result<u64, InvalidQuantity> {
    let wrong = || InvalidQuantity(format!("`{text}` is not {what}: write one such as `{example}`"));
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    if unit.is_empty() {
        return Err(InvalidQuantity(format!("`{text}` has no unit: write {what} such as `{example}`")));
    }
    let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
    let bytes = number * scale as f64;
    if bytes > LARGEST {
        return Err(InvalidQuantity(format!("`{text}` is too large")));
    }
    let whole = bytes.round() as u64;
    if whole == 0 && bytes > 0.0 {
        return Err(InvalidQuantity(format!("`{text}` is less than a byte: write {what} such as `{example}`")));
    }
    Ok(whole)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.0))
    }
}

/// The shortest exact form: a whole number of the largest unit that divides it, or a decimal one, or bytes.
pub(crate) fn shown(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".into();
    }
    let whole =
        UNITS.iter().filter(|(name, size)| *name != "kB" && bytes.is_multiple_of(*size)).max_by_key(|(_, size)| *size);
    let (unit, size) = whole.copied().unwrap_or(("B", 1));
    if size == 1 && (1_000..1_000_000_000).contains(&bytes) && bytes.is_multiple_of(10) {
        return format!("{}KB", decimal(bytes as f64 / 1000.0));
    }
    format!("{}{unit}", bytes / size)
}

text_quantity!(
    ByteSize,
    "a size",
    "64KiB",
    "([0-9][0-9_]*(\\.[0-9_]*)?|\\.[0-9][0-9_]*) ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB)",
    "A number of bytes: 512B, 64KiB, 1MB"
);

#[cfg(test)]
mod tests {
    use super::ByteSize;
    use crate::ByteRate;
    use proptest::prelude::*;

    #[test]
    fn common_forms_are_understood() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MB", 1_000_000), ("1.5KB", 1_500), ("0B", 0)] {
            assert_eq!(text.parse::<ByteSize>().unwrap().get(), bytes);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_right_form() {
        insta::assert_snapshot!("64".parse::<ByteSize>().unwrap_err(), @"`64` has no unit: write a size such as `64KiB`");
    }

    #[test]
    fn what_is_there_is_never_rounded_to_nothing() {
        insta::assert_snapshot!("0.4B".parse::<ByteSize>().unwrap_err(), @"`0.4B` is less than a byte: write a size such as `64KiB`");
        insta::assert_snapshot!("0.4B/s".parse::<ByteRate>().unwrap_err(), @"`0.4B` is less than a byte: write a rate such as `1MB/s`");
        insta::assert_snapshot!("0.0001KiB".parse::<ByteSize>().unwrap_err(), @"`0.0001KiB` is less than a byte: write a size such as `64KiB`");
        for (text, bytes) in [("0B", 0), ("0.0KB", 0), ("0.5B", 1), ("0.001KB", 1)] {
            assert_eq!(text.parse::<ByteSize>().unwrap().get(), bytes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_return_the_same_size(bytes in 0u64..=1 << 52) {
            let size = ByteSize::new(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
    }
}
