//! Times as the contracts write them: RFC 3339 to the second, in UTC.

use prost_types::Timestamp;

const DAY: i64 = 86_400;

/// The timestamp of a transaction as text.
pub(super) fn rfc3339(timestamp: Timestamp) -> String {
    // Nanoseconds may exceed a second: whoever proposes writes them.
    let seconds = timestamp.seconds.saturating_add(i64::from(timestamp.nanos).div_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let sign = if year < 0 { "-" } else { "" };
    let year = year.unsigned_abs();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{sign}{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day counted from 1970, in the calendar that has always been Gregorian.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from the first of March of year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_does() {
        for (seconds, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_767_225_599, 999_999_999, "2025-12-31T23:59:59Z"),
            (1_767_225_599, 1_000_000_000, "2026-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
            (0, -1, "1969-12-31T23:59:59Z"),
            (253_402_300_800, 0, "10000-01-01T00:00:00Z"),
            (-62_167_219_201, 0, "-0001-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(Timestamp { seconds, nanos }), expected, "for {seconds}.{nanos}");
        }
        for seconds in [i64::MAX, i64::MIN] {
            assert!(!rfc3339(Timestamp { seconds, nanos: i32::MIN }).is_empty());
        }
    }
}
