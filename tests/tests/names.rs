//! The names of functions: what is shown is right, and can be given. Needs root and tracefs.

use std::collections::BTreeSet;
use std::path::Path;

use system_tests::{Kernel, Manager, Plugins, compile_c, strip};

/// Spends a quarter of a second in `spin`.
const SPINS: &str = r#"
#include <time.h>
void spin(void);
int main(void) {
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        spin();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec < 250000000L);
}
"#;

const SPIN: &str = "volatile unsigned long s; void spin(void) { for (long i = 0; i < 3000000; i++) s += i; }";

/// The innermost function of most samples of the program.
fn hottest(directory: &Path, library: &str) -> String {
    let words = ["-o", "program", library, "-Wl,-rpath,$ORIGIN", "-z", "noexecstack"];
    compile_c(directory, SPINS, &words);
    let manager = Manager::with(Plugins::of(["perf"]));
    let call = manager.call(["run", "profile", "-F", "500", "--"]).word(directory.join("program"));
    call.answer().hottest_function()
}

#[test]
fn exported_functions_are_named_also_if_other_symbols_are_left() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory can be made");
    let source = format!("{SPIN} void kept(void) {{ spin(); }}");
    compile_c(directory.path(), &source, &["-O1", "-shared", "-fPIC", "-o", "libspin.so"]);
    strip(directory.path(), "libspin.so", &["--strip-all", "-K", "kept"]);
    assert_eq!(hottest(directory.path(), "libspin.so"), "spin");
}

#[test]
fn a_function_without_a_name_is_not_named_after_one_without_a_size() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory can be made");
    // The first function, of one instruction, has no size; the one behind it is not exported.
    let source = r#"
        __asm__(".text\n.globl first\n.type first, %function\nfirst:\nnop\n");
        volatile unsigned long s;
        __attribute__((noinline)) static void hidden(void) { for (long i = 0; i < 3000000; i++) s += i; }
        void spin(void) { hidden(); s += 1; }
    "#;
    let words = ["-O1", "-fno-toplevel-reorder", "-shared", "-fPIC", "-o", "libspin.so"];
    compile_c(directory.path(), source, &words);
    strip(directory.path(), "libspin.so", &["--strip-all"]);
    let name = hottest(directory.path(), "libspin.so");
    assert!(name.starts_with("[libspin.so+0x"), "{name}");
}

#[test]
fn exported_labels_of_assembly_are_named_and_traced() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory can be made");
    let source = format!(
        "{}; __asm__(\".text\\n.globl spin\\nspin:\\n{}\");",
        "void unused(void) {}",
        if cfg!(target_arch = "aarch64") {
            "mov x0, #0x800000\\n1: subs x0, x0, #1\\nb.ne 1b\\nret\\n"
        } else {
            "mov $0x800000, %rax\\n1: dec %rax\\njnz 1b\\nret\\n"
        }
    );
    compile_c(directory.path(), &source, &["-c", "-o", "spin.o"]);
    assert_eq!(hottest(directory.path(), "spin.o"), "spin");
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let traced = |function: &str| {
        let call = manager.call(["run", "user", "-f", function, "--"]).word(directory.path().join("program"));
        call.answer().stderr.matches(" function=\"spin\"").count()
    };
    // Labels can be of data, so no pattern matches them.
    assert!(traced("spin") > 1 && traced("spi*") == 0);
}

#[test]
fn functions_of_other_languages_are_given_as_they_are_shown() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let directory = tempfile::tempdir().expect("a directory can be made");
    let functions = [
        ("_ZN3app3getB5cxx11Ei", "app::get[abi:cxx11](int)", "app::get"),
        ("_ZN2ns1fILb1EEEiv", "int ns::f<true>()", "ns::f<true>"),
        ("_ZN2ns1gEPVi", "ns::g(int volatile*)", "ns::g(int volatile *)"),
        ("_RNvMNtCs1_2rs3appNtB2_1T6method", "<rs::app::T>::method", "rs::app::T::method"),
        ("main.(*T).Work", "main.(*T).Work", "main.(*T).Work"),
    ];
    let (mut source, mut main) = (String::new(), "int main(void) {".to_owned());
    // `ns::g(int volatile*, long)`, which the name of another function matches if `*` is a wildcard.
    let symbols = functions.iter().map(|(symbol, ..)| *symbol).chain(["_ZN2ns1gEPVil"]);
    for (number, symbol) in symbols.enumerate() {
        let declaration = format!("__attribute__((noinline)) void f{number}(void)");
        source += &format!(
            "{declaration} __asm__(\"\\\"{symbol}\\\"\");\n{declaration} {{ __asm__ volatile (\"\"); }}\n"
        );
        main += &format!(" f{number}();");
    }
    compile_c(directory.path(), &format!("{source}\n{main} }}"), &["-O1", "-o", "a:b"]);
    let program = directory.path().join("a:b");
    let manager = Manager::with(Plugins::of(["uprobe"]));
    let traced = |names: [&str; 5]| {
        let selectors = names.map(|name| format!("{}:{name}", program.display()));
        let call = manager.call(["run", "user", "--format", "json", "-f"]).words(selectors);
        let answer = call.word("--").word(&program).answer();
        let calls = answer.stderr.lines().filter_map(|line| serde_json::from_str(line).ok());
        let functions =
            calls.filter_map(|call: serde_json::Value| Some(call["function"].as_str()?.to_owned()));
        functions.collect::<BTreeSet<String>>()
    };
    let shown = functions.map(|(_, shown, _)| shown);
    assert_eq!(traced(shown), shown.map(str::to_owned).into());
    assert_eq!(traced(functions.map(|(.., short)| short)), shown.map(str::to_owned).into());
}
