//! The files that a worker may read (landlock(7)).
//!
//! The rules are made once, in the supervisor, since that takes longer than to apply them.

use std::error::Error;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope, make_bitflags,
};
use nix::errno::Errno;
use nix::libc;

use super::readable::{self, Readable};

/// The newest version of Landlock that is supported. On older kernels, what they support of it is applied.
const NEWEST: ABI = ABI::V9;

static RULES: Mutex<Option<RulesetCreated>> = Mutex::new(None);

/// In the supervisor: rules that allow these files with code to be read, and what else [`readable`] finds. They forbid to
/// read other files, to write, create, remove, rename and execute files, to bind and connect ports, and to signal processes
/// outside of the worker. `None` if the kernel does not support any of that.
pub fn rules<'a>(code: impl Iterator<Item = BorrowedFd<'a>>) -> Result<Option<OwnedFd>, Box<dyn Error>> {
    let mut rules = RULES.lock().unwrap_or_else(PoisonError::into_inner);
    let rules = match &mut *rules {
        Some(rules) => rules,
        rules => rules.insert(common_rules()?),
    };
    for file in code {
        // Fails for a private copy, which is in no directory, and needs no rule.
        let _ = (&mut *rules).add_rule(PathBeneath::new(file, AccessFs::ReadFile));
    }
    Ok(rules.try_clone()?.into())
}

/// In the worker: applies the rules.
pub fn apply(rules: &OwnedFd) -> nix::Result<()> {
    // SAFETY: the call takes plain numbers, and the descriptor is open.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    Errno::result(result).map(drop)
}

fn common_rules() -> Result<RulesetCreated, Box<dyn Error>> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let mut allow = |place: &Path, access: BitFlags<AccessFs>| -> Result<(), Box<dyn Error>> {
        // What does not exist, or is out of the caller's reach, need not be allowed.
        if let Ok(place) = PathFd::new(place) {
            (&mut rules).add_rule(PathBeneath::new(place, access))?;
        }
        Ok(())
    };
    let Readable { places, listings } = readable::find();
    for place in &places {
        allow(place, make_bitflags!(AccessFs::{ReadFile | ReadDir}))?;
    }
    for directory in &listings {
        allow(directory, AccessFs::ReadDir.into())?;
    }
    Ok(rules)
}
