#!/bin/sh
# Installs the tarball and the .deb of a release on this system, and uses them. Runs in a root file system of another
# distribution, with the host's /proc and /sys. Its arguments are the tarball, the .deb, and a plugin that panics.
set -eu
tarball=$1 deb=$2 panicking=$3

fail() {
    echo "trial: $*" >&2
    exit 1
}

# Runs a manager; its output is in /tmp/out and /tmp/err.
run() {
    "$@" >/tmp/out 2>/tmp/err || fail "'$*' ended with status $?: $(cat /tmp/err)"
}

expect() {
    grep -q -e "$1" "$2" || fail "no '$1' in $2: $(head -n 20 "$2")"
}

# Each plugin is loaded, and has hooks.
lists_every_plugin() {
    run "$1" --list --json
    for plugin in ebpf ftrace perf uprobe; do
        expect "\"plugin\": \"$plugin\"" /tmp/out
    done
}

# The trace itself: every call, none lost.
prints_a_trace() {
    run "$1" --run trace_syscalls --follow --args --pid $workload --time 500ms
    expect 'sys_' /tmp/out
    expect 'none lost' /tmp/err
}

# As container-tracer calls it: a path, and nothing else; then SIGINT.
serves_container_tracer() {
    rm -f /tmp/path
    "$1" --run trace_syscalls --args "--pid $workload" >/tmp/path 2>/tmp/err &
    manager=$!
    until [ -s /tmp/path ]; do
        kill -0 $manager 2>/dev/null || fail "no session: $(cat /tmp/err)"
        sleep 0.05
    done
    cat "$(cat /tmp/path)" >/tmp/out &
    reader=$!
    sleep 0.5
    kill -INT $manager
    wait $manager || fail "the session ended with status $?: $(cat /tmp/err)"
    wait $reader || fail "the trace file cannot be read"
    [ ! -s /tmp/err ] || fail "unexpected: $(cat /tmp/err)"
    expect 'sys_' /tmp/out
}

# A panic of a plugin does not end its process: both have an unwinder of their own.
survives_a_panic() {
    status=0
    "$1" --plugins "$panicking" --run failing_lines --args --pid $workload --when start --failure panic \
        >/tmp/out 2>/tmp/err || status=$?
    [ $status = 1 ] || fail "a panic gives status $status: $(cat /tmp/err)"
    expect 'panicked at .*: no way out' /tmp/err
}

# Installs the package, and records a first line; prints how long that takes.
installs_and_traces_within_a_minute() {
    began=$(milliseconds)
    dpkg --install "$deb" >/tmp/out 2>&1 || fail "it cannot be installed: $(cat /tmp/out)"
    trace-hooks --run trace_syscalls --follow --args --pid $workload 2>/tmp/err | head -n 1 >/tmp/out
    took=$(($(milliseconds) - began))
    expect 'sys_' /tmp/out
    echo "    from its installation to the first line of a trace: $took ms"
    [ $took -lt 60000 ] || fail "that takes longer than a minute"
}

milliseconds() {
    date +%s%3N
}

sh -c 'while sleep 0.05; do :; done' &
workload=$!
trap 'kill $workload' EXIT

echo "  the tarball"
mkdir -p /opt
tar -xzf "$tarball" -C /opt
lists_every_plugin /opt/trace-hooks/kernel/manager
prints_a_trace /opt/trace-hooks/kernel/manager
survives_a_panic /opt/trace-hooks/kernel/manager
cd /opt/trace-hooks/kernel
serves_container_tracer ./manager.bin
cd /
run /opt/trace-hooks/kernel/manager --clear
rm -r /opt/trace-hooks

echo "  the package"
dpkg-query --show --showformat '${Package}\n' | sort >/tmp/before
installs_and_traces_within_a_minute
lists_every_plugin trace-hooks
prints_a_trace trace-hooks
prints_a_trace /usr/bin/trace-hooks
serves_container_tracer /usr/lib/trace-hooks/kernel/manager.bin
run trace-hooks --clear
for installed in man/man8/trace-hooks.8.gz bash-completion/completions/trace-hooks \
    fish/vendor_completions.d/trace-hooks.fish zsh/vendor-completions/_trace-hooks; do
    [ -s /usr/share/$installed ] || fail "/usr/share/$installed is missing"
done
dpkg --purge trace-hooks >/tmp/out 2>&1 || fail "it cannot be removed: $(cat /tmp/out)"
expect 'Removing trace-hooks' /tmp/out
for left in /usr/lib/trace-hooks /usr/bin/trace-hooks /usr/share/doc/trace-hooks; do
    [ ! -e $left ] && [ ! -L $left ] || fail "$left is left"
done
dpkg-query --show --showformat '${Package}\n' | sort >/tmp/after
cmp -s /tmp/before /tmp/after || fail "the installed packages differ: $(diff /tmp/before /tmp/after)"
