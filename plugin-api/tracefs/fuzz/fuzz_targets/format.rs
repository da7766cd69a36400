//! Fuzzes the parser of `format` files. The text is also used as a record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracefs::format::EventFormat;

fuzz_target!(|text: &str| {
    if let Ok(format) = EventFormat::parse(text) {
        for field in &format.fields {
            field.number(text.as_bytes());
            field.bytes(text.as_bytes());
        }
    }
});
