//! What of the file system a worker may use (landlock(7)).

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
    make_bitflags,
};

/// The newest of the kernel's interfaces that this is written for. Of an older one, what there is.
const NEWEST: ABI = ABI::V9;

/// Everything may be read and listed; nothing may be written, made, removed, renamed or executed. No port may be bound or
/// connected to, and nobody outside be signalled.
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
