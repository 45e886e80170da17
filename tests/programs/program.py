"""What Python needs of a kernel: each function prints text that is the same on every correct one."""
import asyncio
import collections
import hashlib
import json
import mmap
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time


def threads():
    lock, counter, results = threading.Lock(), collections.Counter(), []

    def work(number):
        for _ in range(500):
            with lock:
                counter["all"] += 1
        results.append(number)

    many = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    print("threads", counter["all"], sum(results))
    event, seen = threading.Event(), []
    waiter = threading.Thread(target=lambda: seen.append(event.wait(10)))
    waiter.start()
    event.set()
    waiter.join()
    print("event", seen, threading.Event().wait(0.01))
    barrier = threading.Barrier(4)
    order = []
    four = [threading.Thread(target=lambda: (barrier.wait(), order.append(1))) for _ in range(4)]
    for thread in four:
        thread.start()
    for thread in four:
        thread.join()
    print("barrier", len(order))
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        print("pool", sum(pool.map(lambda x: x * x, range(100))))


def run_subprocesses():
    done = subprocess.run(["echo", "hello", "child"], capture_output=True, text=True)
    print("run", done.returncode, repr(done.stdout))
    done = subprocess.run("cat; echo err >&2; exit 9", shell=True, input="through cat\n", capture_output=True, text=True)
    print("shell", done.returncode, repr(done.stdout), repr(done.stderr))
    first = subprocess.Popen(["seq", "100"], stdout=subprocess.PIPE)
    second = subprocess.Popen(["tail", "-n", "2"], stdin=first.stdout, stdout=subprocess.PIPE)
    first.stdout.close()
    print("pipeline", second.communicate()[0], first.wait())
    sleeper = subprocess.Popen(["sleep", "100"])
    sleeper.terminate()
    print("terminated", sleeper.wait())
    try:
        subprocess.run(["sleep", "100"], timeout=0.2)
    except subprocess.TimeoutExpired:
        print("timed out")
    try:
        subprocess.run(["/no/such/program"])
    except FileNotFoundError as error:
        print("missing", error.errno)
    environment = subprocess.check_output(["/usr/bin/env"], env={"ONLY": "this"}, cwd="/")
    print("env", environment)
    print("python", subprocess.check_output([sys.executable, "-c", "import os; print(os.getcwd())"], cwd="/usr"))
    print("many", sum(int(subprocess.check_output(["echo", str(i)])) for i in range(20)))


def map_files():
    with open("mapped", "w+b") as file:
        file.write(b"0123456789" * 1000)
        file.flush()
        with mmap.mmap(file.fileno(), 0) as view:
            view[0:5] = b"HELLO"
            print("find", view.find(b"9"), len(view), view[:8], view.rfind(b"HELLO"))
            view.flush()
            view.resize(20000)
            print("resized", len(view), view[15000])
        file.seek(0)
        print("read", file.read(8), os.path.getsize("mapped"))
    with mmap.mmap(-1, 1 << 20) as shared:
        pid = os.fork()
        if pid == 0:
            shared[:4] = b"kid!"
            os._exit(0)
        os.waitpid(pid, 0)
        print("shared", shared[:4])


def use_sqlite():
    with sqlite3.connect("data.db") as db:
        db.execute("pragma journal_mode=wal")
        db.execute("create table t (id integer primary key, name text, value real)")
        db.executemany("insert into t (name, value) values (?, ?)", ((f"n{i}", i / 7) for i in range(2000)))
        db.commit()
        print("sum", round(db.execute("select sum(value) from t").fetchone()[0], 3))
        db.execute("create index by_name on t (name)")
        print("row", db.execute("select id, name from t where name = 'n1234'").fetchone())
        try:
            with db:
                db.execute("delete from t")
                raise RuntimeError
        except RuntimeError:
            print("rolled back", db.execute("select count(*) from t").fetchone())
        print("check", db.execute("pragma integrity_check").fetchone(), sqlite3.sqlite_version)
    other = sqlite3.connect("data.db", timeout=0.1)
    print("again", other.execute("select max(id) from t").fetchone())
    other.execute("begin exclusive")
    try:
        sqlite3.connect("data.db", timeout=0.05).execute("insert into t values (9999, 'x', 1)")
    except sqlite3.OperationalError as error:
        print("locked", error)


def use_json():
    value = {"list": list(range(10)), "nested": {"text": "ünïcode \u2713", "none": None, "float": 1.5e300}}
    text = json.dumps(value, sort_keys=True, indent=1)
    print(text)
    print(json.loads(text) == value, hashlib.sha256(text.encode()).hexdigest())
    try:
        json.loads("{broken")
    except json.JSONDecodeError as error:
        print(error)


def use_files():
    os.makedirs("a/b/c")
    with tempfile.NamedTemporaryFile(dir="a", suffix=".tmp") as file:
        file.write(b"x" * 10)
        file.flush()
        print("temporary", os.stat(file.name).st_size, oct(os.stat(file.name).st_mode))
    for name in ["a/one", "a/b/two", "a/b/c/three"]:
        with open(name, "w") as file:
            file.write(name * 3)
    print([(root, sorted(names), sorted(files)) for root, names, files in os.walk("a")])
    os.rename("a/one", "a/b/1")
    os.symlink("b/1", "a/link")
    print(open("a/link").read(), os.readlink("a/link"), sorted(os.listdir("a")), os.path.realpath("a/link")[-5:])
    os.utime("a/b/1", (1000000000, 1000000000.5))
    print(os.stat("a/b/1").st_mtime, os.access("a/b/1", os.W_OK), os.path.samefile("a/link", "a/b/1"))
    import shutil
    shutil.copytree("a", "copy", symlinks=True)
    shutil.rmtree("a")
    print(os.path.exists("a"), sorted(os.listdir("copy")))
    total, used, free = shutil.disk_usage(".")
    print(total > 0 and free > 0, os.cpu_count() > 0, len(os.urandom(8)), os.getpid() == os.getpid())
    read, write = os.pipe()
    os.write(write, b"piped")
    print(os.read(read, 10), os.get_inheritable(read), os.isatty(0), os.umask(0o22))


def use_asyncio():
    async def main():
        queue = asyncio.Queue()

        async def produce():
            for i in range(50):
                await queue.put(i)
                await asyncio.sleep(0.0001)
            await queue.put(None)

        task, total = asyncio.create_task(produce()), 0
        while (item := await queue.get()) is not None:
            total += item
        await task
        process = await asyncio.create_subprocess_exec("echo", "async child", stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        try:
            await asyncio.wait_for(asyncio.sleep(10), 0.05)
        except asyncio.TimeoutError:
            print("asyncio timeout")
        threaded = await asyncio.get_running_loop().run_in_executor(None, lambda: 6 * 7)
        print("asyncio", total, out, process.returncode, threaded)

    asyncio.run(main())


def square(x):
    return x * x


def use_multiprocessing():
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:
        print("pool", sum(pool.map(square, range(100))))
    queue = context.Queue()
    process = context.Process(target=queue.put, args=("from a process",))
    process.start()
    print(queue.get(timeout=20))
    process.join()
    value = context.Value("i", 0)

    def add():
        for _ in range(100):
            with value.get_lock():
                value.value += 1

    some = [context.Process(target=add) for _ in range(4)]
    for one in some:
        one.start()
    for one in some:
        one.join()
    print("value", value.value, [one.exitcode for one in some])


def use_signals():
    got = []
    signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    signal.signal(signal.SIGALRM, lambda number, frame: got.append(number))
    time.sleep(0.3)
    print("signals", got)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pause()
    os.kill(pid, signal.SIGTERM)
    print("status", os.WTERMSIG(os.waitpid(pid, 0)[1]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    except KeyboardInterrupt:
        print("interrupted")
    print(time.strftime("%Y-%m-%d", time.gmtime(1000000000)), time.monotonic() > 0, time.perf_counter() > 0)


PARTS = {
    "threads": threads, "subprocess": run_subprocesses, "mmap": map_files, "sqlite3": use_sqlite, "json": use_json,
    "files": use_files, "asyncio": use_asyncio, "multiprocessing": use_multiprocessing, "signals": use_signals,
}
DEFAULT = ["threads", "subprocess", "mmap", "sqlite3", "json"]

if __name__ == "__main__":
    for part in sys.argv[1:] or DEFAULT:
        PARTS[part]()
