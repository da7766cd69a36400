//! A library that a traced program loads when it is told to.

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn library_function() {
    std::hint::black_box(1);
}
