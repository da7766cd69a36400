//! What a plugin may say of itself.

use trace_hook_api::{HookInfo, Kind, Param, PluginInfo};

use crate::session::arguments;

const LONGEST_NAME: usize = 64;

/// Checks what a plugin says of itself, before any of it is shown to anybody.
///
/// # Errors
///
/// The rule that it breaks.
pub fn check(info: &PluginInfo) -> Result<(), String> {
    for (index, hook) in info.hooks.iter().enumerate() {
        check_hook(hook)?;
        if info.hooks[..index].iter().any(|other| other.name == hook.name) {
            return Err(format!("two of its hooks are called {}", hook.name));
        }
    }
    Ok(())
}

fn check_hook(hook: &HookInfo) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !is_name(&hook.name, good) {
        return Err(format!(
            "a hook's name has 1 to {LONGEST_NAME} letters, digits, '_', '.' or '-', but one is called {:?}",
            shortened(&hook.name)
        ));
    }
    for (index, param) in hook.params.iter().enumerate() {
        check_param(param, &hook.params[..index])
            .map_err(|problem| format!("hook {}: {problem}", hook.name))?;
    }
    Ok(())
}

fn check_param(param: &Param, others: &[Param]) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name = shortened(&param.name);
    if !is_name(&param.name, good) || param.name.starts_with('-') {
        return Err(format!("a parameter's name has letters, digits and '-', but one is called {name:?}"));
    }
    if param.short.is_some_and(|letter| !letter.is_ascii_alphanumeric()) {
        return Err(format!("the short form of --{name} is no letter"));
    }
    if param.kind == Kind::Unknown {
        return Err(format!("--{name} is of a kind that only a newer manager knows"));
    }
    if param.kind == Kind::Flag && (param.required || param.repeated || param.default.is_some()) {
        return Err(format!("--{name} is a flag, so it is neither required nor repeated nor has a default"));
    }
    if let Some(default) = param.default.as_ref().filter(|default| !is_value(param, default)) {
        return Err(format!("the default of --{name} is no value that it takes: {:?}", shortened(default)));
    }
    if arguments::is_common(&param.name, param.short) {
        return Err(format!("--{name} or its short form is one of the arguments that every hook has"));
    }
    let same =
        |other: &&Param| other.name == param.name || (param.short.is_some() && other.short == param.short);
    match others.iter().find(same) {
        Some(other) => Err(format!("--{name} has the same name or short form as --{}", other.name)),
        None => Ok(()),
    }
}

fn is_value(param: &Param, value: &str) -> bool {
    match param.kind {
        Kind::Integer { min, max } => value.parse().is_ok_and(|number: i64| (min..=max).contains(&number)),
        _ => param.choices.is_empty() || param.choices.iter().any(|choice| choice == value),
    }
}

fn is_name(name: &str, good: impl Fn(char) -> bool) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(good)
}

fn shortened(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(hooks: Vec<HookInfo>) -> String {
        check(&PluginInfo::new("1", hooks)).unwrap_err()
    }

    fn with(param: Param) -> Vec<HookInfo> {
        vec![HookInfo::new("h", "").param(Param::flag("known", "").short('k')).param(param)]
    }

    #[test]
    fn names_are_plain() {
        for name in ["", "a b", "a\nb", "a/b", "\x1b", &"x".repeat(1 << 20)] {
            assert!(complaint(vec![HookInfo::new(name, "")]).len() < 250);
        }
        assert!(complaint(vec![HookInfo::new("h", ""), HookInfo::new("h", "")]).contains("two of its hooks"));
    }

    #[test]
    fn parameters_clash_with_nothing() {
        assert!(complaint(with(Param::flag("pid", ""))).contains("every hook"));
        assert!(complaint(with(Param::flag("x", "").short('p'))).contains("every hook"));
        assert!(complaint(with(Param::flag("known", ""))).contains("same name"));
        assert!(complaint(with(Param::flag("x", "").short('k'))).contains("same name"));
        assert!(complaint(with(Param::flag("x", "").short('-'))).contains("no letter"));
        assert!(complaint(with(Param::flag("--x", ""))).contains("letters"));
    }

    #[test]
    fn defaults_are_values() {
        assert!(complaint(with(Param::integer("n", "N", "").range(1, 5).default("9"))).contains("default"));
        assert!(complaint(with(Param::text("c", "C", "").choices(["a"]).default("b"))).contains("default"));
        assert!(complaint(with(Param::flag("f", "").required())).contains("flag"));
        let good = Param::integer("n", "N", "").range(1, 5).default("5");
        assert_eq!(check(&PluginInfo::new("1", with(good))), Ok(()));
    }
}
