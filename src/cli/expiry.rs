//! Values of flags that a key's end and bounds are given by.

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// When a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// After so long.
    After(Duration),
    /// At that time.
    At(SystemTime),
    /// Not at all.
    Never,
}

/// A bound that may be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound(pub Option<u32>);

impl Expiry {
    /// The time that it stands for, said at `now`.
    pub(super) fn after(self, now: SystemTime) -> Option<SystemTime> {
        match self {
            Self::After(time) => Some(now + time),
            Self::At(time) => Some(time),
            Self::Never => None,
        }
    }
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "give a time such as 90d, 12h or 30m, a date such as 2027-01-31 (its start, UTC), or `never`";
        match text {
            "never" => Ok(Self::Never),
            _ if text.contains('-') => date(text).map(Self::At).ok_or(wrong),
            _ => span(text).map(Self::After).ok_or(wrong),
        }
    }
}

impl Bound {
    /// The largest.
    pub(super) const MAX: u32 = 1_000_000;
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let number = text.parse().ok().filter(|number| (1..=Self::MAX).contains(number));
        number.map(|number| Self(Some(number))).ok_or_else(|| format!("give a number from 1 to {}, or `none`", Self::MAX))
    }
}

/// `90d`, `12h`, `30m`, `45s`; at most a hundred years.
fn span(text: &str) -> Option<Duration> {
    const LONGEST: u64 = 36_525 * 86_400;
    let seconds = match text.chars().next_back()? {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    let number: u64 = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    let total = number.checked_mul(seconds)?;
    (1..=LONGEST).contains(&total).then(|| Duration::from_secs(total))
}

/// `2027-01-31`, or that with a time as `graft keys list` shows it (`2027-01-31T23:59:59Z`); from 1970 to 2999.
fn date(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let numbers = |text: &str, separator: char| -> Option<[u64; 3]> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
        text.split(separator).map(digits).collect::<Option<Vec<u64>>>()?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time.strip_suffix('Z')?, ':')?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    let in_range = (1970..3000).contains(&year) && (1..=*lengths.get(month)?).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let days = (year - 1970) * 365 + leaps(year - 1) - leaps(1969) + lengths[..month].iter().sum::<u64>() + day - 1;
    Some(UNIX_EPOCH + Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::rfc3339;

    #[test]
    fn ends_are_spans_or_dates() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let check = |text: &str, expected: Option<&str>| {
            let end = text.parse::<Expiry>().ok().and_then(|expiry| expiry.after(now));
            assert_eq!(end.map(rfc3339).as_deref(), expected, "{text}");
        };
        check("90d", Some("2027-04-15T08:00:00Z"));
        check("12h", Some("2027-01-15T20:00:00Z"));
        check("30m", Some("2027-01-15T08:30:00Z"));
        check("45s", Some("2027-01-15T08:00:45Z"));
        for date in ["1970-01-01", "2000-02-29", "2027-01-31", "2028-12-31", "2100-03-01", "2999-12-31"] {
            check(date, Some(&format!("{date}T00:00:00Z")));
        }
        check("2028-02-29T23:59:59Z", Some("2028-02-29T23:59:59Z"));
        for wrong in ["", "d", "90", "-1d", "+1d", "1.5d", "0d", "999999999999999999999d", "40000d", "90 d", "9é"] {
            check(wrong, None);
        }
        for wrong in
            ["2027-02-29", "2027-13-01", "2027-00-01", "2027-01-00", "2027-1", "27-01-31", "2027-01-31T24:00:00Z", "a-b-c"]
        {
            check(wrong, None);
        }
        assert_eq!("never".parse(), Ok(Expiry::Never));
    }

    #[test]
    fn bounds_are_numbers_or_none() {
        assert_eq!(["none", "1", "1000000"].map(str::parse), [Ok(Bound(None)), Ok(Bound(Some(1))), Ok(Bound(Some(1_000_000)))]);
        for wrong in ["", "0", "-1", "1000001", "1.5", "all"] {
            assert!(wrong.parse::<Bound>().is_err(), "{wrong}");
        }
    }
}
