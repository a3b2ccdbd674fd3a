"""kedge as the tests of hardening call it."""
import json
import os
import resource
import subprocess
import sys


class Kedge:
    def __init__(self, path, out):
        self.path, self.out = os.path.abspath(path), out
        self.passed = self.failed = 0
        os.makedirs(out, exist_ok=True)

    def run(self, *words):
        """The report, and the CPU seconds of the process."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([self.path, *map(str, words), "--json"], cwd=self.out, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            sys.exit(f"kedge {' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout), after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def refuse(self, *words):
        """The error text."""
        done = subprocess.run([self.path, *map(str, words), "--json"], cwd=self.out, capture_output=True, text=True)
        return json.loads(done.stdout)["error"] if done.returncode in (1, 2) else ""

    def check(self, good, what):
        self.passed += bool(good)
        self.failed += not good
        print(("ok      " if good else "FAILED  ") + what, flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(self.failed > 0)
