//! CPU and memory in Kubernetes' notation.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An amount of memory in bytes, in Kubernetes' notation (`64Mi`, `1G`, `1048576`).
///
/// The suffixes are those of Kubernetes' `resource.Quantity`
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>),
/// without the exponent form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Memory(u64);

/// A share of CPU time in thousandths of a core, in Kubernetes' notation (`500m`, `2`, `0.5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Cpu(u64);

/// The error for a quantity that is not in Kubernetes' notation, or not above zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct QuantityError {
    text: String,
    what: &'static str,
}

impl Memory {
    /// Creates an amount of `bytes`.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the amount in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Cpu {
    /// Creates a share of `millis` thousandths of a core.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the share in thousandths of a core.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }
}

/// Parses a number with one of `suffixes`, each of which has its factor.
///
/// Computes with integers, so that fractions stay exact.
fn parse(text: &str, suffixes: &[(&str, u64)]) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &text[number.len()..];
    let (_, unit) = suffixes.iter().find(|(name, _)| *name == suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    let exact = value.checked_mul(u128::from(*unit))?.div_ceil(scale);
    u64::try_from(exact).ok().filter(|amount| *amount > 0)
}

const MEMORY: &[(&str, u64)] = &[
    ("", 1),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
];
const CPU: &[(&str, u64)] = &[("", 1_000), ("m", 1)];

impl FromStr for Memory {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text.trim(), MEMORY).map(Self).ok_or(QuantityError {
            text: text.to_owned(),
            what: "an amount of memory above zero: write it as Kubernetes does, such as 64Mi or 1G",
        })
    }
}

impl FromStr for Cpu {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text.trim(), CPU).map(Self).ok_or(QuantityError {
            text: text.to_owned(),
            what: "a share of CPU above zero: write it as Kubernetes does, such as 500m or 2",
        })
    }
}

/// A quantity as written: text, or a bare number in YAML, TOML and JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Whole(u64),
    Fraction(f64),
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Fraction(number) => write!(f, "{number}"),
        }
    }
}

impl TryFrom<Written> for Memory {
    type Error = QuantityError;

    fn try_from(text: Written) -> Result<Self, QuantityError> {
        text.to_string().parse()
    }
}

impl TryFrom<Written> for Cpu {
    type Error = QuantityError;

    fn try_from(text: Written) -> Result<Self, QuantityError> {
        text.to_string().parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.to_string()
    }
}

impl From<Cpu> for String {
    fn from(cpu: Cpu) -> Self {
        cpu.to_string()
    }
}

impl fmt::Display for Memory {
    /// Writes the canonical form, with the largest binary suffix that divides the amount.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, unit) in MEMORY.iter().rev().filter(|(name, _)| name.ends_with('i')) {
            if let Some(count) = self.0.checked_div(*unit).filter(|_| self.0.is_multiple_of(*unit))
                && count > 0
            {
                return write!(f, "{count}{suffix}");
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1_000) {
            write!(f, "{}", self.0 / 1_000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

#[cfg(feature = "schema")]
fn quantity_schema(description: &str) -> schemars::Schema {
    schemars::json_schema!({"type": ["string", "number"], "description": description})
}

#[cfg(feature = "schema")]
impl JsonSchema for Memory {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Memory".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        quantity_schema("An amount of memory in Kubernetes' notation, such as 64Mi or 1G.")
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for Cpu {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cpu".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        quantity_schema("A share of CPU in Kubernetes' notation, such as 500m or 2.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_kubernetes_notation() {
        for (text, bytes) in [
            ("64Mi", 64 << 20),
            ("1G", 1_000_000_000),
            ("0.5Gi", 1 << 29),
            ("1048576", 1 << 20),
            ("1.5k", 1500),
        ] {
            assert_eq!(text.parse::<Memory>().unwrap().bytes(), bytes, "{text}");
        }
        for (text, millis) in [("500m", 500), ("2", 2000), ("0.5", 500), ("1.25", 1250)] {
            assert_eq!(text.parse::<Cpu>().unwrap().millis(), millis, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_an_example() {
        for text in ["", "0", "-1", "1Xi", "Mi", "1e3", "99999999999Ti", "1.Mi.2"] {
            assert!(text.parse::<Memory>().unwrap_err().to_string().contains("64Mi"), "{text}");
        }
        assert!("1Mi".parse::<Cpu>().unwrap_err().to_string().contains("500m"));
    }

    proptest::proptest! {
        #[test]
        fn quantities_are_written_so_that_they_can_be_read_again(amount in 1_u64..) {
            let memory = Memory::from_bytes(amount);
            proptest::prop_assert_eq!(memory.to_string().parse(), Ok(memory));
            let cpu = Cpu::from_millis(amount);
            proptest::prop_assert_eq!(cpu.to_string().parse(), Ok(cpu));
        }
    }
}
