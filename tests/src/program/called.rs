//! A program whose functions are traced. It reads commands from standard input:
//!
//! - `call N A B TEXT`: call `traced_function` N times with these arguments
//! - `deep N`: call `recursive` with a depth of N
//! - `overloads N`: call `ns::K::get(int) const` and `ns::K::get(long) &` N times each
//! - `texts A B`: call `takes_texts` with strings of these lengths
//! - `split N`: call `split_function` N times, which jumps to `split_function.cold`
//! - `go N`: call `main.go_function` N times with 42, as Go does
//! - `load PATH`: load the library at PATH
//! - `loaded N`: call `library_function` of that library N times
//! - `exec PATH`: execute the program at PATH

use std::ffi::{CString, c_char, c_int, c_void};
use std::hint::black_box;
use std::io::{BufRead, Write, stdin, stdout};

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn one_of_many_0();
    fn refused_function();
    fn unexpected_function();
    fn split_function();
    fn call_as_go();
    fn execv(path: *const c_char, arguments: *const *const c_char) -> c_int;
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn traced_function(a: i32, b: u64, text: *const c_char) -> i32 {
    black_box((b, text));
    black_box(a) - 10
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn other_function(a: i32) -> i32 {
    black_box(a)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn takes_texts(first: *const c_char, number: u64, second: *const c_char) {
    black_box((first, number, second));
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn recursive(depth: u64) -> u64 {
    if black_box(depth) == 0 { 0 } else { black_box(recursive(depth - 1)) + 1 }
}

/// `ns::K::get(int) const`, with the mangled name of a C++ compiler.
#[unsafe(export_name = "_ZNK2ns1K3getEi")]
#[inline(never)]
pub extern "C" fn get_int(this: *const u8, number: i32) -> i32 {
    black_box(this);
    black_box(number)
}

/// `ns::K::get(long) &`.
#[unsafe(export_name = "_ZNR2ns1K3getEl")]
#[inline(never)]
pub extern "C" fn get_long(this: *const u8, number: i64) -> i64 {
    black_box(this);
    black_box(number + 1)
}

pub mod inner {
    #[inline(never)]
    pub fn of_a_module(number: u64) -> u64 {
        std::hint::black_box(number)
    }
}

std::arch::global_asm!(
    ".macro one_of_many number",
    ".globl one_of_many_\\number",
    ".type one_of_many_\\number, %function",
    "one_of_many_\\number:",
    "ret",
    ".size one_of_many_\\number, . - one_of_many_\\number",
    ".endm",
    ".altmacro",
    ".set number, 0",
    ".rept 2000",
    "one_of_many %number",
    ".set number, number + 1",
    ".endr",
    ".noaltmacro",
);

// `refused_function` begins with an instruction on which the kernel refuses a uprobe: vpxor, or yield.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(".macro refused", ".byte 0xc5, 0xf9, 0xef, 0xc0", ".endm");
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(".macro refused", "yield", ".endm");
std::arch::global_asm!(
    ".globl refused_function",
    ".type refused_function, %function",
    "refused_function:",
    "refused",
    "ret",
    ".size refused_function, . - refused_function",
);

// The kernel refuses a uprobe on `unexpected_function` as well, but not because of its opcode: with this prefix, there is no
// such instruction; or it is not aligned.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl unexpected_function",
    ".type unexpected_function, %function",
    "unexpected_function:",
    ".byte 0xc5, 0xf8, 0x05, 0xc0",
    "ret",
    ".size unexpected_function, . - unexpected_function",
);
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl unexpected_function",
    ".type unexpected_function, %function",
    "nop",
    ".set unexpected_function, . - 2",
    "ret",
);

// A function whose unlikely part is split off, as compilers do.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(".macro jump to", "jmp \\to", ".endm");
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(".macro jump to", "b \\to", ".endm");
std::arch::global_asm!(
    ".globl split_function",
    ".type split_function, %function",
    "split_function:",
    "nop",
    "jump split_function.cold",
    ".size split_function, . - split_function",
    ".type split_function.cold, %function",
    "split_function.cold:",
    "nop",
    "ret",
    ".size split_function.cold, . - split_function.cold",
);

#[cfg(like_go)]
#[used]
#[unsafe(link_section = ".go.buildinfo")]
static BUILD_INFO: u8 = 0;

// Go passes the first argument in another register than C.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(".macro first_of_go number", "mov eax, \\number", ".endm");
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(".macro first_of_go number", "mov x0, #\\number", ".endm");
std::arch::global_asm!(
    ".globl call_as_go",
    ".type call_as_go, %function",
    "call_as_go:",
    "first_of_go 42",
    "jump main.go_function",
    ".size call_as_go, . - call_as_go",
    ".type main.go_function, %function",
    "main.go_function:",
    "nop",
    "ret",
    ".size main.go_function, . - main.go_function",
);

fn main() {
    // Unreferenced functions would be removed by the linker.
    black_box([one_of_many_0, refused_function, unexpected_function].map(|function| function as *const () as usize));
    let mut library = std::ptr::null_mut();
    answer(&std::process::id().to_string());
    for line in stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |n: usize| words[n].parse::<u64>().unwrap();
        let path = |n: usize| CString::new(words[n]).unwrap();
        match words[0] {
            "call" => {
                let text = path(4);
                for _ in 0..number(1) {
                    traced_function(words[2].parse().unwrap(), number(3), text.as_ptr());
                    other_function(1);
                    inner::of_a_module(1);
                }
            }
            "deep" => _ = recursive(number(1)),
            "overloads" => (0..number(1)).for_each(|_| {
                get_int(&0, 7);
                get_long(&0, 7);
            }),
            "texts" => {
                let text = |n| CString::new("x".repeat(number(n) as usize)).unwrap();
                let (first, second) = (text(1), text(2));
                takes_texts(first.as_ptr(), 7, second.as_ptr());
            }
            "split" => (0..number(1)).for_each(|_| unsafe { split_function() }),
            "go" => (0..number(1)).for_each(|_| unsafe { call_as_go() }),
            "load" => library = unsafe { dlopen(path(1).as_ptr(), 2) },
            "loaded" => {
                let function = unsafe { dlsym(library, c"library_function".as_ptr()) };
                let function: extern "C" fn() = unsafe { std::mem::transmute(function) };
                (0..number(1)).for_each(|_| function());
            }
            "exec" => {
                let path = path(1);
                unsafe { execv(path.as_ptr(), [path.as_ptr(), std::ptr::null()].as_ptr()) };
            }
            _ => panic!("unknown command '{line}'"),
        }
        answer("done");
    }
}

fn answer(text: &str) {
    println!("{text}");
    stdout().flush().unwrap();
}
