"""The service as a program: its first line of output is its URL, its last, on a signal, what it was asked."""

import argparse
import json
import signal
from collections import Counter
from pathlib import Path
from threading import Event

from tests.loopback.script import load
from tests.loopback.service import Service


def main() -> None:
    """Serve a script until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.loopback", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--script", type=Path, required=True, help="JSON, see tests/loopback/script.py")
    args = parser.parse_args()
    answers, faults, seed = load(args.script)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Service(answers, *faults, seed=seed, port=args.port) as service:
        print(service.url, flush=True)
        while not stop.wait(0.2):  # in turns: a wait without end hides Ctrl-C on Windows
            pass
    outcomes = Counter(f"{call.service}.{call.operation} {call.outcome}" for call in service.calls)
    print(json.dumps({"calls": outcomes, "max_in_flight": service.max_in_flight}, sort_keys=True))


main()
