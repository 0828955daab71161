//! Durations and sizes as Kubernetes writes them.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Digits of the longest number in a duration.
const LONGEST_NUMBER: usize = 9;

/// A length of time: `100ms`, `30s`, `1m30s`. Never negative. Where a setting says so, `0s` means *none*.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Duration(kube::core::Duration);

impl Duration {
    /// The standard library's form. A negative value, which the schema refuses, counts as zero.
    pub fn get(self) -> std::time::Duration {
        if self.0.is_negative() {
            std::time::Duration::ZERO
        } else {
            self.0.into()
        }
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration.into())
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The parser panics on a number that no duration can hold, and one manifest must not end the process that reads all of them.
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        if numbers.any(|number| number.len() > LONGEST_NUMBER) {
            let problem =
                format!("duration {text:?}: use at most {LONGEST_NUMBER} digits a number");
            return Err(serde::de::Error::custom(problem));
        }
        let parsed: Result<kube::core::Duration, _> = text.parse();
        let parsed = parsed.map_err(|error| format!("duration {text:?}: {error}"));
        parsed.map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": r"self.matches('^([0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h))+$')",
                "message": "write a duration as a number of at most 9 digits with a unit (ms, s, m, h), such as 100ms, 30s or 1m30s",
            }],
        })
    }
}

/// A number of bytes as a Kubernetes quantity: `64Ki`, `100Mi`, `1G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed: Result<bytesize::ByteSize, _> = text.parse();
        let parsed = parsed.map_err(|error| format!("size {text:?}: {error}"))?;
        Ok(Self(parsed.as_u64()))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const UNITS: [(&str, u32); 3] = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
        let exact = |shift: &u32| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        match UNITS.iter().find(|(_, shift)| exact(shift)) {
            Some((unit, shift)) => {
                serializer.collect_str(&format_args!("{}{unit}", self.0 >> shift))
            }
            None => serializer.collect_str(&self.0),
        }
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 20,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^[0-9]{1,9}(Ki|Mi|Gi|k|M|G)?$|^[0-9]{1,15}$')",
                "message": "write a size as a whole number of bytes with an optional unit (Ki, Mi, Gi, k, M, G), such as 100Mi",
            }],
        })
    }
}

/// The value of a Kubernetes quantity in billionths, so that `0.5` and `500m`, or `1024Mi` and `1Gi`, are the same. `None`: it is not a
/// quantity.
///
/// k8s-openapi keeps quantities as text and crates that read them pin another version of it.
pub fn quantity(text: &str) -> Option<i128> {
    const NANO: i128 = 1_000_000_000;
    const UNITS: [(&str, i128); 16] = [
        ("n", 1),
        ("u", 1000),
        ("m", 1_000_000),
        ("", NANO),
        ("k", NANO * 1000),
        ("M", NANO * 1_000_000),
        ("G", NANO * NANO),
        ("T", NANO * NANO * 1000),
        ("P", NANO * NANO * 1_000_000),
        ("E", NANO * NANO * NANO),
        ("Ki", NANO << 10),
        ("Mi", NANO << 20),
        ("Gi", NANO << 30),
        ("Ti", NANO << 40),
        ("Pi", NANO << 50),
        ("Ei", NANO << 60),
    ];
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, unit) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let mut scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let unit = match unit.strip_prefix(['e', 'E']) {
        Some(exponent) if !exponent.is_empty() && unit != "Ei" => {
            let exponent: i32 = exponent.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 {
                scale = scale.checked_mul(power)?;
                NANO
            } else {
                NANO.checked_mul(power)?
            }
        }
        _ => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    // Kubernetes rounds up what is smaller than a billionth.
    Some(sign * ((digits.checked_mul(unit)? + scale - 1) / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_kubernetes_does() {
        let read = |text: &str| serde_json::from_value::<Duration>(text.into()).map(Duration::get);
        assert_eq!(
            read("100ms").unwrap(),
            std::time::Duration::from_millis(100)
        );
        assert_eq!(read("1m30s").unwrap(), std::time::Duration::from_secs(90));
        assert_eq!(read("-5s").unwrap(), std::time::Duration::ZERO);
        assert!(read("soon").is_err());
        assert!(read("30").is_err());
        assert_eq!(read("999999999h").unwrap().as_secs(), 999_999_999 * 60 * 60);
        for too_long in ["99999999999999999999h", "0.9999999999s"] {
            let problem = read(too_long).unwrap_err().to_string();
            assert!(problem.contains("at most 9 digits"), "{problem}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_as_quantities() {
        let read = |text: &str| serde_json::from_value::<Bytes>(text.into()).unwrap().0;
        assert_eq!(read("100Mi"), 100 << 20);
        assert_eq!(read("64Ki"), 64 << 10);
        assert_eq!(read("1G"), 1_000_000_000);
        assert_eq!(read("17"), 17);
        assert!(
            serde_json::from_value::<Bytes>("9999999999999999999G".into())
                .is_ok_and(|b| b.0 == u64::MAX)
        );
        assert_eq!(serde_json::to_value(Bytes(100 << 20)).unwrap(), "100Mi");
        assert_eq!(serde_json::to_value(Bytes(1000)).unwrap(), "1000");
        assert_eq!(serde_json::to_value(Bytes(0)).unwrap(), "0");
    }

    #[test]
    fn quantities_have_one_value_however_they_are_written() {
        for (a, b) in [
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("2", "2000m"),
            ("0.1k", "100"),
            ("1e3", "1k"),
            ("5e-3", "5m"),
            ("+1", "1"),
        ] {
            assert!(
                quantity(a).is_some() && quantity(a) == quantity(b),
                "{a} is {b}"
            );
        }
        for (a, b) in [("0.5", "0.6"), ("1G", "1Gi"), ("1", "-1"), ("1E", "1Ei")] {
            assert_ne!(quantity(a), quantity(b), "{a} is not {b}");
        }
        for none in ["", "lots", "1.2.3", "1 Gi", "1gi", "m", "1e", "--1"] {
            assert_eq!(quantity(none), None, "{none:?}");
        }
    }
}
