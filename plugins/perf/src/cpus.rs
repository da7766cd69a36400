//! The CPUs of the machine.

use std::fs;
use std::path::Path;

use trace_hook_api::{HookError, Result};

/// The CPUs that are online.
///
/// # Errors
///
/// The list in the sysfs cannot be read or parsed.
pub fn online(sysfs: &Path) -> Result<Vec<u32>> {
    let path = sysfs.join("devices/system/cpu/online");
    let failed = |error| HookError::new(format!("cannot read {}: {error}", path.display()));
    let list = fs::read_to_string(&path).map_err(failed)?;
    parse(list.trim())
        .ok_or_else(|| HookError::new(format!("{} is not a list of CPUs: '{}'", path.display(), list.trim())))
}

/// Parses a list such as `0-3,6`.
fn parse(list: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lists_of_cpus_and_ranges_are_parsed() {
        assert_eq!(parse("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(parse("7").unwrap(), [7]);
        assert_eq!(parse(""), None);
        assert_eq!(parse("0-x"), None);
    }
}
