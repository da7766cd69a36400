//! The types of the kernel that an object names, out of the hundred thousand that the kernel has.
//!
//! To relocate a program (CO-RE), the library compares the name of each type that the program uses with those of all types of the
//! kernel. That takes longer than everything else at the start of a session. So it gets only those types that have a name which
//! occurs in the object, and what they consist of. Pointers lead to nothing: relocation does not follow them.
//!
//! The format is described in Documentation/bpf/btf.rst and include/uapi/linux/btf.h.

use std::collections::HashSet;

/// The first bytes of the header, little endian: `__u16 magic, __u8 version, __u8 flags, __u32 hdr_len`, and then the offsets and
/// lengths of types and names.
const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;

/// What every type begins with: `__u32 name_off, __u32 info, __u32 size_or_type`.
const TYPE: usize = 12;

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// What follows the double underscore of a name that is only local to the object (`task_struct___older`).
const FLAVOR: &[u8] = b"___";

/// The types in the kernel's description, as a description of their own. `None` if it has a form that is not known.
pub fn named_in(object: &[u8], kernel: &[u8]) -> Option<Vec<u8>> {
    let kernel = Description::parse(kernel)?;
    let names = names_in(object);
    let mut needed = vec![false; kernel.types.len()];
    let mut pending: Vec<usize> = Vec::new();
    for (id, of_type) in kernel.types.iter().enumerate() {
        if of_type.can_be_found_by_name() && names.contains(kernel.name(of_type)?) {
            pending.push(id);
        }
    }
    while let Some(id) = pending.pop() {
        if std::mem::replace(&mut needed[id], true) {
            continue;
        }
        for at in kernel.types[id].references() {
            let referenced = kernel.types[id].word(at)? as usize;
            // 0 is void.
            if let Some(index) =
                referenced.checked_sub(1).filter(|index| !needed.get(*index).is_none_or(|is| *is))
            {
                pending.push(index);
            }
        }
    }
    kernel.only(&needed)
}

/// All texts in the object that can be names, without their flavors.
fn names_in(object: &[u8]) -> HashSet<&[u8]> {
    let texts = object.split(|byte| *byte == 0).filter(|text| !text.is_empty());
    texts
        .map(|text| {
            text.windows(FLAVOR.len()).position(|part| part == FLAVOR).map_or(text, |end| &text[..end])
        })
        .collect()
}

/// The kernel's description of its types.
struct Description<'a> {
    types: Vec<Type<'a>>,
    names: &'a [u8],
}

/// The bytes of one type.
#[derive(Clone, Copy)]
struct Type<'a>(&'a [u8]);

impl<'a> Description<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        if u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = number(4).filter(|length| *length >= HEADER)?;
        let part = |offset: usize, length: usize| {
            let begin = header.checked_add(offset)?;
            bytes.get(begin..begin.checked_add(length)?)
        };
        let mut rest = part(number(8)?, number(12)?)?;
        let names = part(number(16)?, number(20)?)?;
        let mut types = Vec::with_capacity(rest.len() / 32);
        while !rest.is_empty() {
            let (of_type, others) = rest.split_at_checked(Type(rest).length()?)?;
            types.push(Type(of_type));
            rest = others;
        }
        Some(Self { types, names })
    }

    fn name(&self, of_type: &Type<'_>) -> Option<&'a [u8]> {
        let begin = self.names.get(of_type.word(0)? as usize..)?;
        begin.split(|byte| *byte == 0).next()
    }

    /// The needed types, with numbers of their own.
    fn only(&self, needed: &[bool]) -> Option<Vec<u8>> {
        let mut numbers = vec![0_u32; needed.len() + 1];
        for (number, index) in (1..).zip((0..needed.len()).filter(|index| needed[*index])) {
            numbers[index + 1] = number;
        }
        let mut types = Vec::new();
        for (of_type, _) in self.types.iter().zip(needed).filter(|(_, needed)| **needed) {
            let begin = types.len();
            types.extend_from_slice(of_type.0);
            let mut set = |at: usize, number: u32| {
                types[begin + at..begin + at + 4].copy_from_slice(&number.to_le_bytes())
            };
            of_type.leads_outside().into_iter().for_each(|at| set(at, 0));
            for at in of_type.references() {
                set(at, *numbers.get(of_type.word(at)? as usize)?);
            }
        }
        let length = |part: &[u8]| u32::try_from(part.len()).ok();
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend([1, 0]);
        for number in [HEADER as u32, 0, length(&types)?, length(&types)?, length(self.names)?] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(types);
        bytes.extend(self.names);
        Some(bytes)
    }
}

impl Type<'_> {
    fn word(self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    fn kind(self) -> Option<u32> {
        Some(self.word(4)? >> 24 & 0x1f)
    }

    /// The number of members, values or parameters.
    fn count(self) -> usize {
        self.word(4).map_or(0, |info| info as usize & 0xffff)
    }

    /// In bytes. `None` for a kind that is not known.
    fn length(self) -> Option<usize> {
        let follows = match self.kind()? {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            STRUCT | UNION | DATASEC | ENUM64 => 12 * self.count(),
            ENUM | FUNC_PROTO => 8 * self.count(),
            PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
            _ => return None,
        };
        Some(TYPE + follows)
    }

    fn can_be_found_by_name(self) -> bool {
        let is_anonymous = self.word(0).is_none_or(|name| name == 0);
        let is_data = |kind| matches!(kind, INT | STRUCT | UNION | ENUM | ENUM64 | FWD | TYPEDEF | FLOAT);
        !is_anonymous && self.kind().is_some_and(is_data)
    }

    /// Where it has the numbers of types that it does not consist of.
    fn leads_outside(self) -> Vec<usize> {
        match self.kind() {
            Some(PTR) => vec![8],
            Some(FUNC_PROTO) => (0..=self.count()).map(|parameter| 8 + 8 * parameter).collect(),
            _ => Vec::new(),
        }
    }

    /// Where it has the numbers of types that it consists of.
    fn references(self) -> Vec<usize> {
        match self.kind() {
            Some(TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) => vec![8],
            Some(ARRAY) => vec![TYPE, TYPE + 4],
            Some(STRUCT | UNION) => (0..self.count()).map(|member| TYPE + 12 * member + 4).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A description of `int`, `struct a { struct b *b; int i[2]; }`, `struct b { int i; }` and `struct c {}`.
    fn description() -> Vec<u8> {
        let types: [&[u32]; 6] = [
            &[1, INT << 24, 4, 32],
            &[0, PTR << 24, 4],
            &[0, ARRAY << 24, 0, 1, 1, 2],
            &[7, STRUCT << 24 | 1, 4, 5, 1, 0],
            &[9, STRUCT << 24, 0],
            &[11, STRUCT << 24 | 2, 16, 7, 2, 0, 5, 3, 64],
        ];
        let names = b"\0int\0i\0b\0c\0a\0";
        let types: Vec<u8> = types.concat().iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for number in [24, 0, types.len() as u32, types.len() as u32, names.len() as u32] {
            bytes.extend(number.to_le_bytes());
        }
        [bytes, types, names.to_vec()].concat()
    }

    fn names_of(description: &[u8]) -> BTreeSet<String> {
        let description = Description::parse(description).unwrap();
        let names = description.types.iter().map(|of_type| description.name(of_type).unwrap());
        names.map(|name| String::from_utf8(name.to_vec()).unwrap()).filter(|name| !name.is_empty()).collect()
    }

    fn named(object: &[u8]) -> BTreeSet<String> {
        names_of(&named_in(object, &description()).unwrap())
    }

    #[test]
    fn types_are_kept_with_what_they_consist_of() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(named(b"x\0a\0y"), set(&["a", "int"]), "and not what its pointer leads to");
        assert_eq!(named(b"\0b___older\0"), set(&["b", "int"]));
        assert_eq!(named(b"\0a\0b\0"), set(&["a", "b", "int"]));
        assert_eq!(named(b"\0aa\0"), set(&[]));
    }

    #[test]
    fn numbers_of_types_are_changed() {
        let reduced = named_in(b"\0a\0", &description()).unwrap();
        let reduced = Description::parse(&reduced).unwrap();
        let words: Vec<Vec<u32>> = reduced
            .types
            .iter()
            .map(|of_type| (8..of_type.0.len()).step_by(4).map(|at| of_type.word(at).unwrap()).collect())
            .collect();
        assert_eq!(words, [vec![4, 32], vec![0], vec![0, 1, 1, 2], vec![16, 7, 2, 0, 5, 3, 64]]);
    }

    #[test]
    fn the_library_reads_what_is_left_of_the_types_of_this_kernel() {
        let Ok(kernel) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let reduced = named_in(b"\0task_struct\0file\0", &kernel).unwrap();
        assert!(reduced.len() < kernel.len());
        assert!(names_of(&reduced).contains("task_struct"));
        aya::Btf::parse(&reduced, aya::Endianness::default()).unwrap();
    }

    proptest! {
        #[test]
        fn damaged_descriptions_are_no_danger(at in 0_usize..300, byte in any::<u8>(), length in 0_usize..300) {
            let mut bytes = description();
            if let Some(damaged) = bytes.get_mut(at) {
                *damaged = byte;
            }
            bytes.truncate(length);
            let _ = named_in(b"\0a\0b\0c\0", &bytes);
        }
    }
}
