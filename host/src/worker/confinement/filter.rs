//! Compiles a seccomp filter (seccomp(2)) from a list of system calls.
//!
//! When a filter is installed, the kernel runs it for every known system call, to find out which ones it always allows.
//! A filter with linear search took 0.4 ms for that, a quarter of the time for listing all hooks. This one uses binary
//! search, and takes a tenth.

use nix::errno::Errno;
use nix::libc::{
    self, BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JUMP, BPF_K, BPF_LD, BPF_RET,
    BPF_STMT, BPF_W, c_long, sock_filter,
};

/// How the filter handles a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// It is allowed.
    Allow,
    /// It is allowed if its arguments pass all of these checks. Otherwise it fails with EPERM.
    If(Vec<Check>),
    /// It fails with ENOSYS, as on a kernel that lacks it. Callers then use an older system call.
    Unknown,
    /// It fails with EPERM.
    Refuse,
}

/// A condition: a 32-bit half of an argument, masked, is one of these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The offset in `struct seccomp_data`.
    offset: u32,
    mask: u32,
    one_of: Vec<u32>,
}

impl Check {
    /// The argument, an `int`, is one of these values. Arguments are counted from 0.
    pub fn int(argument: u32, one_of: impl IntoIterator<Item = u32>) -> Self {
        Self { offset: ARGUMENTS + argument * 8, mask: u32::MAX, one_of: one_of.into_iter().collect() }
    }

    /// Of the flags `of`, the argument contains exactly the `set` ones.
    pub fn flags(argument: u32, of: i32, set: i32) -> Self {
        Self { mask: of.cast_unsigned(), ..Self::int(argument, [set.cast_unsigned()]) }
    }

    /// The argument, a pointer, is null.
    pub fn null(argument: u32) -> [Self; 2] {
        let lower = Self::int(argument, [0]);
        [Self { offset: lower.offset + 4, ..lower.clone() }, lower]
    }
}

/// Offsets in `struct seccomp_data` (linux/seccomp.h), on little-endian machines.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The kernel's number for this architecture (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const THIS_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const THIS_ARCHITECTURE: u32 = 0xc000_00b7;

/// A range of system call numbers with the same rule, up to the next range.
struct Range {
    first: u32,
    rule: Rule,
}

/// Compiles a filter with these rules. All other system calls, and those of another architecture, fail with EPERM.
pub fn compile(rules: impl IntoIterator<Item = (c_long, Rule)>) -> Vec<sock_filter> {
    let mut program =
        vec![load(ARCHITECTURE), jump(BPF_JEQ, THIS_ARCHITECTURE, 1, 0), refuse(), load(NUMBER)];
    search(&ranges(rules), &mut program);
    program
}

/// Installs the filter permanently for this thread and those that it starts.
pub fn install(program: &mut [sock_filter]) -> nix::Result<()> {
    let length = program.len().try_into().map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, whose pointer and length are those of a borrowed slice.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    Errno::result(result).map(drop)
}

/// The rules as ranges, sorted by number. Numbers without a rule are refused.
fn ranges(rules: impl IntoIterator<Item = (c_long, Rule)>) -> Vec<Range> {
    // System call numbers fit into 32 bits.
    let mut rules: Vec<(u32, Rule)> = rules.into_iter().map(|(call, rule)| (call as u32, rule)).collect();
    rules.sort_by_key(|(call, _)| *call);
    let mut ranges = vec![Range { first: 0, rule: Rule::Refuse }];
    let mut next = 0;
    for (call, rule) in rules {
        if call > next {
            begin(&mut ranges, next, Rule::Refuse);
        }
        begin(&mut ranges, call, rule);
        next = call + 1;
    }
    begin(&mut ranges, next, Rule::Refuse);
    ranges
}

fn begin(ranges: &mut Vec<Range>, first: u32, rule: Rule) {
    match ranges.last_mut() {
        Some(last) if last.rule == rule => {}
        // The last range is empty.
        Some(last) if last.first == first => last.rule = rule,
        _ => ranges.push(Range { first, rule }),
    }
}

/// Searches for the loaded number.
fn search(ranges: &[Range], program: &mut Vec<sock_filter>) {
    let (left, right) = match ranges.split_at(ranges.len() / 2) {
        ([], only) => return only.iter().for_each(|range| decide(&range.rule, program)),
        halves => halves,
    };
    let branch = program.len();
    program.push(skip(0));
    search(left, program);
    let over = program.len() - branch - 1;
    match u8::try_from(over) {
        Ok(over) => program[branch] = jump(BPF_JGE, right[0].first, over, 0),
        Err(_) => {
            program[branch] = jump(BPF_JGE, right[0].first, 0, 1);
            program.insert(branch + 1, skip(over));
        }
    }
    search(right, program);
}

fn decide(rule: &Rule, program: &mut Vec<sock_filter>) {
    if let Rule::If(checks) = rule {
        checks.iter().for_each(|one| check(one, program));
    }
    program.push(match rule {
        Rule::Allow | Rule::If(_) => answer(libc::SECCOMP_RET_ALLOW),
        Rule::Unknown => answer(error(Errno::ENOSYS)),
        Rule::Refuse => refuse(),
    });
}

/// Continues with the next instruction if the condition holds. Otherwise refuses the call.
fn check(check: &Check, program: &mut Vec<sock_filter>) {
    program.push(load(check.offset));
    if check.mask != u32::MAX {
        program.push(statement(BPF_ALU | BPF_AND | BPF_K, check.mask));
    }
    // The refusal follows the last comparison. A value that matches jumps over it.
    let jumps = (1..=check.one_of.len() as u8).rev();
    program.extend(check.one_of.iter().zip(jumps).map(|(value, over)| jump(BPF_JEQ, *value, over, 0)));
    program.push(refuse());
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn skip(instructions: usize) -> sock_filter {
    statement(BPF_JMP | BPF_JA, instructions as u32)
}

fn refuse() -> sock_filter {
    answer(error(Errno::EPERM))
}

fn error(errno: Errno) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

fn answer(answer: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, answer)
}

fn statement(code: u32, value: u32) -> sock_filter {
    // SAFETY: the function only builds a struct from its arguments.
    unsafe { BPF_STMT(code as u16, value) }
}

fn jump(comparison: u32, value: u32, then: u8, otherwise: u8) -> sock_filter {
    // SAFETY: the function only builds a struct from its arguments.
    unsafe { BPF_JUMP((BPF_JMP | comparison | BPF_K) as u16, value, then, otherwise) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

    /// Interprets the program as the kernel does.
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: &[u64]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            _ => {
                let bits = arguments.get(((offset - ARGUMENTS) / 8) as usize).copied().unwrap_or_default();
                (bits >> ((offset % 8) * 8)) as u32
            }
        };
        let (mut at, mut register) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let branch = |holds| usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => register = word(k),
                code if code == BPF_ALU | BPF_AND | BPF_K => register &= k,
                code if code == BPF_JMP | BPF_JA => at += k as usize,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => at += branch(register == k),
                code if code == BPF_JMP | BPF_JGE | BPF_K => at += branch(register >= k),
                code if code == BPF_RET | BPF_K => return k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn run_here(program: &[sock_filter], number: u32, arguments: &[u64]) -> u32 {
        run(program, THIS_ARCHITECTURE, number, arguments)
    }

    #[test]
    fn calls_of_another_architecture_are_refused() {
        let program = compile([(1, Rule::Allow)]);
        assert_eq!(run_here(&program, 1, &[]), ALLOWED);
        assert_eq!(run(&program, 0x4000_0003, 1, &[]), error(Errno::EPERM));
        // An x32 system call.
        assert_eq!(run_here(&program, 0x4000_0001, &[]), error(Errno::EPERM));
    }

    #[test]
    fn all_checks_must_hold() {
        let [high, low] = Check::null(2);
        let program = compile([(7, Rule::If(vec![Check::int(0, [3, 5]), high, low]))]);
        for (arguments, allowed) in [
            ([3, 9, 0], true),
            ([5, 9, 0], true),
            ([1 << 32 | 5, 9, 0], true),
            ([4, 9, 0], false),
            ([3, 9, 1], false),
            ([3, 9, 1 << 32], false),
        ] {
            assert_eq!(run_here(&program, 7, &arguments) == ALLOWED, allowed, "{arguments:?}");
        }
    }

    #[test]
    fn flags_must_match_exactly() {
        let program = compile([(7, Rule::If(vec![Check::flags(1, 0b110, 0b100)]))]);
        for (flags, allowed) in [(0b100, true), (0b101, true), (0b110, false), (0b010, false), (0, false)] {
            assert_eq!(run_here(&program, 7, &[0, flags]) == ALLOWED, allowed, "{flags:b}");
        }
    }

    proptest! {
        #[test]
        fn every_call_gets_its_rule(calls in prop::collection::btree_map(0u32..500, any::<bool>(), 0..300)) {
            let rules = calls.iter().map(|(call, known)| {
                (c_long::from(*call), if *known { Rule::Allow } else { Rule::Unknown })
            });
            let program = compile(rules);
            for call in 0..510 {
                let expected = match calls.get(&call) {
                    Some(true) => ALLOWED,
                    Some(false) => error(Errno::ENOSYS),
                    None => error(Errno::EPERM),
                };
                prop_assert_eq!(run_here(&program, call, &[]), expected);
            }
        }
    }
}
