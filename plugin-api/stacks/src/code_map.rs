//! The code of a process, by address.

use std::sync::Arc;

use trace_symbols::AddressMap;

use crate::mapping::Mapping;
use crate::modules::{Module, Modules};

/// The code that a process has mapped, by address.
#[derive(Debug, Clone, Default)]
pub struct CodeMap(AddressMap<MappedCode>);

#[derive(Debug, Clone)]
struct MappedCode {
    /// What is added to an address for the place in the file.
    offset: u64,
    module: Arc<Module>,
}

/// Where an address is.
#[derive(Debug, Clone, Copy)]
pub struct CodePlace<'a> {
    /// The file that is mapped there.
    pub module: &'a Arc<Module>,
    /// The place in it.
    pub offset: u64,
}

impl CodeMap {
    /// What is mapped at this address.
    pub fn at(&self, address: u64) -> Option<CodePlace<'_>> {
        let MappedCode { offset, module } = self.0.at(address)?;
        Some(CodePlace { module, offset: address.wrapping_add(*offset) })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a mapping of a process. It replaces the parts of others that it overlaps.
    pub fn map(&mut self, process: u32, mapping: &Mapping<'_>, modules: &Modules) {
        let code = MappedCode {
            offset: mapping.offset.wrapping_sub(mapping.address),
            module: modules.module(process, mapping),
        };
        self.0.insert(mapping.address..mapping.address.saturating_add(mapping.length), code);
    }
}
