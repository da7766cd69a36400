use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How much of the list is read at a time, in bytes.
const BUFFER: usize = 64 << 10;
/// How much of the list is read at all, in bytes. That of a kernel with all modules of a distribution has some 20 MiB.
const MAX_LIST: u64 = 128 << 20;
/// The longest line, in bytes: the kernel cuts names at 512 (`KSYM_NAME_LEN`).
const MAX_LINE: u64 = 1 << 10;
/// How many functions and how many bytes of names are kept: those beyond have no names.
const MAX_FUNCTIONS: usize = 1 << 20;
const MAX_NAMES: usize = 32 << 20;
/// How many modules are told apart.
const MAX_OWNERS: usize = u16::MAX as usize;

/// How far a function reaches at most where no other follows it at once, in bytes: those outside of the kernel's image.
const MAX_LENGTH: u64 = 64 << 10;

/// Symbols that stand behind the last function of a part of the kernel's image.
const ENDS: [&str; 5] = ["_etext", "_einittext", "__inittext_end", "__exittext_end", "__entry_text_end"];

/// The owner of the kernel's own functions.
const IMAGE: u16 = 0;
/// What the kernel writes for the owner of BPF programs.
const BPF: &str = "bpf";

/// The functions of the kernel, as `/proc/kallsyms` and `/proc/modules` list them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Functions {
    /// Those of the kernel's image, which stay as they are.
    image: Arc<Table>,
    others: Table,
    /// Who has them: modules, and others for which the kernel writes a name such as `bpf`. The first is the kernel's image.
    owners: Vec<Owner>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    /// By address.
    entries: Vec<Entry>,
    names: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    address: u64,
    /// Where in the names its name begins.
    name: u32,
    /// 0 for what is behind the last function of a part.
    length: u16,
    owner: u16,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Owner {
    name: Box<str>,
    /// Where its code and data are, if that is known.
    addresses: Option<Range<u64>>,
}

/// A function of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelFunction<'a> {
    /// Its symbol.
    pub name: &'a str,
    /// Its module, or `bpf` for a BPF program. `None` for what is in the kernel's image.
    pub module: Option<&'a str>,
}

impl KernelFunction<'_> {
    /// Whether it is a BPF program. These come and go.
    pub(super) fn is_bpf(&self) -> bool {
        self.module == Some(BPF)
    }
}

impl Functions {
    /// Those of this procfs. Empty, if the kernel hides its addresses (kernel.kptr_restrict). Those of the image are taken
    /// from what was read `before`, unless that is empty.
    pub fn read(procfs: &Path, before: &Self) -> Self {
        let image = Some(Arc::clone(&before.image)).filter(|image| !image.entries.is_empty());
        let list = File::open(procfs.join("kallsyms"));
        let mut functions = list.map(|list| Self::of_list(list.take(MAX_LIST), image)).unwrap_or_default();
        if let Ok(modules) = fs::read_to_string(procfs.join("modules")) {
            functions.limit(&modules);
        }
        functions
    }

    /// Those of a list, and of an image that is known.
    fn of_list(list: impl Read, known: Option<Arc<Table>>) -> Self {
        let mut functions = Self { owners: vec![Owner::default()], ..Self::default() };
        let (mut owners, mut image) = (HashMap::new(), Table::default());
        // The whole list is three times as long as what is kept of it.
        let mut list = BufReader::with_capacity(BUFFER, list);
        let mut line = Vec::new();
        while list.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if let Some(line) = str::from_utf8(&line).ok().and_then(Line::of) {
                match line.module.map(|module| functions.owner(module, &mut owners)) {
                    None if known.is_some() => {}
                    None => image.add(&line, IMAGE),
                    Some(Some(owner)) => functions.others.add(&line, owner),
                    Some(None) => {}
                }
            }
            line.clear();
        }
        image.finish();
        functions.others.finish();
        functions.image = known.unwrap_or_else(|| Arc::new(image));
        functions
    }

    fn owner(&mut self, name: &str, owners: &mut HashMap<Box<str>, u16>) -> Option<u16> {
        if let Some(owner) = owners.get(name) {
            return Some(*owner);
        }
        let number = (self.owners.len() < MAX_OWNERS).then_some(self.owners.len() as u16)?;
        self.owners.push(Owner { name: name.into(), addresses: None });
        owners.insert(name.into(), number);
        Some(number)
    }

    /// Takes the addresses of modules from lines such as `ext4 1134592 2 - Live 0xffffffffc0a00000`.
    fn limit(&mut self, modules: &str) {
        let ranges = modules.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (name, size) = (words.next()?, words.next()?.parse::<u64>().ok()?);
            let begin = u64::from_str_radix(words.nth(3)?.strip_prefix("0x")?, 16).ok()?;
            Some((name, begin..begin.saturating_add(size)))
        });
        let mut ranges: HashMap<&str, Range<u64>> = ranges.collect();
        for owner in &mut self.owners {
            owner.addresses = ranges.remove(&*owner.name);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.image.entries.is_empty() && self.others.entries.is_empty()
    }

    /// The function at this address. It reaches to the next one; the last one of a part of the kernel's image, or of a module, to the
    /// end of that.
    pub fn at(&self, address: u64) -> Option<KernelFunction<'_>> {
        let tables = [&*self.image, &self.others].into_iter();
        let nearest = tables.filter_map(|table| Some((table, table.last_until(address)?)));
        let (table, found) = nearest.max_by_key(|(table, found)| table.entries[*found].address)?;
        let name = table.name_at(address, found, &self.owners)?;
        let owner = usize::from(table.entries[found].owner);
        Some(KernelFunction { name, module: (owner > 0).then(|| &*self.owners[owner].name) })
    }
}

impl Table {
    fn add(&mut self, line: &Line<'_>, owner: u16) {
        let name = if line.is_end { "" } else { line.name };
        if self.entries.len() < MAX_FUNCTIONS && self.names.len() + name.len() <= MAX_NAMES {
            let (begin, length) = (self.names.len() as u32, name.len() as u16);
            self.entries.push(Entry { address: line.address, name: begin, length, owner });
            self.names.push_str(name);
        }
    }

    fn finish(&mut self) {
        self.entries.shrink_to_fit();
        self.names.shrink_to_fit();
        // A function that begins where a part ends has its name.
        self.entries.sort_unstable_by_key(|entry| (entry.address, entry.length > 0, entry.name));
    }

    /// The last entry that does not begin behind this address.
    fn last_until(&self, address: u64) -> Option<usize> {
        self.entries.partition_point(|entry| entry.address <= address).checked_sub(1)
    }

    /// The name of the function at this address, if it is that of this entry.
    fn name_at(&self, address: u64, number: usize, owners: &[Owner]) -> Option<&str> {
        let found = self.entries[number];
        let is_followed = self.entries.get(number + 1).is_some_and(|next| next.owner == found.owner);
        let has_limit = found.owner != IMAGE || !is_followed;
        let end = owners[usize::from(found.owner)].addresses.as_ref().map(|addresses| addresses.end);
        let is_beyond =
            has_limit && address - found.address >= MAX_LENGTH || end.is_some_and(|end| address >= end);
        if found.length == 0 || is_beyond {
            return None;
        }
        let begin = found.name as usize;
        self.names.get(begin..begin + usize::from(found.length))
    }
}

/// A function in a line such as `ffffffff81000000 T _stext`, where a tab and a module may follow.
struct Line<'a> {
    address: u64,
    name: &'a str,
    module: Option<&'a str>,
    /// Whether it stands behind the last function of a part.
    is_end: bool,
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
        let address = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0)?;
        let is_end = ENDS.contains(&name);
        // On aarch64, `$x` and `$d` mark code and data in modules. On x86-64, half of all are the padding before others, which never runs.
        let is_mark = name.starts_with('$') || name.starts_with("__pfx_");
        let is_function = matches!(kind, "t" | "T" | "w" | "W") && !is_mark;
        let module = words.next().and_then(|module| module.strip_prefix('[')?.strip_suffix(']'));
        (is_end || is_function).then_some(Self { address, name, module, is_end })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn functions(list: &str) -> Functions {
        Functions::of_list(list.as_bytes(), None)
    }

    fn name(functions: &Functions, address: u64) -> Option<&str> {
        functions.at(address).map(|function| function.name)
    }

    #[test]
    fn an_address_belongs_to_the_nearest_function_before_it() {
        let functions = functions(
            "10 T first\n20 t second\t[module]\n18 d data\n1c t __pfx_second\n0 T hidden\ngarbage\n\
             20 t $x\t[module]\n30 W third\n",
        );
        assert_eq!(name(&functions, 0xf), None);
        assert_eq!(name(&functions, 0x1f), Some("first"));
        let second = KernelFunction { name: "second", module: Some("module") };
        assert_eq!(functions.at(0x20), Some(second));
        assert_eq!(functions.at(0x1030), Some(KernelFunction { name: "third", module: None }));
        assert_eq!((name(&functions, 0x1_002f), name(&functions, 0x1_0030)), (Some("third"), None));
    }

    #[test]
    fn nothing_behind_a_part_of_the_kernel_has_a_name() {
        let image = functions(
            "1000 T _stext\n1000 T first\n2000000 t large\n4000000 D _etext\n\
             8000000 T _sinittext\n8000000 t init\n8001000 t exit\n8001000 T _einittext\n8002000 T __exittext_end\n",
        );
        assert_eq!(name(&image, 0x01ff_ffff), Some("first"), "the image has no limit for one function");
        assert_eq!((name(&image, 0x03ff_ffff), name(&image, 0x0400_0000)), (Some("large"), None));
        assert_eq!((name(&image, 0x07ff_ffff), name(&image, 0x0800_0fff)), (None, Some("init")));
        assert_eq!((name(&image, 0x0800_1000), name(&image, 0x0800_2000)), (Some("exit"), None));
    }

    #[test]
    fn a_module_ends_at_its_end() {
        let mut modules = functions(
            "1000 t a\t[one]\n9000 t b\t[one]\n20000 t c\t[two]\n30000 t d\t[two]\n40000 t bpf_prog_1_x\t[bpf]\n",
        );
        assert_eq!(name(&modules, 0x1_8fff), Some("b"));
        assert_eq!((name(&modules, 0x1_9000), name(&modules, 0x4_0000)), (None, Some("bpf_prog_1_x")));
        modules.limit(
            "one 36864 0 - Live 0x0000000000001000\ntwo 68000 1 one, Live 0x20000\ngarbage\nthree 1 2\n",
        );
        assert_eq!((name(&modules, 0x9fff), name(&modules, 0xa000)), (Some("b"), None));
        assert_eq!((name(&modules, 0x2_ffff), name(&modules, 0x3_0000)), (Some("c"), Some("d")));
        assert_eq!(name(&modules, 0x3_09a0), None);
        assert!(modules.at(0x4_0000).unwrap().is_bpf() && !modules.at(0x3_0000).unwrap().is_bpf());
    }

    #[test]
    fn the_image_is_kept_when_the_list_is_read_again() {
        let before = functions("10 T first\n20 T _etext\n100 t old\t[module]\n");
        let after = Functions::of_list(&b"10 T other\n100 t new\t[module]\n"[..], Some(before.image));
        assert_eq!(
            [0x10, 0x20, 0x100].map(|address| name(&after, address)),
            [Some("first"), None, Some("new")]
        );
    }

    #[test]
    fn lists_of_any_length_are_bounded() {
        let long = format!("10 t {}\n20 t short\n", "x".repeat(3 * MAX_LINE as usize));
        let functions = functions(&long);
        assert!(functions.image.names.len() < 2 * MAX_LINE as usize);
        assert_eq!(name(&functions, 0x20), Some("short"));
    }

    proptest! {
        #[test]
        fn any_lines_are_accepted(
            lines in prop::collection::vec("[0-9a-f]{0,17}[ \t][tTd][ \t]\\PC{0,9}(\t\\[a?\\])?|\\PC{0,20}", 0..9),
            modules in "(a|\\PC{0,3}) [0-9]{0,20} 1 - Live 0x[0-9a-f]{0,17}\n\\PC{0,20}",
        ) {
            let mut functions = functions(&lines.join("\n"));
            functions.limit(&modules);
            for address in [0, 1, u64::MAX] {
                prop_assert!(functions.at(address).is_none_or(|function| !function.name.is_empty()));
            }
        }
    }
}
