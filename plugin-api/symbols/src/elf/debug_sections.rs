//! The sections that identify a file and its debug file.

use object::{Endian, Endianness};

/// How long the sections are at most, in bytes.
pub const MAX_SECTION: u64 = 1 << 10;

/// The longest name of a file, in bytes (`NAME_MAX`).
const MAX_NAME: usize = 255;
/// The shortest and the longest build id, in bytes. Linkers make ids of 8 to 32.
const MIN_BUILD_ID: usize = 2;
const MAX_BUILD_ID: usize = 64;
/// The type of its note (`NT_GNU_BUILD_ID`), and how that begins: with the lengths of the owner's name and of the id.
const BUILD_ID: u32 = 3;
const OWNER: &[u8] = b"GNU\0";

/// The name of a debug file and its checksum, as in the section `.gnu_debuglink`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugLink {
    pub name: Vec<u8>,
    pub checksum: u32,
}

impl DebugLink {
    /// The content of the section: the name, zeros up to a multiple of four, and the checksum.
    pub fn parse(section: &[u8], endian: Endianness) -> Option<Self> {
        let length = section.iter().position(|byte| *byte == 0)?;
        let name = &section[..length];
        let is_in_directory =
            (1..=MAX_NAME).contains(&length) && !name.contains(&b'/') && name != b"." && name != b"..";
        let checksum = number(section, length / 4 * 4 + 4, endian)?;
        is_in_directory.then(|| Self { name: name.to_owned(), checksum })
    }
}

/// The build id in the section `.note.gnu.build-id`.
pub fn build_id(section: &[u8], endian: Endianness) -> Option<Vec<u8>> {
    let [owner, length, kind] = [0, 4, 8].map(|at| number(section, at, endian));
    let (owner, length) = (owner? as usize, length? as usize);
    let is_build_id =
        kind? == BUILD_ID && owner == OWNER.len() && (MIN_BUILD_ID..=MAX_BUILD_ID).contains(&length);
    let id = section.get(12..)?.strip_prefix(OWNER)?.get(..length)?;
    is_build_id.then(|| id.to_owned())
}

fn number(section: &[u8], at: usize, endian: Endianness) -> Option<u32> {
    let bytes = section.get(at..)?.first_chunk::<4>()?;
    Some(endian.read_u32(*bytes))
}
