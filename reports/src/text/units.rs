//! Figures for people: three significant digits and a unit that fits.

/// A time.
pub(crate) fn time(ns: f64) -> String {
    scaled(ns, &[("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)])
}

/// A size, in binary units.
pub(crate) fn bytes(bytes: f64) -> String {
    let power = |power| 1024f64.powi(power);
    scaled(bytes, &[("B", 1.0), ("KiB", power(1)), ("MiB", power(2)), ("GiB", power(3)), ("TiB", power(4))])
}

/// A share, 1 being 100 %.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", figure(share * 100.0))
}

/// A number with three significant digits, in powers of ten where it is very large or very small.
pub(crate) fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let rounded = rounded(value);
    let magnitude = rounded.abs();
    if !(1e-3..1e6).contains(&magnitude) {
        return scientific(value);
    }
    let decimals = (2 - magnitude.log10().floor() as i32).max(0) as usize;
    format!("{rounded:.decimals$}")
}

/// `[0.982, 0.9996]`, the ends of the interval of a ratio: an end that is not 1 is not written as 1, since the side on which it lies is what a
/// verdict goes by.
pub(crate) fn ends(low: f64, high: f64) -> String {
    let end = |value: f64| match figure(value) {
        text if text != "1.00" || (value - 1.0).abs() < 1e-6 => text,
        _ if (value - 1.0).abs() >= 5e-5 => format!("{value:.4}"),
        _ => format!("{value:.6}"),
    };
    format!("[{}, {}]", end(low), end(high))
}

/// An error: always in powers of ten, so that orders of magnitude stand under each other.
pub(crate) fn scientific(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.2e}") }
}

/// A moment, to the minute.
pub(crate) fn moment(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    let (days, minute) = (minutes / 1440, minutes % 1440);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minute / 60, minute % 60)
}

/// With the largest unit that leaves at least one; rounded first, so that 999.9 µs is 1.00 ms.
fn scaled(value: f64, units: &[(&str, f64)]) -> String {
    let fits = |(_, size): &&(&str, f64)| rounded(value / size).abs() >= 1.0;
    let (unit, size) = units.iter().rev().find(fits).copied().unwrap_or(units[0]);
    // The smallest units are counted, not measured.
    if size == 1.0 && value.fract() == 0.0 { format!("{value:.0} {unit}") } else { format!("{} {unit}", figure(value / size)) }
}

fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// Days since 1970 as year, month, day: counted from a March, so that the leap day ends the year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_interval_shows_on_which_side_of_one_it_lies() {
        assert_eq!(ends(0.982, 0.9996), "[0.982, 0.9996]");
        assert_eq!([ends(1.0004, 1.2), ends(0.5, 1.0), ends(0.999_99, 1.0)], ["[1.0004, 1.20]", "[0.500, 1.00]", "[0.999990, 1.00]"]);
    }

    #[test]
    fn three_digits_and_a_fitting_unit() {
        let times = [0.0, 7.0, 812.0, 999.0, 1000.0, 1234.0, 12_345.0, 999_499.0, 999_600.0, 1.5e9, 4e12].map(time);
        assert_eq!(times, ["0 ns", "7 ns", "812 ns", "999 ns", "1.00 µs", "1.23 µs", "12.3 µs", "999 µs", "1.00 ms", "1.50 s", "4000 s"]);
        assert_eq!([512.0, 1024.0, 1_048_576.0 * 12.34, 1023.9 * 1024.0].map(bytes), ["512 B", "1.00 KiB", "12.3 MiB", "1.00 MiB"]);
        assert_eq!([0.0, 0.5123, 1.0, 12345.0, 1e-7, 3e9].map(figure), ["0", "0.512", "1.00", "12300", "1.00e-7", "3.00e9"]);
        assert_eq!([0.123_45, 1.5, 0.000_012].map(percent), ["12.3 %", "150 %", "0.00120 %"]);
        assert_eq!([0.0, 1.234e-7, 3.0].map(scientific), ["0", "1.23e-7", "3.00e0"]);
    }

    #[test]
    fn moments_agree_with_the_calendar() {
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(951_782_399_000), "2000-02-28 23:59 UTC");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(moment(1_700_000_000_000), "2023-11-14 22:13 UTC");
        assert_eq!(moment(4_107_542_400_000), "2100-03-01 00:00 UTC");
    }
}
