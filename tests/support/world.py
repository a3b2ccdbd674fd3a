"""A store, a broker, a registered model and any number of daemons, for the tests that break things.

    with World("build/crash-x", store="postgres", broker="kafka", partitions=4) as world:
        world.start("a"); world.send(events); world.settle(); world.stop("a")

Everything lies below the folder given. Traffic is flat JSON of three numeric features (the SEA stream), a second of event
time a row from 2026-01-01 on.
"""
import json, os, re, signal, sqlite3, subprocess, sys, time, urllib.error, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SUPPORT = f"{ROOT}/tests/support"
FIRST_TIME = 1767225600000  # 2026-01-01, ms


class Checks:
    """Counts; the last line is "N passed, N failed"."""

    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, name, good, *detail):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print("ok      " if good else "FAILED  ", name, *(detail if detail and not good else ()), sep="", flush=True)
        return good

    def note(self, *text):
        print("        ", *text, sep="", flush=True)

    def report(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(self.failed > 0)


def run(*arguments, **options):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: exit {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def until(condition, seconds, step=0.05):
    """The seconds it took, or None."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(step)
    return None


class World:
    def __init__(self, out, store="sqlite", broker="kafka", partitions=1, port=19792, settings="", model_settings="",
                 kafka=None, topic="m", artifacts=None, sqlite_path=None, topic_settings=()):
        self.build = os.path.abspath(os.environ.get("BUILD", f"{ROOT}/build"))
        self.out = os.path.abspath(out)
        subprocess.run(["rm", "-rf", self.out], check=True)
        os.makedirs(self.out)
        self.kind, self.broker_kind, self.partitions, self.topic = store, broker, partitions, topic
        self.port, self.borrowed_kafka = port, kafka
        self.kafka = kafka or f"{self.out}/kafka"
        self.settings, self.model_settings = settings, model_settings
        self.artifacts = artifacts or f"{self.out}/artifacts"
        self.sqlite_path = sqlite_path or f"{self.out}/kedge.db"
        self.topic_settings = topic_settings
        self.daemons, self.http, self.children = {}, {}, []
        self.sent = {}  # (topic, partition) → next offset
        self.environment = dict(os.environ, KEDGE_ALLOW_ROOT="1")

    # --- parts -------------------------------------------------------------------------------------------------------
    def __enter__(self):
        os.makedirs(self.artifacts, exist_ok=True)
        if self.kind == "postgres":
            self.store = run(f"{SUPPORT}/postgres", "start", f"{self.out}/postgres").strip()
        else:
            self.store = f"sqlite:{self.sqlite_path}"
        if self.broker_kind == "kafka":
            if self.borrowed_kafka:
                self.brokers = f"127.0.0.1:{open(f'{self.kafka}/port').read().strip()}"
            else:
                run(f"{SUPPORT}/kafka", "install")
                self.brokers = run(f"{SUPPORT}/kafka", "start", self.kafka, str(self.port)).strip()
            run(f"{SUPPORT}/kafka", "create-topic", self.kafka, f"{self.topic}.traffic", str(self.partitions),
                *self.topic_settings)
            run(f"{SUPPORT}/kafka", "create-topics", self.kafka, f"{self.topic}.labels:{self.partitions}",
                f"kedge.dead-letter.{self.topic}:1")
        else:
            self.brokers = self.start_mock()
        self.write_config("default")
        self.register()
        return self

    def start_mock(self):
        path = f"{self.out}/broker"
        self.children.append(subprocess.Popen(
            [f"{self.build}/kedge", "broker", "--mock", "--listen-file", path,
             f"--topic={self.topic}.traffic:{self.partitions}", f"--topic={self.topic}.labels:{self.partitions}",
             f"--topic=kedge.dead-letter.{self.topic}:1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        assert until(lambda: os.path.exists(path) and os.path.getsize(path) > 0, 10), "no mock broker"
        return open(path).read().strip()

    def __exit__(self, *_):
        for name in list(self.daemons):
            self.cont(name)
            self.stop(name)
        for child in self.children:
            child.kill()
            child.wait()
        if self.broker_kind == "kafka" and not self.borrowed_kafka:
            subprocess.run([f"{SUPPORT}/kafka", "stop", self.kafka], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if self.kind == "postgres":
            subprocess.run([f"{SUPPORT}/postgres", "stop", f"{self.out}/postgres"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)

    def config(self, name):
        return f"{self.out}/{name}.yaml"

    def write_config(self, name, port=0, extra=""):
        with open(self.config(name), "w") as f:
            f.write(f"""store: "{self.store}"
artifacts: {self.artifacts}
single_host: true
broker:
  brokers: "{self.brokers}"
  group: {self.topic}
  session_timeout_ms: 6000
  properties: [fetch.wait.max.ms=20]
http: {{listen: "{f'127.0.0.1:{port}' if port else ''}", socket: ""}}
checkpoint: {{events: 20000, milliseconds: 20}}
leader: {{lease_ms: 2000, poll_ms: 10}}
worker: {{poll_ms: 10, heartbeat_ms: 500, lost_ms: 2000}}
{self.settings}
models:
  - name: m
    dead_letter_topic: kedge.dead-letter.{self.topic}
    traffic: {{topic: {self.topic}.traffic, idle_ms: 3000}}
    labels: {{topic: {self.topic}.labels, grace_ms: 0}}
    window: {{events: 1000, pane_events: 100}}
    {self.model_settings}
{extra}
""")

    def register(self):
        reference, onnx = f"{self.out}/reference.csv", f"{self.out}/m.onnx"
        self.kedge("simulate", "sea", "--rows", "2000", "--seed", "1", "--csv", reference)
        self.kedge("train", "--data", reference, "--label", "class", "--epochs", "3", "-o", onnx, "--quiet")
        self.kedge("model", "add", "m", "--onnx", onnx, "--reference", reference, "--label", "class")

    # --- programs ----------------------------------------------------------------------------------------------------
    def try_kedge(self, *arguments, config="default"):
        done = subprocess.run([f"{self.build}/kedge", *arguments, "--config", self.config(config)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        return done.returncode, done.stdout, done.stderr

    def kedge(self, *arguments):
        status, text, problem = self.try_kedge(*arguments)
        if status != 0:
            raise RuntimeError(f"kedge {' '.join(arguments)}: exit {status}: {text[-1000:]} {problem[-1000:]}")
        return text

    def json(self, *arguments):
        return json.loads(self.kedge(*arguments, "--json"))

    def start(self, name="a", port=0):
        self.http[name] = port
        self.write_config(name, port)
        log = open(f"{self.out}/{name}.log", "ab")
        self.daemons[name] = subprocess.Popen([f"{self.build}/kedged", "--config", self.config(name)], stdout=log,
                                              stderr=log, env=self.environment)

    def signal(self, name, number):
        self.daemons[name].send_signal(number)

    def freeze(self, name):
        self.signal(name, signal.SIGSTOP)

    def cont(self, name):
        self.signal(name, signal.SIGCONT)

    def stop(self, name="a"):
        """The exit status; None: it did not end within 15 s and was killed."""
        daemon = self.daemons.pop(name)
        daemon.terminate()
        try:
            return daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
            return None

    def log(self, name="a"):
        with open(f"{self.out}/{name}.log") as f:
            return f.read()

    def get(self, path, name="a"):
        """(status, text) of the daemon's HTTP."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http[name]}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError as e:
            return 0, str(e)

    def metric(self, name, labels="", daemon="a"):
        """The sum of the metric's samples whose labels hold all of the given text's parts."""
        total = 0.0
        for line in self.get("/metrics", daemon)[1].splitlines():
            found = re.match(r"(\w+)(\{[^}]*\})? (\S+)$", line)
            if found and found[1] == name and all(part in (found[2] or "") for part in labels.split(",")):
                total += float(found[3])
        return total

    # --- records -----------------------------------------------------------------------------------------------------
    def event(self, number, dice, **changes):
        x = [round(dice.uniform(0, 10), 3) for _ in range(3)]
        event = {"request_id": f"r{number}", "ts": FIRST_TIME + 1000 * number, "model": "m", "version": 1,
                 "features": dict(zip(("x1", "x2", "x3"), x)), "prediction": str(int(x[0] + x[1] > 8)), "score": 0.5}
        event.update(changes)
        return event

    def label(self, number, text, delay=0):
        return {"request_id": f"r{number}", "ts": FIRST_TIME + 1000 * (number + delay) + 500, "label": text}

    def produce(self, topic, partition, values):
        """values: texts or bytes, in order; without line ends in them."""
        if not values:
            return
        data = b"\n".join(v if isinstance(v, bytes) else v.encode() for v in values) + b"\n"
        subprocess.run(["kcat", "-P", "-b", self.brokers, "-t", f"{self.topic}.{topic}", "-p", str(partition),
                        "-X", "message.max.bytes=8000000", "-X", "enable.idempotence=true"], input=data, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        key = (topic, partition)
        self.sent[key] = self.sent.get(key, 0) + len(values)

    def offsets(self, topic):
        return ",".join(f"{p}:{n}" for (t, p), n in sorted(self.sent.items()) if t == topic)

    def settle(self, seconds=60):
        """Everything sent is consumed, decided and carried out."""
        status, text, problem = self.try_kedge("wait", "--model", "m", "--traffic", self.offsets("traffic"), "--labels",
                                               self.offsets("labels"), "--timeout", str(seconds))
        return None if status == 0 else (text + problem)

    # --- the store ---------------------------------------------------------------------------------------------------
    def sql(self, statement):
        """Rows as lists of texts."""
        if self.kind == "postgres":
            where = self.store.split(":", 1)[1]
            where = self.store if where.startswith("//") else where
            text = run("psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", where, "-c", statement, cwd="/")
            return [line.split("\t") for line in text.splitlines()]
        connection = sqlite3.connect(self.sqlite_path, timeout=30)
        try:
            rows = [[str(v) for v in row] for row in connection.execute(statement)]
            connection.commit()
            return rows
        finally:
            connection.close()

    def number(self, statement):
        return int(self.sql(statement)[0][0] or 0)

    def pane_events(self):
        return self.number("SELECT coalesce(sum(events), 0) FROM pane")

    def labelled_rows(self):
        text = run(f"{self.build}/tests/crash/labelled_log", self.store, self.artifacts, "m")
        return sum(int(n) for n in re.findall(r" rows (\d+) ", text))

    def incidents(self, kind=None, state=None):
        return [i for i in self.json("incidents", "--limit", "0")
                if kind in (None, i["kind"]) and state in (None, i["state"])]

    def dead_letters(self):
        """id → (reason, source), and how many were there in all."""
        text = subprocess.run(["kcat", "-C", "-q", "-b", self.brokers, "-t", f"kedge.dead-letter.{self.topic}", "-o",
                               "beginning", "-e", "-f", "%h\\n"], stdout=subprocess.PIPE, text=True, check=True).stdout
        letters, lines = {}, text.splitlines()
        for line in lines:
            headers = dict(re.findall(r"(kedge-[a-z]+)=(.*?)(?=,kedge-|$)", line))
            letters[headers.get("kedge-id")] = (headers.get("kedge-reason"), headers.get("kedge-source"))
        return letters, len(lines)
