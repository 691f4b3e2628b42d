//! Parameters of policies by name, as configuration writes them.

use std::fmt;

/// Numbers of 0 or more that have names.
pub(super) trait Parameters<const N: usize>: Copy + Default {
    /// Every parameter.
    fn fields(&mut self) -> [(&'static str, &mut f64); N];

    /// Takes `NAME=NUMBER`.
    fn set(&mut self, parameter: &str) -> Result<(), String> {
        let Some((name, number)) = parameter.split_once('=') else {
            return Err(format!("{parameter:?} is not of the form NAME=NUMBER"));
        };
        let mut fields = self.fields();
        let names = fields.each_ref().map(|(name, _)| *name).join(", ");
        let Some((_, value)) = fields.iter_mut().find(|(known, _)| *known == name) else {
            return Err(format!("{name:?} is no parameter; there are {names}"));
        };
        let parsed = number.parse().ok();
        let parsed = parsed.filter(|number: &f64| number.is_finite() && *number >= 0.0);
        **value = parsed.ok_or_else(|| format!("{name}: expected a number of 0 or more"))?;
        Ok(())
    }

    /// Writes those that are not the default's.
    fn write(mut self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut default = Self::default();
        let mut pairs = self.fields().into_iter().zip(default.fields());
        pairs.try_for_each(|((name, value), (_, default))| match value == default {
            true => Ok(()),
            false => write!(f, ":{name}={value}"),
        })
    }
}
