"""A `python` that starts at once: each process is forked from one interpreter that has imported the large libraries.

Most of a stage's time in a tiny pipeline is the import of PyTorch, pandas, timm and DVC. `start` makes a folder with
the programs `python` and `dvc`, which do what the real ones do when they come first on the PATH:

    client (`python stages/clean.py`) --socket--> server --fork--> the program

The client sends its arguments, environment, working directory, resource limits and standard streams, then passes on
the signals it gets and the exit status. If it dies, the server kills the program. What a fork cannot imitate (another
number of threads, another mount namespace, another user, options of the interpreter) goes to the real interpreter.
Tests of start-up and of system calls use that one themselves.
"""

import array
import atexit
import gc
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

# Environment variables: the folder of the server's socket and programs, and the process id of the test run.
FOLDER = "MARKETPLACE_TEST_WARM_PYTHON"
PARENT = "MARKETPLACE_TEST_PARENT"
# Read when a library is imported, so a process that sets another value needs an interpreter of its own.
READ_AT_IMPORT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ATEN_CPU_CAPABILITY", "PYTHONHASHSEED")
LIMITS = [name for name in dir(resource) if name.startswith("RLIMIT_")]
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
HEADER = 8  # bytes of the length of a request
# New objects between two garbage collections. With Python's 700, a fifth of an export to ONNX is collecting garbage.
COLLECTION_THRESHOLD = 50_000
MODULES = (
    "pandas",
    "pyarrow.parquet",
    "pyarrow.compute",
    "torch",
    "torchvision",
    "timm",
    "scipy.sparse.csgraph",
    "scipy.stats",
    "sklearn.isotonic",
    "sklearn.manifold",
    "sklearn.linear_model",
    "sklearn.feature_extraction.text",
    "pytorch_metric_learning.losses",
    "cleanlab.filter",
    "faiss",
    "openvino",
    "onnx",
    "tokenizers",
    "imagehash",
    "simplejpeg",
    "cykooz_resizer",
    "ftfy",
    "jinja2",
    "jsonschema",
    "pydantic",
    "tqdm",
    "dvclive",
    "dvc.cli",
    "dvc.cli.parser",
    "dvc.repo",
    "dvc.commands.repro",
    "dvc.repo.reproduce",
    "dvc.repo.experiments",
    "dvc_data.index",
    "fastapi",
    "uvicorn",
)
# Starts in 20 ms: without site-packages, and with the standard library alone.
CLIENT = """#!{python} -IS
import sys
sys.path.insert(0, {helpers!r})
import warm_python
warm_python.call({real!r}, {program!r})
"""


def start() -> str:
    """Start the server of this test run unless it runs already; return the folder of its programs.

    It ends when the test run has ended.
    """
    from filelock import FileLock

    folder = Path(os.environ[FOLDER])
    programs = folder / "programs"
    with FileLock(folder / "lock"):
        if (folder / "socket").exists():
            return str(programs)
        programs.mkdir()
        scripts = Path(sysconfig.get_path("scripts"))
        for name, program in {"python": "", "dvc": str(scripts / "dvc")}.items():
            path = programs / name
            text = CLIENT.format(
                python=sys.executable, helpers=str(Path(__file__).parent), real=sys.executable, program=program
            )
            path.write_text(text)
            path.chmod(0o755)
        command = [sys.executable, __file__, str(folder / "socket"), os.environ[PARENT]]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert server.stdout is not None
        with server.stdout as output:
            assert output.readline() == b"ready\n", "the warm interpreter did not start"
        server.returncode = 0  # it outlives this object, whose deletion would otherwise warn that it still runs
    return str(programs)


def call(real: str, program: str) -> None:
    """The client: run a program with this process's arguments, or replace this process by the real interpreter."""
    arguments = [program, *sys.argv[1:]] if program else sys.argv[1:]
    if FOLDER not in os.environ or not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-c", "-m")):
        os.execv(real, [real, *arguments])
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"{os.environ[FOLDER]}/socket")
    except OSError:
        os.execv(real, [real, *arguments])
    signals_read, signals_write = os.pipe()
    os.set_blocking(signals_write, False)
    signal.set_wakeup_fd(signals_write, warn_on_full_buffer=False)
    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109  # pathlib takes longer to import than this whole process
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS},
        "context": _context(os.environ),
        "ignored": [int(number) for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN],
    }
    content = json.dumps(request).encode()
    streams = array.array("i", [0, 1, 2])
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)]
    connection.sendmsg([len(content).to_bytes(HEADER)], rights)
    connection.sendall(content)
    if connection.recv(1) != b"y":
        os.execv(real, [real, *arguments])
    _end_as(_wait(connection, signals_read))


def _wait(connection: socket.socket, signals: int) -> int:
    """Pass signals on until the exit status arrives; return it."""
    while True:
        readable = _readable(connection.fileno(), signals)
        if signals in readable:
            connection.sendall(os.read(signals, 1))
        if connection.fileno() in readable:
            status = connection.recv(4)
            return int.from_bytes(status) if len(status) == 4 else signal.SIGKILL


def _readable(*descriptors: int) -> list[int]:
    """Wait until one of the file descriptors can be read; return those that can."""
    return select.select(descriptors, [], [])[0]


def _end_as(status: int) -> None:
    """End this process as another one has ended, by its status from `waitpid`."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _context(environment: Any) -> list[str]:
    """The properties of a process that its forks cannot change."""
    variables = [environment.get(name, "") for name in READ_AT_IMPORT]
    return [str(os.getuid()), os.readlink("/proc/self/ns/mnt"), *variables]  # noqa: PTH115


class _Program(NamedTuple):
    """A program that runs, in a process group of its own."""

    process: int
    exited: int  # a file descriptor that can be read when it has ended
    connection: socket.socket  # to its client


def _serve(address: str, parent: int) -> dict[str, Any]:
    """Accept requests for ever; returns in each forked program, with its request."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    own = _context(os.environ)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the tests
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    parent_ended = os.pidfd_open(parent)
    programs: list[_Program] = []
    while True:
        ends = [end for program in programs for end in (program.exited, program.connection.fileno())]
        readable = _readable(listener.fileno(), parent_ended, *ends)
        if parent_ended in readable:
            os._exit(0)
        programs = [program for program in programs if not _attend(program, readable)]
        if listener.fileno() not in readable:
            continue
        connection, _ = listener.accept()
        request = _receive(connection)
        if request is None:
            continue
        if request["context"] != own:
            connection.sendall(b"n")
            _close(connection, request["streams"])
            continue
        connection.sendall(b"y")
        process = os.fork()
        os.setpgid(process, process or os.getpid())  # in both processes: a signal may follow at once
        if process:
            programs.append(_Program(process=process, exited=os.pidfd_open(process), connection=connection))
            _close(None, request["streams"])  # a reader of the program's output must see its end
            continue
        listener.close()
        connection.close()
        for program in programs:  # whose clients must see the end of their connection
            _close(program.connection, [program.exited])
        return request


def _attend(program: _Program, readable: list[int]) -> bool:
    """Pass signals to a program and its exit status to the client; kill it if the client dies.

    Return whether it has ended.
    """
    if program.exited in readable:
        status = os.waitpid(program.process, 0)[1]
        with suppress(OSError):  # the client may be gone
            program.connection.sendall(status.to_bytes(4))
    elif program.connection.fileno() in readable:
        number = program.connection.recv(1)
        if number:
            # Ctrl-C reaches every process of a terminal.
            send = os.killpg if number[0] == signal.SIGINT else os.kill
            send(program.process, number[0])
            return False
        os.killpg(program.process, signal.SIGKILL)
        os.waitpid(program.process, 0)
    else:
        return False
    _close(program.connection, [program.exited])
    return True


def _close(connection: socket.socket | None, descriptors: list[int]) -> None:
    if connection is not None:
        connection.close()
    for descriptor in descriptors:
        os.close(descriptor)


def _receive(connection: socket.socket) -> dict[str, Any] | None:
    """Return a request, or None if its client is gone."""
    streams = array.array("i")
    header, rights, _, _ = connection.recvmsg(HEADER, socket.CMSG_LEN(3 * streams.itemsize))
    if not rights:
        connection.close()
        return None
    streams.frombytes(rights[0][2][: 3 * streams.itemsize])
    content = b""
    while len(content) < int.from_bytes(header):
        part = connection.recv(2**20)
        if not part:
            _close(connection, streams.tolist())
            return None
        content += part
    request: dict[str, Any] = json.loads(content)
    request["streams"] = streams.tolist()
    return request


def _become(request: dict[str, Any]) -> None:
    """Make this process what its client would have been."""
    for target, stream in enumerate(request["streams"]):
        os.dup2(stream, target)
        os.close(stream)
    for name, limit in request["limits"].items():
        resource.setrlimit(getattr(resource, name), tuple(limit))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = open(("stdin", "stdout", "stderr").index(name), mode, closefd=False)  # noqa: SIM115
        if name == "stderr":
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[attr-defined]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(arguments: list[str]) -> None:
    """Run `-c CODE`, `-m MODULE` or a script with its arguments, as the interpreter does."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [os.path.abspath(path) for path in paths]  # noqa: PTH100
    if arguments[0] == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), sys.modules["__main__"].__dict__)
    else:
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _main() -> None:
    import importlib

    sys.path.pop(0)  # the folder of this file
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()  # a collection in a fork would copy all of their pages
    gc.set_threshold(COLLECTION_THRESHOLD)
    request = _serve(sys.argv[1], int(sys.argv[2]))
    _become(request)
    _end_with(_run, request["arguments"])


def _end_with(run: Callable[[list[str]], None], arguments: list[str]) -> None:
    """Run a program and end this process as the interpreter does, but free no objects: that takes a second."""
    code = 0
    try:
        run(arguments)
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            sys.stderr.write(f"{leaving.code}\n")
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the program has closed it, or its reader has
            stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    _main()
