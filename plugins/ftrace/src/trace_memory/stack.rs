//! The function that allocated pages, by the stack that the kernel records with the event.

use std::collections::HashMap;

use trace_hook_api::Result;
use tracefs::format::{EventFormat, Field};
use tracefs_session::{EventStream, Record};

/// The bytes of an address.
const ADDRESS: usize = size_of::<usize>();

/// Prefixes of functions that allocate pages on behalf of others, without leading underscores: those of `mm/page_alloc.c` and
/// `mm/mempolicy.c`, and those of tracing itself.
const ALLOCATORS: [&str; 14] = [
    "alloc_pages",
    "alloc_frozen_pages",
    "folio_alloc",
    "vma_alloc_folio",
    "vma_alloc_zeroed",
    "get_free_pages",
    "get_zeroed_page",
    "get_page_from_freelist",
    "post_alloc_hook",
    "prep_new_page",
    "event_triggers",
    "stacktrace_trigger",
    "trace_event",
    // Calls all probes of a tracepoint that has several.
    "traceiter",
];

/// The fields of the record of a stack.
pub struct Stack {
    id: u16,
    depth: Field,
    callers: Field,
    /// Whether the function at an address allocates on behalf of others. Bounded: these are return addresses in the few kernel
    /// functions that allocate pages.
    allocators: HashMap<u64, bool>,
}

impl Stack {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let format = stream.format_of("ftrace", "kernel_stack")?;
        let field = |format: &EventFormat, name: &str| {
            let missing =
                || trace_hook_api::HookError::new(format!("the kernel's stacks have no field '{name}'"));
            format.field(name).cloned().ok_or_else(missing)
        };
        Ok(Self {
            id: format.id,
            depth: field(&format, "size")?,
            callers: field(&format, "caller")?,
            allocators: HashMap::new(),
        })
    }

    pub fn is(&self, record: &Record<'_>) -> bool {
        record.id() == self.id
    }

    /// The innermost function that does not allocate on behalf of others.
    pub fn call_site(&mut self, record: &Record<'_>) -> Option<u64> {
        let depth = usize::try_from(record.number(&self.depth)).ok()?;
        // The format declares eight entries; the record has as many as there are.
        let frames = record.data().get(self.callers.offset..)?.chunks_exact(ADDRESS).take(depth);
        let addresses = frames.filter_map(|bytes| Some(usize::from_ne_bytes(bytes.try_into().ok()?) as u64));
        let allocators = &mut self.allocators;
        let mut is_allocator_at = |address: &u64| {
            *allocators.entry(*address).or_insert_with(|| is_allocator(&record.symbol(*address)))
        };
        addresses.into_iter().find(|address| !is_allocator_at(address))
    }
}

fn is_allocator(symbol: &str) -> bool {
    let name = symbol.trim_start_matches('_');
    ALLOCATORS.iter().any(|allocator| name.starts_with(allocator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocators_are_recognised_by_name() {
        let symbols = [
            "__alloc_frozen_pages_noprof+0x1/0x2",
            "alloc_pages_mpol+0x1/0x2",
            "vma_alloc_folio_noprof+0x1/0x2",
        ];
        assert!(symbols.into_iter().all(is_allocator));
        assert!(
            !["do_anonymous_page+0x1/0x2", "pte_alloc_one+0x1/0x2", "0xffff"].into_iter().any(is_allocator)
        );
    }
}
