//! Bytes a second: `1MB/s`, `10KB/s`.

use super::{InvalidQuantity, size, text_quantity};
use std::{fmt, str::FromStr};

/// Bytes a second. Zero is allowed: nothing passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(u64);

impl ByteRate {
    /// So many bytes a second.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Self {
        Self(bytes_per_second)
    }

    /// Bytes a second.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteRate {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let Some(bytes) = text.trim().strip_suffix("/s") else {
            return Err(InvalidQuantity(format!("`{text}` is not a rate: write bytes a second such as `1MB/s`")));
        };
        size::bytes_of(bytes, "a rate", "1MB/s").map(Self)
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", size::shown(self.0))
    }
}

text_quantity!(
    ByteRate,
    "a rate",
    "1MB/s",
    "([0-9][0-9_]*(\\.[0-9_]*)?|\\.[0-9][0-9_]*) ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB)/s",
    "Bytes a second: 10KB/s, 1MB/s"
);

#[cfg(test)]
mod tests {
    use super::ByteRate;

    #[test]
    fn rates_are_written_with_their_unit_and_per_second() {
        assert_eq!("1MB/s".parse::<ByteRate>().unwrap().get(), 1_000_000);
        insta::assert_snapshot!("1MB".parse::<ByteRate>().unwrap_err(), @"`1MB` is not a rate: write bytes a second such as `1MB/s`");
        insta::assert_snapshot!("5/s".parse::<ByteRate>().unwrap_err(), @"`5` has no unit: write a rate such as `1MB/s`");
        assert_eq!("10KB/s".parse::<ByteRate>().unwrap().to_string(), "10KB/s");
    }
}
