//! The access of a worker to files (landlock(7)).

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
    make_bitflags,
};

/// The newest version of Landlock that is supported. On older kernels, what they support of it is applied.
const NEWEST: ABI = ABI::V9;

/// Allows files and directories to be read. Forbids to write, create, remove, rename and execute files, to bind and
/// connect ports, and to signal processes outside of the worker.
pub fn read_only() -> Result<(), Box<dyn std::error::Error>> {
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, reading))?
        .restrict_self()?;
    log::debug!("Landlock: {:?}", status.landlock);
    Ok(())
}
