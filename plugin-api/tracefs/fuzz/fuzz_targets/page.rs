//! Fuzzes the decoding and merging of pages. In each chunk of the input, the first byte is the CPU, the second the length of
//! the page in units of 16 bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracefs::ring::{Item, Layout, Page, Timeline};

const HEADER_PAGE: &str = "field: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    field: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\nfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";
const HEADER_EVENT: &str = "type_len : 5 bits\ntime_delta : 27 bits\npadding : type == 29\n\
    time_extend : type == 30\ntime_stamp : type == 31\ndata max type_len == 28\n";

fuzz_target!(|bytes: &[u8]| {
    let layout = Layout::parse(HEADER_PAGE, HEADER_EVENT).expect("valid headers");
    let mut timeline = Timeline::new(&layout);
    let (mut rest, mut expected) = (bytes, 0);
    while let [cpu, length, after @ ..] = rest {
        let (page, after) = after.split_at(after.len().min(usize::from(*length) * 16));
        rest = after;
        if let Ok(page) = Page::new(&layout, page) {
            expected += page.records().count();
        }
        timeline.push(u32::from(cpu % 4), page);
    }
    timeline.finish();
    let mut found = 0;
    while let Some(item) = timeline.next() {
        found += usize::from(matches!(item, Item::Record(_)));
    }
    assert_eq!(found, expected);
});
