use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The values of a hook's parameters, checked against their declaration, defaults filled in.
///
/// Asking for a parameter that was not given, or not declared, gives the empty answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arguments {
    values: BTreeMap<String, Vec<String>>,
}

impl Arguments {
    /// Whether the flag, or any value of the parameter, was given.
    pub fn flag(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The last value of the parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).last().map(String::as_str)
    }

    /// All values of the parameter, in order.
    pub fn texts(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The last value of a parameter that takes whole numbers.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// All values of a parameter that takes whole numbers, in order.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        self.texts(name).iter().filter_map(|value| value.parse().ok()).collect()
    }

    /// Sets the values of a parameter. A flag that is there has none.
    pub fn set<T: Into<String>>(&mut self, name: impl Into<String>, values: impl IntoIterator<Item = T>) {
        self.values.insert(name.into(), values.into_iter().map(Into::into).collect());
    }

    /// Forgets the parameter.
    pub fn remove(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// The parameters that were given or have a default.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_wins_and_absence_is_empty() {
        let mut arguments = Arguments::default();
        arguments.set("depth", ["1", "32"]);
        arguments.set("exit", [""; 0]);
        assert_eq!(arguments.integer("depth"), Some(32));
        assert_eq!(arguments.integers("depth"), [1, 32]);
        assert!(arguments.flag("exit"));
        assert!(!arguments.flag("entry"));
        assert_eq!(arguments.text("entry"), None);
        assert!(arguments.texts("entry").is_empty());
    }
}
