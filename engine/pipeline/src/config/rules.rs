//! What a single value may be. Each rule is a function from a TOML value to the typed one, or to a sentence
//! that says what is allowed.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use cobring_types::Nanos;
use toml::de::DeValue;

use super::read::nearest;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

type Rule<T> = Result<T, String>;

pub(super) fn boolean(value: &DeValue<'_>) -> Rule<bool> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// One of some names.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&DeValue<'_>) -> Rule<Choice<T>> {
    move |value| {
        let found = value.as_str();
        if let Some((_, choice)) = choices.iter().find(|(name, _)| Some(*name) == found) {
            return Ok(Choice(Some(*choice)));
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let wanted = or_list(&quoted);
        match found.and_then(|found| nearest(&names, found)) {
            Some(nearest) => Err(format!("must be {wanted}; did you mean \"{nearest}\"?")),
            None => Err(format!("must be {wanted}")),
        }
    }
}

/// A chosen value; empty only as the placeholder of a refused one.
#[derive(Clone, Copy)]
pub(super) struct Choice<T>(pub(super) Option<T>);

impl<T> Default for Choice<T> {
    fn default() -> Self {
        Self(None)
    }
}

fn or_list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// An integer in a range.
pub(super) fn integer<T: TryFrom<i64> + Into64>(
    range: RangeInclusive<T>,
) -> impl Fn(&DeValue<'_>) -> Rule<T> {
    move |value| {
        integer_of(value)
            .and_then(|integer| T::try_from(integer).ok())
            .filter(|integer| range.contains(integer))
            .ok_or_else(|| {
                let (least, most) =
                    (grouped((*range.start()).into_64()), grouped((*range.end()).into_64()));
                format!("must be a whole number between {least} and {most}")
            })
    }
}

/// The integers that settings are kept as.
pub(super) trait Into64: Copy + PartialOrd {
    fn into_64(self) -> u64;
}

macro_rules! into_64 {
    ($($integer:ty),*) => {
        $(impl Into64 for $integer {
            fn into_64(self) -> u64 {
                self as u64
            }
        })*
    };
}
into_64!(u8, u32, u64, usize);

/// One of some integers.
pub(super) fn one_of(allowed: &'static [u32]) -> impl Fn(&DeValue<'_>) -> Rule<u32> {
    move |value| {
        integer_of(value)
            .and_then(|integer| u32::try_from(integer).ok())
            .filter(|integer| allowed.contains(integer))
            .ok_or_else(|| {
                let allowed: Vec<String> =
                    allowed.iter().map(|&integer| grouped(u64::from(integer))).collect();
                format!("must be {}", or_list(&allowed))
            })
    }
}

/// A size in bytes.
pub(super) fn size_bytes(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Rule<u64> {
    move |value| {
        integer_of(value)
            .and_then(|integer| u64::try_from(integer).ok())
            .filter(|size| range.contains(size))
            .ok_or_else(|| {
                format!(
                    "must be a number of bytes between {} and {}",
                    size(*range.start()),
                    size(*range.end())
                )
            })
    }
}

/// A size in bytes, or 0 for none.
pub(super) fn size_bytes_or_none(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Rule<u64> {
    let some = size_bytes(range);
    move |value| match integer_of(value) {
        Some(0) => Ok(0),
        _ => some(value).map_err(|rule| rule.replace("must be", "must be 0 or")),
    }
}

/// "auto" or a power of two in a range.
pub(super) fn power_of_two_or_auto(
    range: RangeInclusive<u32>,
) -> impl Fn(&DeValue<'_>) -> Rule<Option<u32>> {
    move |value| {
        if value.as_str() == Some("auto") {
            return Ok(None);
        }
        integer_of(value)
            .and_then(|integer| u32::try_from(integer).ok())
            .filter(|number| number.is_power_of_two() && range.contains(number))
            .map(Some)
            .ok_or_else(|| {
                let [least, most] = [range.start(), range.end()].map(|&end| grouped(end.into()));
                format!("must be \"auto\" or a power of two between {least} and {most}")
            })
    }
}

/// A size of a ring in bytes.
pub(super) fn ring_bytes(value: &DeValue<'_>) -> Rule<usize> {
    let range = 64 * KIB..=GIB;
    integer_of(value)
        .and_then(|integer| u64::try_from(integer).ok())
        .filter(|size| size.is_power_of_two() && range.contains(size))
        .and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| {
            format!(
                "must be a power of two between {} and {}",
                size(*range.start()),
                size(*range.end())
            )
        })
}

/// A number in a range.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&DeValue<'_>) -> Rule<f64> {
    move |value| {
        number_of(value).filter(|number| range.contains(number)).ok_or_else(|| {
            format!("must be a number between {} and {}", range.start(), range.end())
        })
    }
}

/// A number above a bound, up to another.
pub(super) fn number_above(above: f64, most: f64) -> impl Fn(&DeValue<'_>) -> Rule<f64> {
    move |value| {
        number_of(value)
            .filter(|&number| number > above && number <= most)
            .ok_or_else(|| format!("must be a number above {above}, at most {most}"))
    }
}

fn number_of(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        // Exact: no range here goes beyond 2^53.
        DeValue::Integer(_) => integer_of(value).map(|integer| integer as f64),
        _ => None,
    }
}

/// A time in seconds, to the nearest nanosecond.
pub(super) fn seconds(range: RangeInclusive<f64>) -> impl Fn(&DeValue<'_>) -> Rule<Nanos> {
    move |value| {
        let seconds =
            number_of(value).filter(|number| range.contains(number)).ok_or_else(|| {
                format!("must be a number of seconds between {} and {}", range.start(), range.end())
            })?;
        #[expect(clippy::cast_possible_truncation, reason = "ranges end at hours")]
        let nanos = (seconds * 1e9).round() as i64;
        Ok(Nanos(nanos))
    }
}

/// A time in whole milliseconds.
pub(super) fn millis(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Rule<Nanos> {
    times(range, 1_000_000)
}

/// A time in whole units of so many nanoseconds.
pub(super) fn times(
    range: RangeInclusive<u32>,
    unit_ns: i64,
) -> impl Fn(&DeValue<'_>) -> Rule<Nanos> {
    let units = integer(range);
    move |value| units(value).map(|count| Nanos(i64::from(count) * unit_ns))
}

/// A time of the UTC day as "HH:MM", or an empty text for none.
pub(super) fn time_of_day(value: &DeValue<'_>) -> Rule<Option<Nanos>> {
    let parse = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let two_digits = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten();
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60;
        (hours < 24 && minutes < 60).then_some(Nanos(seconds * Nanos::SECOND.0))
    };
    match value.as_str() {
        Some("") => Ok(None),
        text => text.and_then(parse).map(Some).ok_or_else(|| {
            "must be a time of the UTC day as \"03:00\", or \"\" for none".to_owned()
        }),
    }
}

/// A path of a file or a directory.
pub(super) fn path(value: &DeValue<'_>) -> Rule<PathBuf> {
    value
        .as_str()
        .filter(|path| !path.is_empty() && !path.chars().any(char::is_control))
        .map(PathBuf::from)
        .ok_or_else(|| "must be a path in quotes, not empty".to_owned())
}

/// A path, or an empty text for none.
pub(super) fn optional_path(value: &DeValue<'_>) -> Rule<Option<PathBuf>> {
    if value.as_str() == Some("") {
        return Ok(None);
    }
    path(value).map(Some).map_err(|_| "must be a path in quotes, or \"\" for none".to_owned())
}

/// The directory of the segments.
pub(super) fn shared_memory_dir(value: &DeValue<'_>) -> Rule<PathBuf> {
    let path = path(value).ok().filter(|path| path.is_absolute());
    // Python's SharedMemory deletes what lies at the top of /dev/shm when it has merely opened it.
    path.filter(|path| {
        path.parent().is_some() && path.components().ne(PathBuf::from("/dev/shm").components())
    })
    .ok_or_else(|| {
        "must be an absolute path, and a subdirectory of /dev/shm rather than /dev/shm itself"
            .to_owned()
    })
}

/// The base of a service, without a slash at its end.
pub(super) fn url(schemes: [&'static str; 2]) -> impl Fn(&DeValue<'_>) -> Rule<String> {
    move |value| {
        let url = value.as_str().map(|url| url.strip_suffix('/').unwrap_or(url));
        url.filter(|url| {
            schemes.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(is_authority))
        })
        .map(str::to_owned)
        .ok_or_else(|| {
            format!(
                "must be {}host[:port] or {}host[:port], without a path",
                schemes[0], schemes[1]
            )
        })
    }
}

/// `host` or `host:port`, the host a name, an IPv4 address or an IPv6 address in brackets.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (
            true,
            if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or_default()) },
        ),
        Some(_) => (false, None),
        None => {
            let (host, port) =
                text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let label = |label: &str| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            };
            (host.len() <= 253 && host.split('.').all(label), port)
        }
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    host && port.is_none_or(|port| digits(port) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Cores to pin to.
pub(super) fn cores(value: &DeValue<'_>) -> Rule<Vec<usize>> {
    let rule = || "must be [], one core or three (ingest, parse, aggregate), distinct numbers from 0 to 1,023";
    let cores: Option<Vec<usize>> = value.as_array().and_then(|cores| {
        cores
            .iter()
            .map(|core| integer_of(core.get_ref()).and_then(|core| usize::try_from(core).ok()))
            .collect()
    });
    cores
        .filter(|cores| matches!(cores.len(), 0 | 1 | 3) && cores.iter().all(|&core| core < 1_024))
        .filter(|cores| cores.iter().enumerate().all(|(at, core)| !cores[..at].contains(core)))
        .ok_or_else(|| rule().to_owned())
}

/// An exact decimal, as its text.
pub(super) fn decimal(value: &DeValue<'_>) -> Rule<String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(_) => integer_of(value)
            .map(|integer| integer.to_string())
            .ok_or_else(|| "must be a decimal that fits 64 bits".to_owned()),
        DeValue::Float(float) => {
            Err(format!("write it as a string, \"{}\": a float is not exact", float.as_str()))
        }
        _ => Err("must be a decimal in quotes, such as \"0.01\"".to_owned()),
    }
}

/// With a comma at each thousand.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// In the largest unit that it is whole in.
fn size(bytes: u64) -> String {
    [(GIB * KIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}
