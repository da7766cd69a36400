//! Checks that a plugin was built for the C library of this process.
//!
//! The dynamic loader refuses others as well, but without saying what to do. Its messages about other libraries, which are
//! missing or too old, are sufficient.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;

use nix::libc;
use object::elf::VER_FLG_WEAK;
use object::read::elf::ElfFile64;
use object::{Endianness, ReadRef};
use trace_linkage::Linkage;

/// The version of glibc since which it has this mark of libraries with compressed relocations.
const RELATIVE_RELOCATIONS: (&str, Version) = ("GLIBC_ABI_DT_RELR", Version(2, 36));

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

/// A version of glibc, and the symbol version that requires it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement<'data> {
    version: Version,
    symbol_version: &'data str,
}

/// Checks that the plugin uses glibc, and no newer version than the one of this process.
///
/// # Errors
///
/// The difference, as text that follows the path in a message.
pub fn check<'data, R: ReadRef<'data>>(
    plugin: &ElfFile64<'data, Endianness, R>,
    linkage: &Linkage,
) -> Result<(), String> {
    let damaged = |error: object::Error| format!("is a damaged ELF file: {error}");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    if linkage.needed.iter().any(|library| is_musl(library.as_bytes())) {
        return Err(format!(
            "is built for the C library musl, but this manager uses glibc; build it for the target {target}"
        ));
    }
    let Some(ours) = version_of_this_process() else { return Ok(()) };
    match newest_requirement(plugin).map_err(damaged)? {
        Some(Requirement { version, symbol_version }) if version > ours => Err(format!(
            "needs glibc {version} (symbol version {symbol_version}), but this system has {ours}; build it on an \
             older system, or with `cargo zigbuild --target {target}.{ours}`"
        )),
        _ => Ok(()),
    }
}

/// Alpine installs musl as `libc.musl-x86_64.so.1`, and musl's own build as `libc.so`, which is a linker script where glibc
/// is installed.
fn is_musl(library: &[u8]) -> bool {
    library == b"libc.so" || library.starts_with(b"libc.musl-")
}

/// The newest version of glibc that a symbol of the plugin requires.
fn newest_requirement<'data, R: ReadRef<'data>>(
    plugin: &ElfFile64<'data, Endianness, R>,
) -> object::Result<Option<Requirement<'data>>> {
    let (endian, data, sections) = (plugin.endian(), plugin.data(), plugin.elf_section_table());
    let Some((mut libraries, strings)) = sections.gnu_verneed(endian, data)? else { return Ok(None) };
    let strings = sections.strings(endian, data, strings)?;
    let mut newest = None;
    while let Some((_, mut versions)) = libraries.next()? {
        while let Some(version) = versions.next()? {
            // Only weak symbols have this version. They may be missing.
            if version.vna_flags.get(endian).contains(VER_FLG_WEAK) {
                continue;
            }
            newest = newest.max(Requirement::of(version.name(endian, strings)?));
        }
    }
    Ok(newest)
}

impl<'data> Requirement<'data> {
    /// `None` for symbol versions of other libraries, and those without a number.
    fn of(symbol_version: &'data [u8]) -> Option<Self> {
        let symbol_version = str::from_utf8(symbol_version).ok()?;
        let (mark, since) = RELATIVE_RELOCATIONS;
        let version = match symbol_version.strip_prefix("GLIBC_") {
            Some(_) if symbol_version == mark => since,
            Some(number) => Version::parsed(number)?,
            None => return None,
        };
        Some(Self { version, symbol_version })
    }
}

impl Version {
    /// From `2.36`, `2.2.5` or, between two releases, `2.36.9000`.
    fn parsed(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

fn version_of_this_process() -> Option<Version> {
    // SAFETY: the function has no preconditions, and returns a constant string.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    Version::parsed(version.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text| Version::parsed(text).unwrap();
        assert!(version("2.4") < version("2.34") && version("2.34") < version("2.34.1").max(version("3.0")));
        assert_eq!(version("2.36.9000").to_string(), "2.36");
        for text in ["", "2", "PRIVATE", "2.x"] {
            assert_eq!(Version::parsed(text), None, "{text}");
        }
    }

    #[test]
    fn only_symbol_versions_of_glibc_require_a_version_of_it() {
        let required = |name: &'static str| Requirement::of(name.as_bytes()).map(|needs| needs.version);
        assert_eq!(required("GLIBC_2.2.5"), Some(Version(2, 2)));
        assert_eq!(required("GLIBC_2.38"), Some(Version(2, 38)));
        assert_eq!(required("GLIBC_ABI_DT_RELR"), Some(Version(2, 36)));
        for other in ["GLIBC_PRIVATE", "GLIBCXX_3.4.32", "GCC_3.0", ""] {
            assert_eq!(required(other), None, "{other}");
        }
    }

    #[test]
    fn both_names_of_musl_are_recognized() {
        assert!(is_musl(b"libc.so") && is_musl(b"libc.musl-x86_64.so.1"));
        assert!(!is_musl(b"libc.so.6") && !is_musl(b"libcap.so.2"));
    }

    #[test]
    fn this_program_needs_the_c_library_it_runs_with() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let program = ElfFile64::<Endianness, _>::parse(&bytes[..]).unwrap();
        let newest = newest_requirement(&program).unwrap().unwrap();
        assert!(newest.version <= version_of_this_process().unwrap(), "{newest:?}");
        let linkage = Linkage::read(&bytes[..]).unwrap();
        assert!(linkage.needed.iter().any(|library| library == "libc.so.6"));
        assert_eq!(check(&program, &linkage), Ok(()));
    }
}
