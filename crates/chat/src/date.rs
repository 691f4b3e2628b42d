//! Dates for templates that print today's date; this crate reads no clock.

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year, as 2025.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

impl Date {
    /// The day (in UTC) of a Unix time in seconds.
    pub fn from_unix(seconds: u64) -> Self {
        // Howard Hinnant's `civil_from_days`, for days since 1970 only: years start in March, so
        // that the leap day is the last day of a year.
        let days = (seconds / 86_400) as i64 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month: month as u8,
            day: day as u8,
        }
    }

    /// Days since 0000-03-01; the inverse of what [`from_unix`](Self::from_unix) computes.
    fn day_number(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = self.year - i64::from(month <= 2);
        let march_month = (month + 9) % 12;
        year * 365 + year.div_euclid(4) - year.div_euclid(100)
            + year.div_euclid(400)
            + (153 * march_month + 2) / 5
            + day
            - 1
    }

    fn weekday(self) -> &'static str {
        // 0000-03-01 was a Wednesday.
        WEEKDAYS[(self.day_number() + 3).rem_euclid(7) as usize]
    }

    fn day_of_year(self) -> i64 {
        self.day_number()
            - Self {
                month: 1,
                day: 1,
                ..self
            }
            .day_number()
            + 1
    }

    /// Formats like Python's `strftime` in the C locale, with the time of day at midnight.
    ///
    /// # Errors
    ///
    /// Names the directive that is not supported.
    pub(crate) fn format(self, format: &str) -> Result<String, String> {
        let month = MONTHS[usize::from(self.month.clamp(1, 12)) - 1];
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let directive = chars.next();
            let piece = match directive {
                Some('Y') => self.year.to_string(),
                Some('y') => format!("{:02}", self.year.rem_euclid(100)),
                Some('m') => format!("{:02}", self.month),
                Some('d') => format!("{:02}", self.day),
                Some('e') => format!("{:2}", self.day),
                Some('B') => month.to_owned(),
                Some('b' | 'h') => month[..3].to_owned(),
                Some('A') => self.weekday().to_owned(),
                Some('a') => self.weekday()[..3].to_owned(),
                Some('j') => format!("{:03}", self.day_of_year()),
                Some('F') => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
                Some('H' | 'M' | 'S') => "00".to_owned(),
                Some('%') => "%".to_owned(),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("strftime_now does not know %{other}"));
                }
            };
            out.push_str(&piece);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_times_become_days() {
        for (seconds, year, month, day) in [
            (0, 1970, 1, 1),
            (951_782_399, 2000, 2, 28),
            (951_782_400, 2000, 2, 29),
            (1_735_689_599, 2024, 12, 31),
            (1_735_689_600, 2025, 1, 1),
            (4_107_542_400, 2100, 3, 1),
        ] {
            assert_eq!(
                Date::from_unix(seconds),
                Date { year, month, day },
                "{seconds}"
            );
        }
    }

    #[test]
    fn formats_like_python() {
        let date = Date {
            year: 2025,
            month: 3,
            day: 7,
        };
        for (format, expected) in [
            ("%d %b %Y", "07 Mar 2025"),
            ("%B %d, %Y", "March 07, 2025"),
            ("%A (%a) %j", "Friday (Fri) 066"),
            (
                "%Y-%m-%d %H:%M:%S %y %e %F %%",
                "2025-03-07 00:00:00 25  7 2025-03-07 %",
            ),
        ] {
            assert_eq!(date.format(format).as_deref(), Ok(expected), "{format}");
        }
        assert_eq!(
            date.format("%Q"),
            Err("strftime_now does not know %Q".to_owned())
        );
        assert_eq!(
            date.format("%"),
            Err("strftime_now does not know %".to_owned())
        );
    }
}
