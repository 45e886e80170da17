"""Runs modules of CPython's own test suite and says what became of each test.

usage: /usr/bin/python3 cpython.py MODULE[:SECONDS]...

Each module runs in a process of its own, by CPython's own runner (`test.libregrtest`), so that a crash or a hang takes
only that module. A line `@@ MODULE TEST OUTCOME` on stdout is a result; everything else is for the reader. The last
line of a module, `@@ MODULE end OUTCOME`, tells how its process ended.
"""

import os
import signal
import subprocess
import sys
import time

DEFAULT_SECONDS = 120


def run_module(module):
    """In the child: runs one module, reporting each test as it ends."""
    import unittest

    from test.support import testresult

    stdout = os.fdopen(os.dup(1), "w", buffering=1)
    outcomes = {}
    reported = []

    def watched(cls):
        class Watched(cls):
            def note(self, test, outcome):
                name = test.id() if hasattr(test, "id") else str(test)
                if outcomes.get(name) not in ("error", "failure"):
                    outcomes[name] = outcome

            def addSuccess(self, test):
                super().addSuccess(test)
                self.note(test, "ok")

            def addFailure(self, test, error):
                super().addFailure(test, error)
                self.note(test, "failure")

            def addError(self, test, error):
                super().addError(test, error)
                self.note(test, "error")

            def addSubTest(self, test, subtest, error):
                super().addSubTest(test, subtest, error)
                if error is not None:
                    self.note(test, "failure")

            def addSkip(self, test, reason):
                super().addSkip(test, reason)
                self.note(test, "skipped")

            def addExpectedFailure(self, test, error):
                super().addExpectedFailure(test, error)
                self.note(test, "ok")

            def addUnexpectedSuccess(self, test):
                super().addUnexpectedSuccess(test)
                self.note(test, "failure")

            def startTest(self, test):
                print(f"## {module} {test.id()}", file=stdout)
                super().startTest(test)

            def stopTest(self, test):
                super().stopTest(test)
                name = test.id()
                report(name, outcomes.pop(name, "ok"))

        return Watched

    def report(name, outcome):
        reported.append(name)
        name = name.removeprefix("test.").replace(" ", "_")
        print(f"@@ {module} {name.removeprefix(module + '.')} {outcome}", file=stdout)

    testresult.RegressionTestResult = watched(testresult.RegressionTestResult)
    from test import libregrtest

    sys.argv = ["regrtest", "-v", "-u", "subprocess,cpu", module]
    try:
        libregrtest.main()
    except SystemExit as end:
        # What is left failed where no test was running: in a class' or a module's set-up.
        for name, outcome in outcomes.items():
            report(name, outcome)
        # Status 2 says that a test failed, which was reported.
        sys.exit(0 if end.code == 2 and reported else end.code)


def supervise(word):
    """Runs a module in a child of its own and ends it, with its children, when its time is over."""
    module, _, seconds = word.partition(":")
    begin = time.monotonic()
    scratch = f"/tmp/osv-suite-{module}"
    os.makedirs(scratch, exist_ok=True)
    environment = dict(os.environ, TMPDIR=scratch, LC_ALL="C.UTF-8", HOME="/root", TERM="dumb")
    for name in ("PYTHONPATH", "PYTHONHOME", "LANG"):
        environment.pop(name, None)
    command = [sys.executable, __file__, "--module", module]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=scratch, env=environment, start_new_session=True)
    try:
        code = child.wait(timeout=float(seconds or DEFAULT_SECONDS))
        end = f"exit-{code}" if code >= 0 else f"signal-{-code}"
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        end = "timeout"
    sys.stdout.flush()
    print(f"\n@@ {module} end {end}\n## {module}: {time.monotonic() - begin:.1f} s", flush=True)
    subprocess.run(["rm", "-rf", scratch], check=False)


if __name__ == "__main__":
    if sys.argv[1] == "--module":
        run_module(sys.argv[2])
    else:
        for word in sys.argv[1:]:
            supervise(word)
