//! The code of a process, by address.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::mapping::Mapping;
use crate::modules::Module;

/// The code that a process has mapped, by address.
#[derive(Debug, Clone, Default)]
pub struct CodeMap(BTreeMap<u64, CodeRange>);

#[derive(Debug, Clone)]
struct CodeRange {
    end: u64,
    offset: u64,
    module: Arc<Module>,
}

impl CodeMap {
    /// The file that is mapped at this address, and the place in it.
    pub fn at(&self, address: u64) -> Option<(&Arc<Module>, u64)> {
        let (begin, piece) = self.0.range(..=address).next_back()?;
        (address < piece.end).then(|| (&piece.module, (address - begin).wrapping_add(piece.offset)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a mapping. It replaces the parts of others that it overlaps.
    pub fn map(&mut self, mapping: &Mapping<'_>, module: Arc<Module>) {
        let (begin, end) = (mapping.address, mapping.address.saturating_add(mapping.length));
        // No two of them overlap, so their ends are in order, too.
        let overlapped = self.0.range(..end).rev().take_while(|(_, piece)| piece.end > begin);
        for start in overlapped.map(|(start, _)| *start).collect::<Vec<_>>() {
            let Some(old) = self.0.remove(&start) else { continue };
            if start < begin {
                self.0.insert(start, CodeRange { end: begin, ..old.clone() });
            }
            if old.end > end {
                let offset = old.offset.wrapping_add(end - start);
                self.0.insert(end, CodeRange { offset, ..old });
            }
        }
        if begin < end {
            self.0.insert(begin, CodeRange { end, offset: mapping.offset, module });
        }
    }
}
