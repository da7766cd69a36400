use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{HookError, Kind, Param, Result, did_you_mean};

/// The values of a hook's parameters, checked against their declaration, with defaults filled in.
///
/// Each method is for parameters of one [`Kind`]. A parameter that was not given and has no default is `None`, or no values.
/// Asking for a parameter that the hook does not declare, or that is of another kind, is an error, so that a misspelt name
/// does not go unnoticed:
///
/// ```
/// # use trace_hook_api::{Arguments, Param};
/// let arguments = Arguments::of(&[Param::integer("depth", "N", "frames of a stack").default("32")]);
/// assert_eq!(arguments.integer("depth")?, Some(32));
/// let error = arguments.integer("dpeth").unwrap_err();
/// assert_eq!(error.message(), "the hook declares no parameter 'dpeth'; did you mean 'depth'?");
/// # Ok::<(), trace_hook_api::HookError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arguments {
    values: BTreeMap<String, Vec<String>>,
    /// What the hook declares. Both sides have it from the hook itself.
    #[serde(skip)]
    declared: BTreeMap<String, Kind>,
}

impl Arguments {
    /// Creates the arguments of a hook with these parameters when none is given: their defaults.
    pub fn of(params: &[Param]) -> Self {
        let mut arguments = Self::default();
        arguments.declare(params);
        for param in params {
            if let Some(default) = &param.default {
                arguments.set(&param.name, [default]);
            }
        }
        arguments
    }

    /// Returns whether a flag was given.
    ///
    /// # Errors
    ///
    /// The hook declares no such flag.
    pub fn flag(&self, name: &str) -> Result<bool> {
        self.check(name, "flag", |kind| matches!(kind, Kind::Flag))?;
        Ok(self.values.contains_key(name))
    }

    /// Returns the last value of a parameter that takes text.
    ///
    /// # Errors
    ///
    /// The hook declares no such parameter.
    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        Ok(self.texts(name)?.last().map(String::as_str))
    }

    /// Returns all values of a parameter that takes text, in order.
    ///
    /// # Errors
    ///
    /// The hook declares no such parameter.
    pub fn texts(&self, name: &str) -> Result<&[String]> {
        self.check(name, "text", |kind| matches!(kind, Kind::Text))?;
        Ok(self.values(name))
    }

    /// Returns the last value of a parameter that takes whole numbers.
    ///
    /// # Errors
    ///
    /// The hook declares no such parameter.
    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        Ok(self.integers(name)?.pop())
    }

    /// Returns all values of a parameter that takes whole numbers, in order.
    ///
    /// # Errors
    ///
    /// The hook declares no such parameter.
    pub fn integers(&self, name: &str) -> Result<Vec<i64>> {
        self.check(name, "integer", |kind| matches!(kind, Kind::Integer { .. }))?;
        let number = |value: &String| {
            value.parse().map_err(|_| HookError::usage(format!("--{name}: '{value}' is not a whole number")))
        };
        self.values(name).iter().map(number).collect()
    }

    /// Returns the last value of a parameter that takes durations.
    ///
    /// # Errors
    ///
    /// The hook declares no such parameter.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        Ok(self.durations(name)?.pop())
    }

    /// Returns all values of a parameter that takes durations, in order.
    ///
    /// # Errors
    ///
    /// The hook declares no such parameter.
    pub fn durations(&self, name: &str) -> Result<Vec<Duration>> {
        let kind = self.check(name, "duration", |kind| matches!(kind, Kind::Duration { .. }))?;
        let values = self.values(name).iter().filter_map(|value| kind.duration(value));
        values.collect::<Result<_, _>>().map_err(|error| HookError::usage(format!("--{name}: {error}")))
    }

    /// Returns whether the parameter was given or has a default.
    ///
    /// # Errors
    ///
    /// The hook declares no such parameter.
    pub fn has(&self, name: &str) -> Result<bool> {
        self.check(name, "", |_| true)?;
        Ok(self.values.contains_key(name))
    }

    /// Sets the values of a parameter. A flag that is given has no values.
    pub fn set<T: Into<String>>(&mut self, name: impl Into<String>, values: impl IntoIterator<Item = T>) {
        self.values.insert(name.into(), values.into_iter().map(Into::into).collect());
    }

    /// Declares the parameters that can be asked for.
    pub(crate) fn declare(&mut self, params: &[Param]) {
        self.declared = params.iter().map(|param| (param.name.clone(), param.kind.clone())).collect();
    }

    fn values(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    fn check(&self, name: &str, method: &str, is_right: impl Fn(&Kind) -> bool) -> Result<&Kind> {
        match self.declared.get(name) {
            Some(kind) if is_right(kind) => Ok(kind),
            Some(kind) => Err(HookError::new(format!(
                "the hook reads its parameter '{name}' as {method}, but declares it as {}",
                kind.name()
            ))),
            None => {
                let names: Vec<&String> = self.declared.keys().collect();
                let hint = did_you_mean(name, &names);
                Err(HookError::new(format!("the hook declares no parameter '{name}'{hint}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;

    fn arguments() -> Arguments {
        Arguments::of(&[
            Param::integer("depth", "N", ""),
            Param::text("name", "NAME", "").default("all"),
            Param::duration("over", "TIME", "", Unit::Microseconds).default("20"),
            Param::flag("exit", ""),
            Param::flag("entry", ""),
        ])
    }

    #[test]
    fn last_value_wins_and_absence_is_empty() {
        let mut arguments = arguments();
        assert_eq!(arguments.integer("depth"), Ok(None));
        assert_eq!(arguments.text("name"), Ok(Some("all")));
        arguments.set("depth", ["1", "32"]);
        arguments.set("exit", [""; 0]);
        assert_eq!(arguments.integer("depth"), Ok(Some(32)));
        assert_eq!(arguments.integers("depth"), Ok(vec![1, 32]));
        assert_eq!((arguments.flag("exit"), arguments.flag("entry")), (Ok(true), Ok(false)));
        assert_eq!((arguments.has("exit"), arguments.has("entry")), (Ok(true), Ok(false)));
    }

    #[test]
    fn bare_duration_is_in_its_unit() {
        let mut arguments = arguments();
        assert_eq!(arguments.duration("over"), Ok(Some(Duration::from_micros(20))));
        arguments.set("over", ["1", "1.5ms"]);
        assert_eq!(
            arguments.durations("over"),
            Ok(vec![Duration::from_micros(1), Duration::from_micros(1500)])
        );
        arguments.set("over", ["soon"]);
        assert!(arguments.duration("over").unwrap_err().message().contains("--over: a duration is"));
    }

    #[test]
    fn misspelt_name_and_wrong_kind_are_errors() {
        let arguments = arguments();
        for error in [
            arguments.text("nmae").unwrap_err(),
            arguments.texts("nmae").unwrap_err(),
            arguments.flag("nmae").unwrap_err(),
            arguments.has("nmae").unwrap_err(),
        ] {
            assert_eq!(error.message(), "the hook declares no parameter 'nmae'; did you mean 'name'?");
        }
        let error = arguments.text("depth").unwrap_err();
        assert_eq!(
            error.message(),
            "the hook reads its parameter 'depth' as text, but declares it as integer"
        );
        assert!(
            arguments.integer("name").is_err()
                && arguments.duration("name").is_err()
                && arguments.flag("name").is_err()
        );
    }
}
