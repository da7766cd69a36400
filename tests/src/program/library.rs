//! A library that a traced program loads on command.

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn library_function() {
    std::hint::black_box(1);
}
