//! Durations as clients of the queue write them.

use std::time::Duration;

/// Reads Go's duration text (`1m30s`, `1.5s`, `500ms`) or a bare number of seconds.
///
/// `None` for anything else; negative durations are nonsense here too.
pub fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds_checked(seconds);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(unit_at);
        let unit_len = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = seconds_checked(number.parse::<f64>().ok()? * seconds)?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(total)
}

/// Writes a duration as Go does: `0s`, `12ms`, `5s`, `1m30s`, `1h0m0s`.
pub fn format_go(milliseconds: i64) -> String {
    let ms = milliseconds.max(0);
    if ms == 0 {
        return String::from("0s");
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let fraction = match ms % 1000 {
        0 => String::new(),
        part => format!(".{part:03}").trim_end_matches('0').to_owned(),
    };
    let seconds = format!("{}{fraction}s", ms / 1000 % 60);
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

fn seconds_checked(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_clients_use_is_read() {
        let cases = [
            ("0", 0),
            ("5", 5000),
            ("0s", 0),
            ("5s", 5000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("1h0m0s", 3_600_000),
            ("2.5", 2500),
            ("1000us", 1),
            (".5s", 500),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for nonsense in [
            "", "s", "-1", "-1s", "5x", "5 s", "1s2", "NaN", "inf", "1e400", "1..5s",
        ] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        let cases = [
            (0, "0s"),
            (12, "12ms"),
            (5000, "5s"),
            (1500, "1.5s"),
            (90_000, "1m30s"),
            (3_600_000, "1h0m0s"),
            (3_723_040, "1h2m3.04s"),
        ];
        for (ms, text) in cases {
            assert_eq!(format_go(ms), text);
        }
    }
}
