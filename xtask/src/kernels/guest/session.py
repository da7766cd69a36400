"""What tests are made of: processes that are traced, sessions, and expectations."""
import os, re, signal, subprocess, threading, time, traceback

MANAGER = "/product/manager"
# Seconds until a step counts as stuck: the machine is emulated.
PATIENCE = 120


class Failure(Exception):
    pass


def expect(condition, why):
    if not condition:
        raise Failure(why)


def count(lines, pattern, number, at_least=False):
    found = sum(1 for line in lines if re.search(pattern, line))
    good = found >= number if at_least else found == number
    expect(good, f"{found} lines with '{pattern}', not {number}; {len(lines)} lines: {lines[:3]} … {lines[-3:]}")


def wait_for(condition):
    """Waits until the condition holds, or for a while: what is compared later shows whether it did."""
    limit = time.monotonic() + PATIENCE / 4
    while not condition() and time.monotonic() < limit:
        time.sleep(0.02)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def call(*words, within=()):
    """A call of the manager that ends by itself, as an argument of the command `within`."""
    done = subprocess.run([*within, MANAGER, *words], capture_output=True, text=True, timeout=PATIENCE)
    # Plugins are complained about; hooks that are not available may be.
    broken = [line for line in done.stderr.splitlines() if "plugin" in line and "worker" in line]
    expect(done.returncode == 0 and not broken, f"{' '.join(words)} exits with {done.returncode}: {done.stderr}")
    return done.stdout


class Task:
    """A process that does `work` each time that `go` is called, until `end` is called."""

    def __init__(self, work):
        (start, self.starter), (self.finisher, done) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.starter), os.close(self.finisher)
            try:
                os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
                while os.read(start, 1):
                    work()
                    os.write(done, b"x")
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(start), os.close(done)

    def go(self):
        os.write(self.starter, b"x")
        expect(os.read(self.finisher, 1) == b"x", "the traced process failed")

    def end(self):
        # Tasks that were started later have the other end of its pipe, too.
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.starter), os.close(self.finisher)
        os.waitpid(self.pid, 0)


class Session:
    """A session of a hook, and all the lines that a reader gets of it."""

    def __init__(self, hook, arguments):
        self.manager = subprocess.Popen([MANAGER, "--run", hook, "--args", arguments], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        path = self.manager.stdout.readline().strip()
        if not path:
            raise Failure(f"it does not start: {self.manager.stderr.read()}")
        self.lines, self.path = [], path
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with open(self.path, errors="replace") as trace:
            self.lines.extend(line.rstrip("\n") for line in trace)

    def stop(self):
        self.manager.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self):
        """The lines, once the session has ended."""
        status = self.manager.wait(PATIENCE)
        self.reader.join(PATIENCE)
        message = self.manager.stderr.read()
        expect(status == 0 and not message, f"it exits with {status}: {message}")
        lost = [line for line in self.lines if " [LOST " in line]
        expect(not lost, f"it lost events: {lost}")
        return self.lines

    def processes(self):
        """The manager and its worker."""
        children = open(f"/proc/{self.manager.pid}/task/{self.manager.pid}/children").read()
        return [self.manager.pid, *map(int, children.split())]


def traced(hook, arguments, work, settled=lambda lines: True):
    """The lines that `hook` reports while a process does `work`, of that process and all others that it follows."""
    task = Task(work)
    try:
        session = Session(hook, f"--pid {task.pid} {arguments}")
        task.go()
        wait_for(lambda: settled(session.lines))
        return session.stop(), task.pid
    finally:
        task.end()
