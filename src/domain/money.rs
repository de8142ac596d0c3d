//! Money: whole minor units of one currency. Decimals come in, are summed exactly, and are rounded once.

use std::fmt;
use std::str::FromStr;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest amount that is counted, in major units: more than any shop's, and small enough that thousands of them add up
/// without reaching the end of 64 bits.
pub const MAX_MAJOR: i64 = 1_000_000_000_000;

/// An ISO 4217 code. Only its shape (three capital letters) is checked, so a new currency needs no release.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code, such as `EUR`.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// How many decimals the currency has (ISO 4217): yen none, most two, dinars three.
    pub fn exponent(&self) -> u32 {
        match self.code() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV"
            | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            _ => 2,
        }
    }

    /// `amount` in minor units, rounded half to even. `None` beyond [`MAX_MAJOR`].
    pub fn minor(&self, amount: Decimal) -> Option<i64> {
        if amount.abs() > Decimal::from(MAX_MAJOR) {
            return None;
        }
        let scaled = amount.checked_mul(Decimal::from(10i64.pow(self.exponent())))?;
        scaled.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven).to_i64()
    }

    /// Minor units as a number of major units, for scripts and models.
    #[expect(clippy::cast_precision_loss, reason = "amounts past 2^53 minor units are not a shop's")]
    pub fn major(&self, minor: i64) -> f64 {
        minor as f64 / 10f64.powi(self.exponent().cast_signed())
    }
}

impl FromStr for Currency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match <[u8; 3]>::try_from(text.trim().to_ascii_uppercase().as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Currency(code)),
            _ => Err(format!("`{text}` is not a currency code; use three letters such as EUR or GBP (ISO 4217)")),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount of one currency, in minor units (pence, cents).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Money {
    /// Minor units; negative for what flows back.
    pub minor: i64,
    /// Whose units they are.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = Decimal::new(self.minor, self.currency.exponent());
        write!(f, "{amount} {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_once_and_shown_with_the_currencys_decimals() {
        let check = |code: &str, amount: &str, minor: i64, shown: &str| {
            let currency: Currency = code.parse().unwrap();
            assert_eq!(currency.minor(amount.parse().unwrap()), Some(minor));
            assert_eq!(Money { minor, currency }.to_string(), shown);
        };
        check("gbp", "0.005", 0, "0.00 GBP");
        check("GBP", "0.015", 2, "0.02 GBP");
        check("JPY", "120", 120, "120 JPY");
        check("KWD", "-1.2345", -1234, "-1.234 KWD");
        assert!("EURO".parse::<Currency>().is_err());
    }
}
