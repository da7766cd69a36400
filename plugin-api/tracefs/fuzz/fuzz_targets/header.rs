//! Fuzzes the parser of `header_page` and `header_event`. The input is both texts, separated by a NUL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracefs::ring::{Layout, Page};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (page, event) = text.split_once('\0').unwrap_or((&text, ""));
    if let Some(layout) = Layout::parse(page, event)
        && let Ok(page) = Page::new(&layout, bytes)
    {
        page.records().for_each(drop);
    }
});
