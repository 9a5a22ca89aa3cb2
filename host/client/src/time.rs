//! Times for people.

use serde_json::Value;

/// A time in UTC, to the second.
pub(crate) fn at(unix_ms: &Value) -> String {
    let Some(ms) = unix_ms.as_u64() else { return "never".to_owned() };
    let (days, seconds) = (ms / 1_000 / 86_400, ms / 1_000 % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The date that is so many days after 1970-01-01: years begin with March, so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_dates() {
        for (unix_ms, date) in [
            (json!(0), "1970-01-01 00:00:00"),
            (json!(951_782_400_000_u64), "2000-02-29 00:00:00"),
            (json!(1_709_251_199_999_u64), "2024-02-29 23:59:59"),
            (json!(1_767_225_599_000_u64), "2025-12-31 23:59:59"),
            (json!(4_107_542_400_000_u64), "2100-03-01 00:00:00"),
            (Value::Null, "never"),
        ] {
            assert_eq!(at(&unix_ms), date);
        }
    }
}
