/// What a hook whose lines have functions of the kernel writes in its details about these.
pub const KERNEL_FUNCTIONS: &str = "\
Functions of the kernel are shown as addresses where it hides these: names take CAP_SYSLOG, and kernel.kptr_restrict below 2. A warning \
at the start reports it.";
